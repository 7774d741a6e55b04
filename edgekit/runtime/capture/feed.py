"""One camera for as long as the run lasts: openings, stalls, reconnections, and what its end means."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from edgekit.errors import EdgekitError, StreamError
from edgekit.runtime.bell import Bell
from edgekit.runtime.capture.attempt import Attempt
from edgekit.runtime.capture.backoff import Backoff
from edgekit.runtime.capture.mailbox import Mailbox
from edgekit.runtime.options import OnEnd, Resilience
from edgekit.runtime.results import Event, SourceDown, SourceUp
from edgekit.runtime.sources.base import SourceSpec
from edgekit.runtime.sources.urls import redact

_log = logging.getLogger(__name__)

# Threads given up while blocked in a driver. More would only pile up on the same dead device.
_MOST_GIVEN_UP = 2
_LOOK_S = 0.5
_STOP_S = 2.0


class Feed:
    """Supervises one source from its own thread; the loop reads :attr:`mailbox` and :attr:`events`.

    Attributes:
        finished: no frame will ever come again.
        error: why, when that is not a plain end.
    """

    def __init__(
        self,
        spec: SourceSpec,
        camera: int,
        bell: Bell,
        *,
        resilience: Resilience,
        on_end: OnEnd = "exit",
        every: int = 1,
        ready: threading.Event | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.spec = spec
        self.camera = camera
        self.mailbox = Mailbox(bell, live=spec.newest_wins)
        self.events: deque[Event] = deque()
        self.finished = False
        self.error: EdgekitError | None = None
        self._bell = bell
        self._resilience = resilience
        self._on_end = on_end
        self._every = every
        self._ready = ready
        self._backoff = backoff or Backoff(resilience)
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._given_up: list[Attempt] = []
        self._up = False
        self._ever_up = False
        self._epoch = 0
        self._complained = False
        self._thread = threading.Thread(target=self._supervise, name=f"edgekit-feed-{camera}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Asks for the end; :meth:`join` waits for it."""
        self._stop.set()
        self._changed.set()

    def join(self, timeout_s: float = _STOP_S + 1.0) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _supervise(self) -> None:
        try:
            while not self._stop.is_set():
                attempt = self._attempt()
                error = self._watch(attempt)
                if self._stop.is_set():
                    attempt.give_up()
                    self.mailbox.wake_writer()  # it may be waiting for its last frame to be taken
                    if not attempt.join(_STOP_S):
                        _log.info("%s: left behind, blocked in its driver", self.spec.name)
                    break
                if not self._goes_on(attempt, error):
                    break
        except Exception as error:  # a mistake here must not look like a camera that simply ended
            self.error = StreamError(f"{self.spec.name}: {type(error).__name__}: {redact(str(error))}")
            _log.debug("supervising failed", exc_info=True)
        finally:
            self._finish()

    def _finish(self) -> None:
        self.finished = True
        self._bell.ring()

    def _attempt(self) -> Attempt:
        self._epoch += 1
        attempt = Attempt(
            self.spec.make(),
            self.mailbox,
            camera=self.camera,
            epoch=self._epoch,
            changed=self._changed.set,
            # A file must not age while the engine loads; a live source must be drained meanwhile.
            gate=None if self.spec.live else self._ready,
            every=self._every,
            live=self.spec.live,
        )
        attempt.start()
        return attempt

    def _watch(self, attempt: Attempt) -> EdgekitError | None:
        """Returns when the attempt is over (its error, None for a plain end) or has stalled (and is given up)."""
        while not self._stop.is_set():
            self._changed.clear()
            if attempt.first_frame_at is not None and not self._up:
                self._say_up(attempt)
            if attempt.over:
                return attempt.error
            allowed = self._resilience.stall_timeout_s if attempt.opened else self._resilience.open_timeout_s
            left = attempt.progress + allowed - _ahead_s(allowed) - time.monotonic()
            if left <= 0 and self._can_stall(attempt):
                attempt.give_up()
                self._given_up.append(attempt)
                what = "no picture" if attempt.opened else "no answer"
                return StreamError(f"{self.spec.name}: {what} for {allowed:g} s")
            self._changed.wait(max(left, 0.01) if left > 0 else _LOOK_S)
        return None

    def _can_stall(self, attempt: Attempt) -> bool:
        return not attempt.waiting and (self.spec.live or not attempt.opened)

    def _goes_on(self, attempt: Attempt, error: EdgekitError | None) -> bool:
        """Whether to open the source again, after waiting as long as is due."""
        if error is None and not self._ever_up:
            error = StreamError(attempt.spoilt or f"{self.spec.name}: ended before its first picture")
        if error is None and self._on_end != "exit":
            if attempt.frames:
                return self._play_again()
            error = StreamError(f"{self.spec.name}: gives no pictures any more")
        retrying = error is not None and self.spec.live and (self._ever_up or self._resilience.retry_first)
        self._say_down(error, retrying=retrying)
        if not retrying:
            # What broke after it had worked is an early end: the answers so far deserve their summary.
            if self._ever_up and error is not None:
                _log.warning("%s", error.message)
            else:
                self.error = error
            return False
        lived = 0.0 if attempt.first_frame_at is None else time.monotonic() - attempt.first_frame_at
        if lived > self._resilience.longest_delay_s:
            self._backoff.reset()
        if self._stop.wait(self._backoff.next_delay_s()):
            return False
        return self._room_for_another()

    def _play_again(self) -> bool:
        if self._on_end == "loop":
            return True
        look = self.spec.fingerprint
        before = look() if look else None
        while not self._stop.wait(_LOOK_S):
            if look is not None and (now := look()) is not None and now != before:
                return True
        return False

    def _room_for_another(self) -> bool:
        """Waits while too many given-up threads are still blocked; False when the run stops meanwhile."""
        while True:
            self._given_up = [attempt for attempt in self._given_up if attempt.alive]
            if len(self._given_up) < _MOST_GIVEN_UP:
                return True
            if self._stop.wait(_LOOK_S):
                return False

    def _say_up(self, attempt: Attempt) -> None:
        if self._ever_up:
            _log.warning("%s: back, %s", self.spec.name, attempt.obtained)
        else:
            _log.info("%s: %s", self.spec.name, attempt.obtained)
        self._tell(SourceUp(self.camera, attempt.obtained, reconnected=self._ever_up))
        self._up = self._ever_up = True
        self._complained = False

    def _say_down(self, error: EdgekitError | None, *, retrying: bool) -> None:
        reason = error.message if error is not None else f"{self.spec.name}: ended"
        # Once an outage, not once a try.
        if retrying and not self._complained:
            _log.warning("%s; trying again", reason)
            self._complained = True
        if self._up or not retrying:
            self._tell(SourceDown(self.camera, reason, retrying))
        self._up = False

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self._bell.ring()


def _ahead_s(timeout_s: float) -> float:
    """How long before a timeout it counts as over, so that everybody has been told of it by then."""
    return min(0.25, 0.1 * timeout_s)
