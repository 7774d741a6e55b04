"""One file out: a table of ranges, or one model, without building a bundle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit import emit, graph, quantize
from edgekit.checkpoints import Checkpoint
from edgekit.errors import UsageError
from edgekit.files import write_whole
from edgekit.graph import Lowered
from edgekit.labels import Label
from edgekit.quantize import Ranges
from edgekit.steps import models, source, summary
from edgekit.steps.order import Order
from edgekit.steps.pictures import read_pictures
from edgekit.steps.watch import Listener, Watch


@dataclass(frozen=True, slots=True)
class Written:
    """One file that was written, and what is in it."""

    path: Path
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"path": str(self.path), **self.facts}

    def text(self) -> str:
        return "\n".join([f"{self.path}:", *(f"  {key}: {value}" for key, value in self.facts.items())])


def calibrate(order: Order, output: Path, listener: Listener | None = None) -> Written:
    """Measures the ranges of a checkpoint's activations and writes them as JSON.

    Raises:
        InputError: the checkpoint or the pictures cannot be used.
        StorageError: the file cannot be written.
    """
    watch = Watch(listener)
    order = replace(order, precision="int8")
    with watch.stage("read checkpoint"):
        checkpoint = source.read_checkpoint(order)
        labels = source.read_class_labels(order, checkpoint)
    with watch.stage("read pictures") as progress:
        pictures = read_pictures(order, checkpoint.image, labels, progress)
    with watch.stage("lower"):
        lowered = graph.lower(graph.export(checkpoint), checkpoint.normalization, checkpoint.image)
    with watch.stage("calibrate") as progress:
        ranges = quantize.calibrate(lowered.model, pictures.pixels, summary.scheme(order), progress=progress)
    write_whole(output, ranges.to_json().encode())
    facts = {
        "checkpoint": checkpoint.path.name,
        "tensors": len(ranges.tensors),
        "images": len(pictures.pixels),
        "warnings": list(pictures.chosen.warnings),
    }
    return Written(output, facts)


def convert(
    order: Order, output: Path, *, format: str, pixels: bool = True, listener: Listener | None = None
) -> Written:
    """Writes one model file of the order's precision.

    Args:
        format: ``onnx`` or ``tflite``.
        pixels: uint8 RGB in; otherwise the source framework's own normalized float input, NCHW in ONNX and NHWC in
            TFLite.

    Raises:
        InputError: the checkpoint or the pictures cannot be used.
        StorageError: the file cannot be written.
    """
    if order.precision == "int8" and not pixels:
        raise UsageError("--input float has no int8 model: its first convolution takes pixels", hint="--input uint8")
    watch = Watch(listener)
    with watch.stage("read checkpoint"):
        checkpoint = source.read_checkpoint(order)
        labels = source.read_class_labels(order, checkpoint)
    with watch.stage("lower"):
        normalization = checkpoint.normalization if pixels else None
        softmax = order.target.quantization.softmax if pixels else "keep"
        lowered = graph.lower(graph.export(checkpoint), normalization, checkpoint.image, softmax=softmax)
    quantized, facts = _of_precision(order, checkpoint, labels, lowered, watch)
    model = lowered.model if quantized is None else quantized.model
    if format == "onnx" and quantized is not None and quantized.kept_float:
        # ONNX Runtime would quantize layers that were kept in float by itself.
        model = quantize.shield_float_layers(model)
    extra = {} if pixels else {"edgekit.normalization": str(checkpoint.normalization.to_dict())}
    meta = models.describe(order, checkpoint, labels, lowered.output, extra)
    if not pixels:
        meta = replace(meta, normalization=checkpoint.normalization)
    with watch.stage("emit"):
        content = (emit.onnx if format == "onnx" else emit.tflite)(model, meta, order.precision)
        write_whole(output, content)
    return Written(
        output,
        {"format": format, "precision": order.precision, "bytes": len(content), "ops": emit.census(content), **facts},
    )


def _of_precision(
    order: Order, checkpoint: Checkpoint, labels: tuple[Label, ...], lowered: Lowered, watch: Watch
) -> tuple[quantize.QuantizedGraph | None, dict[str, Any]]:
    if order.precision != "int8":
        return None, {"notes": list(lowered.notes)}
    with watch.stage("read pictures") as progress:
        pictures = read_pictures(order, checkpoint.image, labels, progress)
    scheme = summary.scheme(order)
    with watch.stage("calibrate") as progress:
        ranges = ranges_of(order, lowered, pictures.pixels, scheme, progress)
    with watch.stage("quantize") as progress:
        quantized = quantize.quantize(lowered.model, ranges, scheme, pictures.pixels, progress=progress)
    notes = list(lowered.notes)
    if order.target.quantization.keep_float == "auto":
        notes.append("keep_float: auto needs a gate to meet, which only `edgekit build` judges: all layers are int8")
    return quantized, {"images": len(pictures.pixels), "notes": notes}


def ranges_of(order: Order, lowered: Lowered, pixels: Any, scheme: quantize.Scheme, progress: Any) -> Ranges:
    """The table that the order names, else a new measurement."""
    if order.ranges is not None:
        return Ranges.load(order.ranges)
    return quantize.calibrate(lowered.model, pixels, scheme, progress=progress)
