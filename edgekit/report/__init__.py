"""What a person looks at after a build: report.html, the same figures on a terminal, and what a file is.

record = BuildRecord(source, target, "int8", accuracy=…, layers=…, …)    # what was not measured stays empty
html = render(record)                                                     # self-contained page
print(terminal.text(record))
"""

from edgekit.report.page import render
from edgekit.report.record import BuildRecord

__all__ = ["BuildRecord", "render"]
