"""The live view as a sink of the loop."""

from __future__ import annotations

import sys
from collections.abc import Callable

from edgekit.runtime.bell import Bell
from edgekit.runtime.frames import Image
from edgekit.runtime.results import Event, Result, Session, Summary
from edgekit.runtime.sinks.base import Sink
from edgekit.runtime.view.access import Access
from edgekit.runtime.view.board import Board
from edgekit.runtime.view.gallery import Gallery
from edgekit.runtime.view.server import ViewServer
from edgekit.runtime.view.streams import Streams

# Python hands the interpreter to another thread at the latest after this time. The default of 5 ms could hold up the
# loop for that long, coming back from the engine, while a viewer's thread formats a header.
_SWITCH_S = 0.0005


class View(Sink):
    """Serves the page while the run lasts.

    Args:
        port: 0 lets the system choose.
        host: anything but loopback asks viewers for a token.
        token: the token to ask for; None makes one where it is needed.
        announce: told the page's address, token included, once it is served.

    Attributes:
        url: the page's address, after ``start``.
    """

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        token: str | None = None,
        max_fps: float = 10.0,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self._port = port
        self._host = host
        self._token = token
        self._max_fps = max_fps
        self._announce = announce
        self._server: ViewServer | None = None
        self._gallery: Gallery | None = None
        self._board: Board | None = None
        self._streams: Streams | None = None
        self._switch_before: float | None = None
        self.url = ""

    def start(self, session: Session) -> None:
        """Raises UsageError: the port is taken, not allowed, or the host is not this machine's."""
        from edgekit.runtime.sinks.metrics import port_error

        cameras = len(session.cameras)
        access = Access.for_host(self._host, self._token)
        self._board = Board(session)
        bell = Bell()
        self._gallery = Gallery(cameras, bell, max_fps=self._max_fps)
        self._streams = Streams(self._gallery, self._board, bell)
        try:
            self._server = ViewServer(
                self._host, self._port, self._gallery, self._board, self._streams, cameras, access
            )
        except (OSError, OverflowError) as error:
            raise port_error("--view-port", self._host, self._port, error) from None
        self._switch_before = sys.getswitchinterval()
        sys.setswitchinterval(min(_SWITCH_S, self._switch_before))
        self._streams.start()
        self._server.begin()
        shown = _reachable(self._host)
        query = f"/?token={access.token}" if access.token is not None else "/"
        self.url = f"http://{shown}:{self._server.server_port}{query}"
        if self._announce is not None:
            self._announce(self.url)

    def result(self, result: Result, image: Image) -> None:
        if self._board is not None and self._gallery is not None:
            self._board.result(result)
            self._gallery.show(result.camera, image, f"{result.label}  {result.top[0].score:.0%}")

    def event(self, event: Event) -> None:
        if self._board is not None:
            self._board.event(event)

    def finish(self, summary: Summary) -> None:
        if self._board is not None:
            self._board.finish()

    def close(self) -> None:
        if self._server is not None:
            self._server.end()
            self._server = None
        if self._streams is not None:
            self._streams.stop()
            self._streams = None
        if self._switch_before is not None:
            sys.setswitchinterval(self._switch_before)
            self._switch_before = None


def _reachable(host: str) -> str:
    """A host that a person can type: for "all addresses", this machine's name."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 (compared, not bound)
        import socket

        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
