"""A lowered or quantized graph as the bytes of one TFLite file."""

from __future__ import annotations

import onnx_ir as ir

from edgekit.emit.flatbuffer import ModelBuilder
from edgekit.emit.meta import PRODUCER, ModelMeta, Precision
from edgekit.emit.reading import output_quantization
from edgekit.emit.tflite_metadata import attach
from edgekit.emit.translate import Translator
from edgekit.emit.values import OFFSET, Tuning

# XNNPACK's delegate computes in half precision, where the core can, in files that carry this entry.
HALF_ENTRY = ("reduced_precision_support", b"fp16accfp16")
_RELEASE_BYTES = 16


def write(model: ir.Model, meta: ModelMeta, precision: Precision, tuning: Tuning | None = None) -> bytes:
    """See :func:`edgekit.emit.tflite`."""
    builder = ModelBuilder(f"{PRODUCER}: {meta.name}, {precision}")
    translator = Translator(builder, precision == "fp16", tuning or Tuning())
    source, result = translator.run(model.graph)
    builder.graph.tensors[result.index].name = str(model.graph.outputs[0].name)
    release = ".".join(str(part) for part in builder.release).encode()
    builder.metadata("min_runtime_version", release.ljust(_RELEASE_BYTES, b"\0"))
    if precision == "fp16":
        builder.metadata(*HALF_ENTRY)
    scores = output_quantization(model.graph)
    properties = meta.properties(precision, None if scores is None else scores.shifted(-OFFSET))
    return attach(
        builder,
        meta,
        properties,
        inputs={str(model.graph.inputs[0].name): source.index},
        outputs={str(model.graph.outputs[0].name): result.index},
    )
