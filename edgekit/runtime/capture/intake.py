"""Frames of several cameras, each in its turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from edgekit.errors import EdgekitError
from edgekit.runtime.bell import Bell
from edgekit.runtime.capture.feed import Feed
from edgekit.runtime.frames import Frame
from edgekit.runtime.options import RunOptions
from edgekit.runtime.results import Dropped, Event
from edgekit.runtime.sources.base import SourceSpec


class Intake:
    """All cameras of a run. Use it in a ``with`` statement: leaving it stops every thread that can be stopped."""

    def __init__(self, specs: Sequence[SourceSpec], options: RunOptions) -> None:
        self._bell = Bell()  # a frame arrived, or something else happened that the loop should look at
        self._ready = threading.Event()
        self.feeds = tuple(
            Feed(
                spec,
                number,
                self._bell,
                resilience=options.resilience,
                on_end=options.on_end,
                every=options.every,
                ready=self._ready,
            )
            for number, spec in enumerate(specs)
        )
        self._turn = 0

    def __enter__(self) -> Intake:
        for feed in self.feeds:
            feed.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def go(self) -> None:
        """Lets files be read: called when the engine is ready for them."""
        self._ready.set()

    def hold_back(self, reason: str) -> None:
        """From now on, frames replaced in a mailbox count as dropped for this reason."""
        for feed in self.feeds:
            feed.mailbox.replaced_because = reason

    def next(self, timeout_s: float) -> Frame | None:
        """The next frame, of the camera whose turn it is; None after the timeout, or when there is an event to look at.

        The turn passes to the camera after the one just served, so that a fast camera cannot starve a slow one.

        Raises:
            EdgekitError: a camera that never gave a frame failed for good.
        """
        deadline = 0.0
        while True:
            for step in range(len(self.feeds)):
                number = (self._turn + step) % len(self.feeds)
                feed = self.feeds[number]
                frame = feed.mailbox.take()
                if frame is not None:
                    self._turn = (number + 1) % len(self.feeds)
                    if feed.spec.recorded:
                        frame.captured_at = time.monotonic()
                    return frame
            self.raise_failed()
            now = time.monotonic()
            deadline = deadline or now + timeout_s
            if now >= deadline or self.over or any(feed.events for feed in self.feeds):
                return None
            self._bell.wait(deadline - now)

    @property
    def over(self) -> bool:
        """Whether every camera has ended and every frame was taken."""
        return all(feed.finished and not feed.mailbox.full for feed in self.feeds)

    def events(self) -> list[Event]:
        """What happened since the last call; drops come added up."""
        found: list[Event] = []
        for feed in self.feeds:
            while feed.events:
                found.append(feed.events.popleft())
            found += [Dropped(feed.camera, reason, count) for reason, count in feed.mailbox.take_drops().items()]
        return found

    def stop(self) -> None:
        """Ends every thread; a frame still in a mailbox counts as dropped by ``shutdown``. Safe to call twice."""
        for feed in self.feeds:
            feed.stop()
        self._ready.set()
        for feed in self.feeds:
            feed.join()
            feed.mailbox.empty("shutdown")

    def raise_failed(self) -> None:
        """Raises the error of a camera that failed for good without having given a frame."""
        for feed in self.feeds:
            if feed.finished and feed.error is not None:
                error: EdgekitError = feed.error
                raise error
