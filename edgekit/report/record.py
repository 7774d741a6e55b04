"""What a build knows when it is done, as frozen values: the one input of report.html and of the terminal tables.

A section that a build did not measure is None or empty, and is then absent from the report: nothing is ever filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.config.target import Precision, Target
from edgekit.emulate.emulated import Emulated
from edgekit.evaluate.accuracy import Accuracy
from edgekit.evaluate.bench_report import BenchReport
from edgekit.evaluate.gate import GateResult
from edgekit.report.cost import Cost


@dataclass(frozen=True, slots=True)
class Source:
    """The checkpoint: file name, sha256 (hex), family ("torchvision", …), architecture in words, parameters, MACs."""

    name: str
    sha256: str
    family: str
    architecture: str
    params: int
    macs: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of the bundle; ``format`` and ``precision`` are empty for files that are no model."""

    name: str
    bytes: int
    sha256: str
    format: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True)
class LayerNoise:
    """Where int8 loses signal: one layer's signal-to-quantization-noise ratios against float, in dB.

    ``weights_db``: only this layer's weights quantized, its output compared. ``activations_db``: only this layer's
    output quantized. ``cumulative_db``: the whole quantized network up to here. None: not measured. ``why`` explains
    the worst, e.g. "one outlier channel: range 124 where the median is 20".
    """

    name: str
    op: str
    weights_db: float | None = None
    activations_db: float | None = None
    cumulative_db: float | None = None
    why: str = ""


@dataclass(frozen=True)
class RangeHistogram:
    """The values that one tensor took over the calibration pictures, and the range that was chosen for it.

    ``counts`` int64 ``[bins]`` in equal bins from ``low`` to ``high`` (real units); ``chosen`` is what the 256 levels
    span.
    """

    name: str
    counts: NDArray[np.int64]
    low: float
    high: float
    chosen: tuple[float, float]
    observer: str = ""


@dataclass(frozen=True, slots=True)
class Parity:
    """How alike two things answer over ``n`` pictures, e.g. "ONNX against TFLite" or "float ONNX against torch".

    ``top1_equal`` in percent; ``equal_outputs`` the share of equal output integers in percent (None for floats);
    ``largest_step`` the largest difference in output steps; ``relative_error`` for floats: max |a − b| / max |a|.
    """

    what: str
    n: int
    top1_equal: float | None = None
    equal_outputs: float | None = None
    largest_step: int | None = None
    relative_error: float | None = None


@dataclass(frozen=True, slots=True)
class CalibrationFacts:
    """The pictures that chose the ranges: how many were used of how many, where from, and what is wrong with them.

    ``sha256`` is over their contents in order; ``classes`` counts those used by name, empty where nothing says.
    """

    source: str
    used: int
    available: int
    sha256: str = ""
    warnings: tuple[str, ...] = ()
    classes: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    skipped: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "used": self.used,
            "available": self.available,
            "sha256": self.sha256,
            "classes": dict(self.classes),
            "duplicates": self.duplicates,
            "skipped": self.skipped,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class KeptFloat:
    """Layers left in float, against the same network with these in int8 too.

    Gains are by format ("onnx", "tflite"): of the scores' SQNR in dB, of agreement with float in percentage points, and
    of top-1 in percentage points where classes are known. Costs are by engine, of one inference on one thread of the
    machine that built: more ms, and times as long.
    """

    layers: tuple[str, ...]
    gain_db: Mapping[str, float] = field(default_factory=dict)
    gain_agreement_pp: Mapping[str, float] = field(default_factory=dict)
    gain_top1_pp: Mapping[str, float] = field(default_factory=dict)
    cost_ms: Mapping[str, float] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tried:
    """One choice that ``keep_float: auto`` judged; of both formats the worse figure."""

    layers: tuple[str, ...]
    passed: bool
    agreement: float | None = None
    sqnr_db: float | None = None
    drop_pp: float | None = None

    @classmethod
    def of(cls, layers: tuple[str, ...], accuracy: Accuracy, passed: bool) -> Tried:
        def of(figures: Mapping[str, float]) -> list[float]:
            return [value for name, value in figures.items() if name in ("onnx", "tflite")]

        return cls(
            layers,
            passed,
            min(of(accuracy.agreement), default=None),
            min(of(accuracy.sqnr_db), default=None),
            max(of(accuracy.drop_pp), default=None),
        )


@dataclass(frozen=True, slots=True)
class FloatLayers:
    """What was left in float: all of it on ``n`` pictures, each group by itself on ``n_each`` (empty: not measured)."""

    together: KeptFloat
    each: tuple[KeptFloat, ...] = ()
    n: int = 0
    n_each: int = 0
    tried: tuple[Tried, ...] = ()


@dataclass(frozen=True, slots=True)
class Ablation:
    """The same build with one method more or less: what that method is worth."""

    method: str
    drop_pp: float | None = None
    agreement: float | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class BuildRecord:
    """Everything that a report may show.

    Args:
        source: the checkpoint.
        target: the profile as it was used.
        precision: "int8", "fp16" or "fp32".
        labels: class names in output order.
        artifacts: the files of the bundle.
        float_bytes: size of the float model of the same format and network; None where it was not made.
        accuracy: measured on labelled or unlabelled pictures; its ``answers`` give the scatter and the pictures that
            flipped.
        data: where those pictures are, in words.
        gate: the judgement of ``accuracy``.
        speed: a benchmark on the machine that built; rows of precision "fp32" are what int8 is compared with.
        layers: signal-to-noise layer by layer, in network order.
        ops: model file → operator → count.
        cost: MACs, bytes and the roofline of ``target``.
        emulated: what the target's core answered and executed under emulation.
        stages: stage → seconds, in order.
        refused: rewrites that refused, and why.
        settings: what was switched on, e.g. {"observer": "mse", "rounding": "gptq"}.
    """

    source: Source
    target: Target
    precision: Precision
    labels: tuple[str, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    float_bytes: int | None = None
    accuracy: Accuracy | None = None
    data: str = ""
    gate: GateResult | None = None
    speed: BenchReport | None = None
    layers: tuple[LayerNoise, ...] = ()
    histograms: tuple[RangeHistogram, ...] = ()
    parity: tuple[Parity, ...] = ()
    ops: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    cost: Cost | None = None
    emulated: Emulated | None = None
    calibration: CalibrationFacts | None = None
    kept_float: FloatLayers | None = None
    ablations: tuple[Ablation, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
