"""``deploy.yaml`` as frozen values: which checkpoint goes to which targets, and how it runs there."""

# ruff: noqa: RUF009 - setting() and section() declare dataclass fields, as dataclasses.field does.

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgekit.config.fields import plain, section, setting
from edgekit.config.target import NAME, EngineName, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOverride:
    """Accuracy gates of this deployment; what is left out stays as the target says."""

    max_drop_pp: float | None = setting(
        "largest loss of top-1 on a labelled set, percentage points", None, low=0, high=100
    )
    min_agreement: float | None = setting("least share of equal top-1 answers, 0-1", None, low=0, high=1)
    min_sqnr_db: float | None = setting("least signal-to-quantization noise of the scores, dB", None, low=-20, high=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Defaults of `edgekit run` on the device; null leaves the choice to the target profile."""

    camera: str = setting("index, device, file, folder, URL, or demo", "0")
    engine: EngineName | Literal["auto"] = setting("runtime; auto: the target's first that can be imported", "auto")
    threads: int | None = setting("threads of one inference", None, low=1, high=256)
    top_k: int = setting("classes in a result", 5, low=1, high=1000)
    max_fps: float | None = setting("upper limit of results per second", None, low=0.01, high=1000)
    every: int = setting("classify every Nth frame", 1, low=1, high=100000)
    smoothing: float = setting(
        "weight of the newest frame in the running mean of scores; 1: none", 1.0, low=0.001, high=1
    )
    threshold: float = setting("least probability of an answer; below it the answer is unknown", 0.0, low=0, high=1)
    hysteresis: float = setting("by how much another label must win to replace the current one", 0.0, low=0, high=1)
    roi: str | None = setting(
        "part of the picture to look at: x,y,width,height in pixels, or as fractions such as 0.25,0.0,0.5,1.0",
        None,
        pattern=r"\s*[\d.]+\s*(,\s*[\d.]+\s*){3}",
        form="x,y,width,height",
    )
    on_end: Literal["exit", "loop", "wait"] = setting("what happens when a file or stream ends", "exit")
    verify: bool = setting("check the bundle's golden answers before the first frame", True)
    telemetry: str | None = setting("file for one JSON line per result", None, path=True)
    metrics_port: int | None = setting("port of the Prometheus endpoint", None, low=0, high=65535)
    view_port: int | None = setting("port of the live view", None, low=0, high=65535)
    view_host: str = setting("address that the live view listens on", "127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """A deployment: checkpoint, labels, pictures, targets, gates and run-time defaults.

    Paths are absolute once loaded: deploy.yaml gives them relative to itself.
    """

    checkpoint: str = setting("checkpoint file, or a name: demo, or one of `edgekit checkpoints list`", path=True)
    labels: str | None = setting("labels file, one label a line; null: the checkpoint's own", None, path=True)
    calibration: str | None = setting("calibration images: a folder, or the manifest of a set", None, path=True)
    evaluation: str | None = setting("labelled images, one folder per class, for the accuracy gate", None, path=True)
    targets: tuple[str, ...] = setting(
        "target profiles that this deployment is for", pattern=rf"{NAME}|.*\.ya?ml", form="a name such as rpi4"
    )
    output: str = setting("folder that gets one bundle per target", "build", path=True)
    precision: Precision | None = setting("arithmetic; null: as each target says", None)
    gate: GateOverride = section(GateOverride)
    run: Run = section(Run)
    path: Path | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Every setting, defaults included, under its YAML key."""
        data: dict[str, Any] = plain(self)
        return data
