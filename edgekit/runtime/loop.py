"""The camera loop: frames in, answers out, for as long as it takes."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from edgekit.errors import ImageError
from edgekit.runtime.capture.intake import Intake
from edgekit.runtime.decide import Decider, top_k
from edgekit.runtime.frames import Frame
from edgekit.runtime.model import Model, load
from edgekit.runtime.options import RunOptions
from edgekit.runtime.pacing import Pacer
from edgekit.runtime.results import Dropped, Event, Health, Result, Session, SourceUp, StageLatency, Summary
from edgekit.runtime.signals import Stop
from edgekit.runtime.sinks.base import Fan, Sink
from edgekit.runtime.sources import specify
from edgekit.runtime.sources.base import SourceSpec
from edgekit.runtime.tally import Tally
from edgekit.runtime.transform import Transform

_log = logging.getLogger(__name__)


class HealthSource(Protocol):
    """Where the loop learns of the device's state."""

    def take(self) -> Health | None:
        """The state, if there is a new one since the last call; returns at once."""
        ...


_M_ARENA_MAX = -8  # malloc.h of glibc
_IDLE_S = 0.2  # the longest the loop sleeps before it looks at the stop request and lets sinks look around


def run(
    options: RunOptions,
    *,
    sinks: Sequence[Sink] = (),
    stop: Stop | None = None,
    model: Model | None = None,
    specs: Sequence[SourceSpec] | None = None,
    health: HealthSource | None = None,
) -> Summary:
    """Classifies what the cameras show until they end, a limit is reached, or ``stop`` is requested.

    Args:
        sinks: where results and events go; called on this thread, and closed before this returns.
        stop: request it (from a signal handler or another thread) to end within a fraction of a second.
        model: an opened bundle, instead of ``options.bundle``; stays open.
        specs: sources to use instead of those ``options.cameras`` names.
        health: gives the device's state; None watches this machine.

    Raises:
        CameraError, StreamError: a source that cannot be opened or never gave a picture.
        BundleError, VerifyFailed, EngineError: the model.
        StorageError, UsageError: a sink that cannot start.
    """
    stop = stop or Stop()
    _settle_process(options.resilience.stall_timeout_s)
    with ExitStack() as stack:
        # Cameras take their time to open: they do so while the engine loads.
        if specs is None:
            specs = [specify(camera, options.resilience, options.on_end) for camera in options.cameras]
        intake = stack.enter_context(Intake(specs, options))
        if model is None:
            model = load(options.bundle, options.engine, options.threads, verify=options.verify)
            stack.callback(model.close)
        if health is None:
            from edgekit.runtime.health import HealthMonitor

            health = stack.enter_context(HealthMonitor())
        session = _session(model, specs, options)
        fan = Fan(sinks)
        stack.callback(fan.close)
        fan.start(session)
        summary = _Loop(options, model, session, intake, fan, stop, health.take).run()
        fan.finish(summary)
        return summary


