"""One slot between a capture thread and the loop."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from edgekit.runtime.bell import Bell
from edgekit.runtime.frames import Frame

_LOOK_S = 0.2  # how often a writer that waits looks whether it should stop


class Mailbox:
    """Holds at most one frame.

    Live: a new frame replaces the one in the slot, which counts as dropped. Otherwise the writer first waits for the
    slot to be empty (:meth:`room`), so every frame arrives, in order, and no more than one is read ahead: its pixels
    are still in the processor's cache when their turn comes.

    Args:
        arrived: rung when a frame arrives; all mailboxes of a loop share it.
    """

    def __init__(self, arrived: Bell, *, live: bool) -> None:
        self._arrived = arrived
        self._live = live
        self._taken = Bell()
        self._lock = threading.Lock()
        self._frame: Frame | None = None
        self._drops: Counter[str] = Counter()
        self.replaced_because = "superseded"  # the loop says here why it does not take frames now

    def room(self, cancelled: Callable[[], bool]) -> bool:
        """Waits until the next frame may be read: at once where newest wins. False if ``cancelled`` became true."""
        if not self._live:
            while self._frame is not None and not cancelled():
                self._taken.wait(_LOOK_S)
        return not cancelled()

    def wake_writer(self) -> None:
        """Lets a writer that waits for room look whether it should stop."""
        self._taken.ring()

    def put(self, frame: Frame) -> None:
        """Puts a frame in the slot, in place of the one that may be there."""
        with self._lock:
            replaced, self._frame = self._frame, frame
            if replaced is not None:
                self._drops[self.replaced_because] += 1
                replaced.release()
        self._arrived.ring()

    def take(self) -> Frame | None:
        """The frame in the slot, which is then empty."""
        if self._frame is None:
            return None
        with self._lock:
            frame, self._frame = self._frame, None
        if not self._live:
            self._taken.ring()
        return frame

    @property
    def full(self) -> bool:
        return self._frame is not None

    def count(self, reason: str) -> None:
        """Counts one frame dropped before it reached the slot."""
        with self._lock:
            self._drops[reason] += 1

    def empty(self, reason: str) -> None:
        """Drops what is in the slot."""
        frame = self.take()
        if frame is not None:
            frame.release()
            self.count(reason)

    def take_drops(self) -> dict[str, int]:
        """Frames dropped since the last call, by reason."""
        if not self._drops:  # the usual case, without the lock
            return {}
        with self._lock:
            drops, self._drops = dict(self._drops), Counter()
        return drops
