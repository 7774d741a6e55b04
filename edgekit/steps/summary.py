"""What a build tells: the parts of its manifest and JSON, and the record that the report shows."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from edgekit import __version__, checkpoints
from edgekit.checkpoints import Checkpoint
from edgekit.emulate import Emulated
from edgekit.evaluate.accuracy import Accuracy
from edgekit.evaluate.bench_report import BenchReport
from edgekit.evaluate.gate import GateResult
from edgekit.graph import Lowered
from edgekit.labels import Label
from edgekit.quantize import QuantizedGraph, Scheme, for_isa
from edgekit.report.cost import Cost
from edgekit.report.names import network_name
from edgekit.report.quantization import layer_noise, range_histograms
from edgekit.report.record import Ablation, Artifact, BuildRecord, CalibrationFacts, FloatLayers, Parity, Source
from edgekit.steps.judgement import Evidence
from edgekit.steps.models import Models
from edgekit.steps.order import Order
from edgekit.steps.pictures import Pictures
from edgekit.steps.proof import FloatParity

_TOOLS = ("torch", "onnx", "onnx-ir", "onnxscript", "onnxruntime", "ai-edge-litert", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Findings:
    """Everything that a build learned before it publishes: the input of every summary."""

    order: Order
    checkpoint: Checkpoint
    labels: tuple[Label, ...]
    pictures: Pictures
    lowered: Lowered
    quantized: QuantizedGraph | None
    models: Models
    parity: FloatParity
    evidence: Evidence
    accuracy: Accuracy
    gate: GateResult | None
    speed: BenchReport | None
    cost: Cost
    seconds: Mapping[str, float]
    emulated: Emulated | None = None
    kept: FloatLayers | None = None
    ablations: tuple[Ablation, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about the build, one sentence each."""
        return (*self.order.notes, *self.checkpoint.notes, *self.lowered.notes, *self._split())

    def _split(self) -> tuple[str, ...]:
        splits = {} if self.quantized is None else self.quantized.ranges.splits
        return tuple(
            f"{len(order) - max(order) - 1} channels of {layer} are computed again, half a step apart, for finer steps"
            for layer, order in splits.items()
        )


def scheme(order: Order) -> Scheme:
    """The target's quantization settings as the quantizer takes them, safe for the target's instruction set."""
    wanted = order.target.quantization
    asked = Scheme(
        observer=wanted.observer,
        equalize=wanted.equalize,
        split_channels=wanted.split_channels,
        rounding="nearest" if wanted.rounding == "nearest" else "second-moment",
        bias_correction=wanted.bias_correction,
        scale_search=wanted.scale_search,
        keep_float=() if wanted.keep_float == "auto" else wanted.keep_float,
        images=wanted.calibration_images,
    )
    if wanted.reduce_range == "auto":
        return for_isa(asked, machine=order.target.cpu.isa, vnni=order.target.cpu.dot_product)
    return for_isa(asked, machine="x86_64", vnni=False) if wanted.reduce_range else asked


def tools() -> dict[str, str]:
    """Versions of everything that touched a build."""
    found = {"edgekit": __version__, "python": platform.python_version()}
    for name in _TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def architecture(checkpoint: Checkpoint) -> str:
    """The network in a few words, such as ``ShuffleNet V2 x1.0``."""
    return str(checkpoints.describe(checkpoint).get("architecture", "ONNX graph"))


def network(checkpoint: Checkpoint) -> str:
    """The network as published benchmarks spell it, empty where it is none of theirs."""
    spec = checkpoint.architecture
    return "" if spec is None else network_name(spec.version, spec.stage_channels, spec.groups)


def _settings(used: Scheme) -> dict[str, str]:
    """The methods in words, for people; the manifest has them as they are called in a profile."""
    on = {True: "on", False: "off"}
    return {
        "ranges": used.observer,
        "equalization": on[used.equalize],
        "channel splitting": on[used.split_channels],
        "rounding": used.rounding,
        "bias correction": on[used.bias_correction],
        "scale search": on[used.scale_search],
        "weights": f"±{used.weight_limit}",
    }


