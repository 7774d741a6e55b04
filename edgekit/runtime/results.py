"""What the loop says: one ``Result`` a frame, events in between, a ``Summary`` at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from edgekit.runtime.latency import Percentiles

STAGES = ("preprocess", "inference", "postprocess", "total")
UNKNOWN = "unknown"  # the label of an answer below the threshold


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class of the answer; ``score`` is a probability, 0–1."""

    index: int
    label: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        return {"index": self.index, "label": self.label, "score": round(self.score, 6)}


@dataclass(frozen=True, slots=True)
class StageLatency:
    """Milliseconds each stage of one frame took; ``total`` runs from taking the frame to having the answer."""

    preprocess: float
    inference: float
    postprocess: float
    total: float

    def to_dict(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 3) for name in STAGES}


@dataclass(frozen=True, slots=True)
class Result:
    """The answer for one frame.

    Attributes:
        frame: counts the results of this camera, from 0.
        time: when the picture was taken, seconds since the epoch.
        label: the decided label, after smoothing, threshold and hysteresis; ``unknown`` below the threshold.
        frame_age_ms: from the capture timestamp to this answer.
        camera: which of the session's cameras, from 0.
        throttled: measured while the device was slowing itself down, so the latencies are not the device's best.
    """

    frame: int
    time: float
    top: tuple[Prediction, ...]
    label: str
    latency_ms: StageLatency
    frame_age_ms: float
    camera: int = 0
    throttled: bool = False

    def to_dict(self, session: Session) -> dict[str, Any]:
        """The line that ``run --json`` prints; keys that say nothing in this session are left out."""
        line: dict[str, Any] = {
            "frame": self.frame,
            "time": iso_time(self.time),
            "top": [prediction.to_dict() for prediction in self.top],
            "latency_ms": self.latency_ms.to_dict(),
            "frame_age_ms": round(self.frame_age_ms, 3),
        }
        if len(session.cameras) > 1:
            line["camera"] = session.cameras[self.camera]
        if session.decides:
            line["label"] = self.label
        if self.throttled:
            line["throttled"] = True
        return line

    def to_json(self, session: Session) -> str:
        """:meth:`to_dict` as JSON text, in a third of the time: this is done for every frame."""
        latency = self.latency_ms
        top = ", ".join(
            [
                f'{{"index": {best.index}, "label": {_quoted(best.label)}, "score": {best.score:.6f}}}'
                for best in self.top
            ]
        )
        camera = f', "camera": {_quoted(session.cameras[self.camera])}' if len(session.cameras) > 1 else ""
        label = f', "label": {_quoted(self.label)}' if session.decides else ""
        throttled = ', "throttled": true' if self.throttled else ""
        return (
            f'{{"frame": {self.frame}, "time": "{iso_time(self.time)}", "top": [{top}], '
            f'"latency_ms": {{"preprocess": {latency.preprocess:.3f}, "inference": {latency.inference:.3f}, '
            f'"postprocess": {latency.postprocess:.3f}, "total": {latency.total:.3f}}}, '
            f'"frame_age_ms": {self.frame_age_ms:.3f}{camera}{label}{throttled}}}'
        )


@dataclass(frozen=True, slots=True)
class Session:
    """What is the same for the whole run; sinks get it before the first result.

    Attributes:
        cameras: one name a camera, safe to show (no passwords).
        decides: whether a threshold or hysteresis is on, so that ``Result.label`` may differ from the first of ``top``.
        model: what a person wants to know of the model (architecture, precision, target, …), for cards and metrics.
    """

    cameras: tuple[str, ...]
    labels: tuple[str, ...]
    engine: str
    engine_version: str
    threads: int
    bundle: str
    bundle_sha256: str
    decides: bool = False
    model: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceUp:
    """A camera delivers pictures. ``obtained`` is the setting really got, e.g. ``640x480 at 30 fps, MJPG``."""

    camera: int
    obtained: str
    reconnected: bool = False


@dataclass(frozen=True, slots=True)
class SourceDown:
    """A camera stopped delivering; ``reason`` is one sentence, ``retrying`` says whether it will be opened again."""

    camera: int
    reason: str
    retrying: bool


@dataclass(frozen=True, slots=True)
class Dropped:
    """Frames that were captured and not classified.

    Reasons: ``superseded`` (a newer one came while the loop was busy), ``max_fps`` (… while the loop held back for the
    frame rate asked for), ``throttled`` (… held back for the device's sake), ``every`` (``--every N``), ``corrupt``
    (cannot be decoded), ``shutdown`` (captured, and then the loop stopped).
    """

    camera: int
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Health:
    """The device's state at one moment; None where this machine does not say.

    Attributes:
        throttled: now slowed down by heat, a weak supply or a frequency cap.
        throttle_bits: Raspberry Pi firmware's ``get_throttled`` word.
        cpu_percent: of all cores together, 0–100. rss_bytes: this process.
    """

    temperature_c: float | None = None
    throttled: bool = False
    throttle_bits: int | None = None
    throttle_reasons: tuple[str, ...] = ()
    cpu_percent: float | None = None
    cpu_frequency_mhz: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    rss_bytes: int | None = None


Event = SourceUp | SourceDown | Dropped | Health


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole run in figures.

    Attributes:
        seconds: from the first frame taken to the last answer. fps: frames ÷ seconds, over all cameras.
        stopped_by: ``end`` | ``max-frames`` | ``max-seconds`` | ``SIGINT`` | ``SIGTERM`` | ``stop``.
        throttled_frames: answers given while the device was slowing itself down.
    """

    frames: int
    seconds: float
    fps: float
    latency_ms: Mapping[str, Percentiles]
    frame_age_ms: Percentiles
    dropped: Mapping[str, int]
    reconnects: int
    engine: str
    threads: int
    bundle: str
    bundle_sha256: str
    stopped_by: str = "end"
    throttled_frames: int = 0
    cameras: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The object under ``"summary"`` in the last line of ``run --json``."""
        return {
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "latency_ms": {stage: figures.to_dict() for stage, figures in self.latency_ms.items()},
            "frame_age_ms": self.frame_age_ms.to_dict(),
            "dropped": dict(self.dropped),
            "reconnects": self.reconnects,
            "engine": self.engine,
            "threads": self.threads,
            "bundle": self.bundle,
            "bundle_sha256": self.bundle_sha256,
            "stopped_by": self.stopped_by,
            "throttled_frames": self.throttled_frames,
            "cameras": dict(self.cameras),
        }


def iso_time(seconds: float) -> str:
    """UTC, milliseconds: ``2031-05-06T07:08:09.123Z``."""
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second(whole)}.{micros // 1000:03d}Z"


@lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1024)
def _quoted(text: str) -> str:
    """``text`` as a JSON string."""
    return json.dumps(text, ensure_ascii=False)
