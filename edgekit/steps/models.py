"""The model files of a build: bytes in both formats, from one graph and one set of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgekit import emit
from edgekit.bundle import ModelEntry, Quantization
from edgekit.checkpoints import Checkpoint
from edgekit.emit import ModelMeta
from edgekit.graph import Lowered
from edgekit.labels import Label
from edgekit.quantize import Affine, QuantizedGraph, shield_float_layers
from edgekit.steps.order import Order


@dataclass(frozen=True)
class ModelFile:
    """One emitted model: its manifest entry and its content."""

    entry: ModelEntry
    content: bytes = field(repr=False)


@dataclass(frozen=True)
class Models:
    """Everything that a build emits: the two files of the bundle, and the float twins that they are compared with."""

    onnx: ModelFile
    tflite: ModelFile
    float_onnx: bytes = field(repr=False)
    float_tflite: bytes = field(repr=False)

    def write(self, folder: Path) -> dict[str, Path]:
        """Writes them for the engines to open: role (``onnx``, ``tflite``, ``float``, ``float_tflite``) → file."""
        content = {
            "onnx": ("model.onnx", self.onnx.content),
            "tflite": ("model.tflite", self.tflite.content),
            "float": ("float.onnx", self.float_onnx),
            "float_tflite": ("float.tflite", self.float_tflite),
        }
        files = {role: folder / name for role, (name, _) in content.items()}
        for role, path in files.items():
            path.write_bytes(content[role][1])
        return files


def emit_all(
    order: Order, checkpoint: Checkpoint, labels: tuple[Label, ...], lowered: Lowered, quantized: QuantizedGraph | None
) -> Models:
    """Both formats of the ordered precision, and of fp32."""
    meta = describe(order, checkpoint, labels, lowered.output)
    float_onnx, float_tflite = (write(lowered.model, meta, "fp32") for write in (emit.onnx, emit.tflite))
    if order.precision == "fp32":
        files = _entries(float_onnx, float_tflite, "fp32", None)
    else:
        model = lowered.model if quantized is None else quantized.model
        output = None if quantized is None else quantized.output
        # ONNX Runtime would quantize layers that were kept in float by itself.
        shielded = model if quantized is None or not quantized.kept_float else shield_float_layers(model)
        onnx, tflite = emit.onnx(shielded, meta, order.precision), emit.tflite(model, meta, order.precision)
        files = _entries(onnx, tflite, order.precision, output)
    return Models(*files, float_onnx, float_tflite)


def describe(
    order: Order,
    checkpoint: Checkpoint,
    labels: tuple[Label, ...],
    output: str,
    extra: Mapping[str, str] | None = None,
) -> ModelMeta:
    """What every file of a build says about itself."""
    return ModelMeta(
        name="ShuffleNet" if checkpoint.architecture is None else f"ShuffleNet V{checkpoint.architecture.version}",
        description=f"{len(labels)}-way image classifier: uint8 RGB in, {output} out",
        labels=tuple(label.line for label in labels),
        image=checkpoint.image,
        extra={"edgekit.output": output, "edgekit.target": order.target.name, **(extra or {})},
    )


def _entries(
    onnx: bytes, tflite: bytes, precision: emit.Precision, output: Affine | None
) -> tuple[ModelFile, ModelFile]:
    of_onnx = of_tflite = Quantization("float32")
    if output is not None:
        scale, zero = float(np.float32(output.scale)), int(output.zero_point)
        of_onnx, of_tflite = Quantization("uint8", scale, zero), Quantization("int8", scale, zero - 128)
    return (
        ModelFile(ModelEntry("model.onnx", "onnx", precision, of_onnx, ops=emit.census(onnx)), onnx),
        ModelFile(ModelEntry("model.tflite", "tflite", precision, of_tflite, ops=emit.census(tflite)), tflite),
    )


def stages(lowered: Lowered, exported: ir.Model, quantized: QuantizedGraph | None) -> dict[str, tuple[str, bytes]]:
    """The graph between each two stages as ONNX, to open in a viewer: file name → (role, content)."""
    graphs = {"1-float": exported, "2-lowered": lowered.model}
    if quantized is not None:
        graphs["3-quantized"] = quantized.model
    return {
        f"stages/{name}.onnx": ("stage", ir.to_proto(model).SerializeToString(deterministic=True))
        for name, model in graphs.items()
    }