def source_dict(f: Findings) -> dict[str, Any]:
    """The checkpoint, for the manifest and for JSON."""
    facts = checkpoints.describe(f.checkpoint)
    return {
        "file": f.checkpoint.path.name,
        "sha256": f.checkpoint.sha256,
        "family": f.checkpoint.family,
        "architecture": architecture(f.checkpoint),
        "network": network(f.checkpoint),
        "params": facts.get("params", f.cost.params),
        "macs": facts.get("macs", f.cost.macs),
        "normalization": f.checkpoint.normalization.to_dict(),
    }


def parity_dict(f: Findings) -> dict[str, Any]:
    said: dict[str, Any] = {
        "float": {
            "reference": f.parity.reference,
            "relative_error": f.parity.relative_error,
            "n": f.parity.n,
        }
    }
    if "onnx_tflite" in f.accuracy.agreement:
        said["onnx_tflite"] = {"top1_equal": round(f.accuracy.agreement["onnx_tflite"], 3), "n": f.accuracy.n}
        if own := f.accuracy.outputs.get("onnx_tflite"):
            said["onnx_tflite"] |= {"equal_outputs": round(100 * own.equal / own.total, 3), "largest_step": own.largest}
    return said


def accuracy_dict(f: Findings) -> dict[str, Any]:
    gate = {} if f.gate is None else {"gate": f.gate.to_dict()}
    return {**f.accuracy.to_dict(), "measured_on": f.evidence.said, "labelled": f.evidence.labelled, **gate}


def manifest_notes(f: Findings) -> dict[str, Any]:
    """What else a device or a second build may want to know."""
    settings = {} if f.quantized is None else {"quantization": f.quantized.scheme.to_dict()}
    return {"output": f.lowered.output, "build": list(f.notes), **settings}


def calibration(f: Findings) -> CalibrationFacts:
    """The pictures that were calibrated on, and what is wrong with them."""
    own = f.pictures.chosen
    return CalibrationFacts(
        str(own.source), len(own.entries), own.available, own.sha256, own.warnings, own.classes, own.duplicates,
        len(own.skipped),
    )  # fmt: skip


def record(f: Findings, artifacts: tuple[Artifact, ...]) -> BuildRecord:
    """What report.html and the terminal show."""
    source = source_dict(f)
    parity = [
        Parity(f"float ONNX against {f.parity.reference}", f.parity.n, relative_error=f.parity.relative_error),
    ]
    if "onnx_tflite" in f.accuracy.agreement:
        own = f.accuracy.outputs.get("onnx_tflite")
        parity.append(
            Parity(
                "model.onnx against model.tflite",
                f.accuracy.n,
                f.accuracy.agreement["onnx_tflite"],
                None if own is None else 100 * own.equal / own.total,
                None if own is None else own.largest,
            )
        )
    settings = {} if f.quantized is None else _settings(f.quantized.scheme)
    return BuildRecord(
        source=Source(
            f.checkpoint.path.name,
            f.checkpoint.sha256,
            f.checkpoint.family,
            architecture(f.checkpoint),
            source["params"],
            source["macs"],
        ),
        target=f.order.target,
        precision=f.order.precision,
        labels=tuple(label.name for label in f.labels),
        artifacts=artifacts,
        float_bytes=len(f.models.float_tflite),
        accuracy=f.accuracy,
        data=f.evidence.said,
        gate=f.gate,
        speed=f.speed,
        parity=tuple(parity),
        ops={m.entry.file: m.entry.ops for m in (f.models.onnx, f.models.tflite)},
        cost=f.cost,
        emulated=f.emulated,
        calibration=calibration(f),
        stages=dict(f.seconds),
        notes=f.notes,
        tools=tools(),
        settings=settings,
        layers=() if f.quantized is None else layer_noise(f.quantized),
        histograms=() if f.quantized is None else range_histograms(f.quantized),
        kept_float=f.kept,
        ablations=f.ablations,
    )
