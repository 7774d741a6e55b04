"""Ctrl-C and SIGTERM: the first asks the loop to end properly, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """A request to end, and who made it. Setting it is safe in a signal handler."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def request(self, reason: str = "stop") -> None:
        if self.reason is None:
            self.reason = reason

    @property
    def requested(self) -> bool:
        return self.reason is not None


@contextmanager
def graceful(stop: Stop) -> Iterator[Stop]:
    """While inside, SIGINT and SIGTERM request ``stop``; a second one acts as it would without us.

    The handlers that were there come back afterwards. Off the main thread, where Python allows no handlers, this does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, _: FrameType | None) -> None:
        if stop.requested:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        stop.request(signal.Signals(number).name)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
