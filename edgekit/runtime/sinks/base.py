"""Where results go: one small class a destination, all called on the loop's thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from edgekit.errors import StorageError
from edgekit.runtime.frames import Image
from edgekit.runtime.results import Event, Result, Session, Summary

_log = logging.getLogger(__name__)


class Sink:
    """Does nothing with anything: override what you need.

    Set ``essential`` where the run has no point without the sink: its failure then ends the run.

    Methods are called on the loop's thread and must return at once. ``start`` may raise an ``EdgekitError`` (a port in
    use, a file that cannot be created): the run then does not begin. After that a sink looks after its own troubles.
    """

    essential = False

    def start(self, session: Session) -> None: ...

    def result(self, result: Result, image: Image) -> None:
        """``image`` uint8 ``[H, W, 3]`` BGR is only lent: its buffer is reused as soon as this returns."""

    def event(self, event: Event) -> None: ...

    def idle(self) -> None:
        """Called a few times a second while no frame comes."""

    def finish(self, summary: Summary) -> None: ...

    def close(self) -> None:
        """Gives back what ``start`` took; called once, also when the run failed."""


class Fan(Sink):
    """Hands everything to each of several sinks; one that fails is logged once and left out from then on."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)
        self._started: list[Sink] = []

    def start(self, session: Session) -> None:
        for sink in self._sinks:
            self._started.append(sink)
            sink.start(session)

    def result(self, result: Result, image: Image) -> None:
        for sink in tuple(self._sinks):
            try:
                sink.result(result, image)
            except Exception as error:  # telemetry of any kind must not end a run in the field
                self._leave_out(sink, error)

    def event(self, event: Event) -> None:
        self._each(lambda sink: sink.event(event))

    def idle(self) -> None:
        self._each(lambda sink: sink.idle())

    def finish(self, summary: Summary) -> None:
        self._each(lambda sink: sink.finish(summary))

    def close(self) -> None:
        for sink in reversed(self._started):
            try:
                sink.close()
            except Exception as error:
                _log.warning("%s: closing failed: %s", type(sink).__name__, error)
        self._started.clear()

    def _each(self, call: Callable[[Sink], None]) -> None:
        for sink in tuple(self._sinks):
            try:
                call(sink)
            except Exception as error:
                self._leave_out(sink, error)

    def _leave_out(self, sink: Sink, error: Exception) -> None:
        if isinstance(error, BrokenPipeError):  # standard output closed (| head): the run has nobody left to tell
            raise error
        if sink.essential:
            if isinstance(error, OSError):
                raise StorageError(f"results cannot be written: {error.strerror or error}") from error
            raise error
        _log.warning("%s: no longer used: %s: %s", type(sink).__name__, type(error).__name__, error)
        _log.debug("how it failed", exc_info=error)
        self._sinks.remove(sink)
