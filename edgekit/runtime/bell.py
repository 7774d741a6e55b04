"""How one thread of the loop wakes another."""

from __future__ import annotations

import threading


class Bell:
    """Wakes the one thread that waits for it; rung while nobody waits, it ends the next wait at once.

    A bare lock: a ``Condition`` would do the same with a new lock for every wait and four times the system calls, and
    ringing this one never lets go of the interpreter.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            return  # rung already

    def wait(self, timeout_s: float) -> bool:
        """Whether it was rung before the timeout."""
        return self._lock.acquire(timeout=max(0.0, timeout_s))