class _Loop:
    def __init__(
        self,
        options: RunOptions,
        model: Model,
        session: Session,
        intake: Intake,
        fan: Fan,
        stop: Stop,
        take_health: Callable[[], Health | None],
    ) -> None:
        self._options = options
        self._model = model
        self._session = session
        self._intake = intake
        self._fan = fan
        self._stop = stop
        self._take_health = take_health
        self._tally = Tally(session)
        self._pacer = Pacer(options.max_fps, adaptive=options.adaptive)
        count = len(session.cameras)
        self._deciders = [Decider(options.decision) for _ in range(count)]
        self._transforms = [Transform(roi=options.roi, rotate=options.rotate, flip=options.flip) for _ in range(count)]
        self._throttled = False
        self._last_look: tuple[float, int] | None = None
        self._complained_of_pictures = False

    def run(self) -> Summary:
        self._intake.go()
        began = time.monotonic()
        stopped_by = "end"
        while True:
            if (reason := self._why_stop(began)) is not None:
                stopped_by = reason
                break
            self._events()
            frame = None if self._hold_back() else self._intake.next(_IDLE_S)
            if frame is None:
                if self._intake.over:
                    break
                self._fan.idle()
                continue
            now = time.monotonic()
            self._tally.took(now)
            self._pacer.took(now)
            try:
                self._classify(frame)
            finally:
                frame.release()
        self._intake.stop()
        if stopped_by == "end":
            self._intake.raise_failed()
        self._events()
        return self._tally.summary(stopped_by)

    def _why_stop(self, began: float) -> str | None:
        options = self._options
        if self._stop.requested:
            return self._stop.reason
        if options.max_frames is not None and self._tally.frames >= options.max_frames:
            return "max-frames"
        if options.max_seconds is not None and time.monotonic() - began >= options.max_seconds:
            return "max-seconds"
        return None

    def _hold_back(self) -> bool:
        """Sleeps a little if no frame is due yet; whether it did."""
        wait = self._pacer.wait_s(time.monotonic())
        if wait <= 0:
            return False
        self._intake.hold_back("throttled" if self._pacer.lowered else "max_fps")
        time.sleep(min(wait, _IDLE_S))
        self._intake.hold_back("superseded")
        return True

    def _classify(self, frame: Frame) -> None:
        model = self._model
        decider = self._deciders[frame.camera]
        start = time.perf_counter()
        picture = self._transforms[frame.camera](frame.image)
        try:
            model.prepare(picture)
        except ImageError as error:
            self._unusable(frame, error)
            return
        prepared = time.perf_counter()
        raw = model.infer()
        inferred = time.perf_counter()
        scores = decider.smooth(model.probabilities(raw))
        top = top_k(scores, self._session.labels, self._options.top_k)
        label = decider.label(scores, top[0], self._session.labels)
        end, now = time.perf_counter(), time.monotonic()
        age = now - frame.captured_at
        result = Result(
            frame=self._tally.next_number(frame.camera),
            time=time.time() - age,
            top=top,
            label=label,
            latency_ms=StageLatency(
                (prepared - start) * 1e3, (inferred - prepared) * 1e3, (end - inferred) * 1e3, (end - start) * 1e3
            ),
            frame_age_ms=age * 1e3,
            camera=frame.camera,
            throttled=self._throttled,
        )
        self._tally.result(result, now)
        self._fan.result(result, picture)

    def _unusable(self, frame: Frame, error: ImageError) -> None:
        if not self._complained_of_pictures:
            _log.warning("%s: %s", self._session.cameras[frame.camera], error.message)
            self._complained_of_pictures = True
        self._say(Dropped(frame.camera, "corrupt", 1))

    def _events(self) -> None:
        for event in self._intake.events():
            if isinstance(event, SourceUp) and event.reconnected:
                self._deciders[event.camera].reset()
            self._say(event)
        health = self._take_health()
        if health is not None:
            self._look_at(health)

    def _look_at(self, health: Health) -> None:
        now, frames = time.monotonic(), self._tally.frames
        if self._last_look is not None and now > self._last_look[0]:
            lowered = self._pacer.lowered
            self._pacer.throttle(health.throttled, (frames - self._last_look[1]) / (now - self._last_look[0]))
            if self._pacer.lowered and not lowered:
                _log.warning("fewer answers a second until it recovers, from %.1f on down", self._pacer.limit_fps)
            elif lowered and not self._pacer.lowered:
                _log.warning("back to the full frame rate")
        self._last_look = now, frames
        if health.throttled and not self._throttled:
            _log.warning("the device slows itself down: %s", ", ".join(health.throttle_reasons) or "throttled")
        self._throttled = health.throttled
        self._say(health)

    def _say(self, event: Event) -> None:
        self._tally.event(event)
        self._fan.event(event)


def _session(model: Model, specs: Sequence[SourceSpec], options: RunOptions) -> Session:
    engine = model.engine
    return Session(
        cameras=tuple(spec.name for spec in specs),
        labels=model.labels,
        engine=engine.name,
        engine_version=engine.version,
        threads=engine.threads,
        bundle=model.bundle,
        bundle_sha256=model.sha256,
        decides=options.decision.active,
        model=model.facts,
    )


def _settle_process(stall_timeout_s: float) -> None:
    """Settings of the whole process that a loop for weeks on a small board wants.

    One thread for OpenCV: its pool costs more than it gains on such small pictures, and fights the engine's. Two heaps
    for glibc instead of eight a core: each thread that opens a source again would start another, and resident memory
    would creep up by megabytes until all exist. And OpenCV's wait for a silent Video4Linux camera, which is 10 s, must
    end with the stall timeout, or the thread that hangs in it keeps the camera busy; it is read when cv2 is imported.
    """
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(max(1, math.ceil(stall_timeout_s))))
    import ctypes

    import cv2

    cv2.setNumThreads(1)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)
