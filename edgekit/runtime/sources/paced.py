"""``--live``: a recording played at its own speed, as if a camera were filming it."""

from __future__ import annotations

import threading
import time
from typing import Any

from edgekit.runtime.frames import Image
from edgekit.runtime.sources.base import Shot, Source

_DEFAULT_FPS = 30.0
_LATE_S = 0.5  # a player that is later than this gives the lost time up instead of hurrying after it


class PacedSource:
    """Lets each picture of ``source`` come when it is due.

    Args:
        fps: pictures a second; None takes what the recording says of itself, or 30.
    """

    def __init__(self, source: Source, fps: float | None = None) -> None:
        self._source: Any = source
        self._fps = fps
        self._stopped = threading.Event()
        self._interval_s = 0.0
        self._due = 0.0

    def open(self) -> str:
        obtained = self._source.open()
        fps = self._fps or getattr(self._source, "fps", None) or _DEFAULT_FPS
        self._interval_s, self._due = 1.0 / fps, 0.0
        return f"{obtained}, played at {fps:.4g} fps"

    def read(self, buffer: Image | None) -> Shot | None:
        if not self._wait():
            return None
        shown_at = time.monotonic()
        shot = self._source.read(buffer)
        return None if shot is None else Shot(shot.image, shown_at)

    def skip(self) -> bool:
        return self._wait() and bool(self._source.skip())

    def interrupt(self) -> None:
        self._stopped.set()
        self._source.interrupt()

    def close(self) -> None:
        self._source.close()

    def _wait(self) -> bool:
        """Until the next picture is due; False if interrupted meanwhile."""
        now = time.monotonic()
        self._due = self._due + self._interval_s if now - self._due < _LATE_S else now
        return not self._stopped.wait(max(0.0, self._due - now))
