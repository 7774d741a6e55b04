"""``--view-port``: one page with the picture, the answer and how the device is doing.

gallery.py   the newest picture of each camera, encoded once for all viewers
board.py     the figures of the page, gathered from results and events
server.py    HTTP: who may look, and what they get
streams.py   pictures and figures to everybody who looks, from one thread
sink.py      connects these to the loop
page.html    the page: no build step, nothing from elsewhere
"""

from edgekit.runtime.view.sink import View

__all__ = ["View"]
