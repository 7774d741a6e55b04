"""The loop's heartbeat for systemd: fed by answers, not by a timer.

What counts as life: an answer; or, while every camera is known to be away, the loop coming round to look for it. A
camera that is up and gives nothing, an engine that hangs and a loop that is stuck all fall silent, and systemd
restarts the service. So does an outage that lasts too long for the loop's own reconnecting to be trusted.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from edgekit.runtime.frames import Image
from edgekit.runtime.notify import Notifier
from edgekit.runtime.results import Event, Result, Session, SourceDown, SourceUp, Summary
from edgekit.runtime.sinks.base import Sink

_STATUS_EVERY_S = 10.0
# A driver that needs a new process to find its camera again gets one after this long.
LONGEST_OUTAGE_S = 600.0


class SystemdSink(Sink):
    """Feeds a :class:`Notifier`.

    Args:
        notifier: None takes the one that the environment describes.
        longest_outage_s: all cameras away for longer than this is no life any more; None: for ever.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        notifier: Notifier | None = None,
        *,
        longest_outage_s: float | None = LONGEST_OUTAGE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier or Notifier.from_environment()
        self._longest_outage_s = longest_outage_s
        self._clock = clock
        self._away: set[int] = set()
        self._cameras: tuple[str, ...] = ()
        self._outage_since = 0.0
        self._frames = 0
        self._status_at = float("-inf")
        self._frames_then = 0

    def start(self, session: Session) -> None:
        # Ready means: the model runs and cameras are being opened. Not "a camera answered", or a unit that starts
        # before its network camera would count as failed.
        self._cameras = session.cameras
        self._away = set(range(len(session.cameras)))
        self._outage_since = self._clock()
        self._notifier.ready(f"waiting for {', '.join(session.cameras)}")

    def result(self, result: Result, image: Image) -> None:
        self._away.discard(result.camera)
        self._frames += 1
        self._notifier.progress()
        now = self._clock()
        if now - self._status_at < _STATUS_EVERY_S:
            return
        rate = (self._frames - self._frames_then) / (now - self._status_at) if self._frames_then else 0.0
        figures = f"{rate:.1f} fps, " if rate else ""
        count = f"{self._frames} frame{'s' if self._frames > 1 else ''}"
        self._notifier.status(f"{count}, {figures}{result.label}, age {result.frame_age_ms:.0f} ms")
        self._status_at, self._frames_then = now, self._frames

    def event(self, event: Event) -> None:
        if isinstance(event, SourceUp):
            self._away.discard(event.camera)
        elif isinstance(event, SourceDown):
            if not self._away:
                self._outage_since = self._clock()
            self._away.add(event.camera)
            name = self._cameras[event.camera]
            self._notifier.status(f"{name}: {event.reason}" + ("; retrying" if event.retrying else ""))

    def idle(self) -> None:
        if len(self._away) < len(self._cameras):
            return  # a camera that is up owes a frame: silence is what the watchdog waits for
        outage = self._clock() - self._outage_since
        if self._longest_outage_s is None or outage <= self._longest_outage_s:
            self._notifier.progress()

    def finish(self, summary: Summary) -> None:
        self._notifier.stopping()

    def close(self) -> None:
        self._notifier.close()
