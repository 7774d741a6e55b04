"""Adds up a run into its summary."""

from __future__ import annotations

from collections import Counter

from edgekit.runtime.latency import Durations
from edgekit.runtime.results import STAGES, Dropped, Event, Result, Session, SourceUp, Summary

_AT_ONCE = 100


class Tally:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._stages = {stage: Durations() for stage in STAGES}
        # Figures (of each stage, and the age) that are not sorted into histograms yet: that is cheap for many at once,
        # and dear for one after each frame, when the engine has emptied the caches. Bare numbers, not results: objects
        # kept for a while are what sets the garbage collector off.
        self._waiting: list[tuple[float, ...]] = []
        self._age = Durations()
        self._dropped: Counter[str] = Counter()
        self._per_camera = [0] * len(session.cameras)
        self._reconnects = 0
        self._throttled = 0
        self.frames = 0
        self._began: float | None = None
        self._ended = 0.0

    def took(self, now: float) -> None:
        """A frame was taken at ``now`` (monotonic seconds); the run's clock starts with the first."""
        if self._began is None:
            self._began = now

    def next_number(self, camera: int) -> int:
        return self._per_camera[camera]

    def result(self, result: Result, now: float) -> None:
        self.frames += 1
        self._per_camera[result.camera] += 1
        self._ended = now
        self._throttled += result.throttled
        latency = result.latency_ms
        figures = latency.preprocess, latency.inference, latency.postprocess, latency.total, result.frame_age_ms
        self._waiting.append(figures)
        if len(self._waiting) >= _AT_ONCE:
            self._sort_in()

    def _sort_in(self) -> None:
        for column, durations in enumerate((*(self._stages[stage] for stage in STAGES), self._age)):
            for figures in self._waiting:
                durations.add(figures[column])
        self._waiting.clear()

    def event(self, event: Event) -> None:
        if isinstance(event, Dropped):
            self._dropped[event.reason] += event.count
        elif isinstance(event, SourceUp) and event.reconnected:
            self._reconnects += 1

    def summary(self, stopped_by: str) -> Summary:
        self._sort_in()
        session = self._session
        seconds = self._ended - self._began if self._began is not None and self.frames else 0.0
        names = [name if session.cameras.count(name) == 1 else f"{name} #{i}" for i, name in enumerate(session.cameras)]
        return Summary(
            frames=self.frames,
            seconds=seconds,
            fps=self.frames / seconds if seconds > 0 else 0.0,
            latency_ms={stage: durations.percentiles() for stage, durations in self._stages.items()},
            frame_age_ms=self._age.percentiles(),
            dropped=dict(sorted(self._dropped.items())),
            reconnects=self._reconnects,
            engine=session.engine,
            threads=session.threads,
            bundle=session.bundle,
            bundle_sha256=session.bundle_sha256,
            stopped_by=stopped_by,
            throttled_frames=self._throttled,
            cameras=dict(zip(names, self._per_camera, strict=True)),
        )
