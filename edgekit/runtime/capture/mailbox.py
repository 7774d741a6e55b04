"""One slot between a capture thread and the loop."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from edgekit.runtime.frames import Frame

_LOOK_S = 0.2  # how often a writer that waits looks whether it should stop


class Mailbox:
    """Holds at most one frame.

    Live: a new frame replaces the one in the slot, which counts as dropped. Otherwise the writer first waits for the
    slot to be empty (:meth:`room`), so every frame arrives, in order, and no more than one is read ahead: its pixels
    are still in the processor's cache when their turn comes.

    Args:
        wake: shared by all mailboxes of a loop; notified when a frame arrives or leaves.
    """

    def __init__(self, wake: threading.Condition, *, live: bool) -> None:
        self._wake = wake
        self._live = live
        self._frame: Frame | None = None
        self._drops: Counter[str] = Counter()
        self.replaced_because = "superseded"  # the loop says here why it does not take frames now

    def room(self, cancelled: Callable[[], bool]) -> bool:
        """Waits until the next frame may be read: at once where newest wins. False if ``cancelled`` became true."""
        if self._live:
            return not cancelled()
        with self._wake:
            while self._frame is not None and not cancelled():
                self._wake.wait(_LOOK_S)
            return not cancelled()

    def put(self, frame: Frame) -> None:
        """Puts a frame in the slot, in place of the one that may be there."""
        with self._wake:
            if self._frame is not None:
                self._drops[self.replaced_because] += 1
                self._frame.release()
            self._frame = frame
            self._wake.notify_all()

    def take(self) -> Frame | None:
        """The frame in the slot, which is then empty; the caller holds :attr:`wake`'s lock or not, both are fine."""
        with self._wake:
            frame, self._frame = self._frame, None
            if frame is not None and not self._live:
                self._wake.notify_all()
        return frame

    @property
    def full(self) -> bool:
        return self._frame is not None

    def count(self, reason: str) -> None:
        """Counts one frame dropped before it reached the slot."""
        with self._wake:
            self._drops[reason] += 1

    def empty(self, reason: str) -> None:
        """Drops what is in the slot."""
        with self._wake:
            if self._frame is not None:
                self._drops[reason] += 1
                self._frame.release()
                self._frame = None
                self._wake.notify_all()

    def take_drops(self) -> dict[str, int]:
        """Frames dropped since the last call, by reason."""
        if not self._drops:  # the usual case, without the lock
            return {}
        with self._wake:
            drops, self._drops = dict(self._drops), Counter()
        return drops
