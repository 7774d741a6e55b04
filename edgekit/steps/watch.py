"""Who is told how a build goes on, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Listener(Protocol):
    """Is told of a build's progress; the command line shows it, tests record it."""

    def begin(self, stage: str) -> None: ...

    def progress(self, done: int, total: int) -> None: ...

    def end(self, stage: str, seconds: float) -> None: ...


class Silent:
    """A listener that says nothing."""

    def begin(self, stage: str) -> None: ...

    def progress(self, done: int, total: int) -> None: ...

    def end(self, stage: str, seconds: float) -> None: ...


class Watch:
    """Times the stages of one build and passes progress on.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, listener: Listener | None = None, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._listener = listener or Silent()
        self._clock = clock

    def tell(self, text: str) -> None:
        """What the present stage is at, where a stage has steps and no count of them."""
        self._listener.begin(text)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int, int], None]]:
        """Times a stage; gives a function to report (done, total) to."""
        self._listener.begin(name)
        start = self._clock()
        try:
            yield self._listener.progress
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + self._clock() - start, 3)
            self._listener.end(name, self.seconds[name])
