"""A lowered or quantized graph as the bytes of one ONNX file."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgekit import __version__
from edgekit.emit.meta import PRODUCER, ModelMeta, Precision
from edgekit.emit.reading import array, output_quantization
from edgekit.graph.batch import dynamic_batch

# ONNX IR version 10 and opset 18 are read by every ONNX Runtime since 1.18.
_IR_VERSION = 10


def write(model: ir.Model, meta: ModelMeta, precision: Precision) -> bytes:
    """See :func:`edgekit.emit.onnx`."""
    properties = meta.properties(precision, output_quantization(model.graph))
    model = dynamic_batch(model)
    if precision == "fp16":
        _store_half(model.graph)
    _drop_unused(model.graph)
    model.producer_name, model.producer_version = PRODUCER, __version__
    model.ir_version = _IR_VERSION
    model.doc_string = meta.description
    model.metadata_props.clear()
    model.metadata_props.update(properties)
    # Every shape but the input's and the output's can be inferred, and readers do.
    return bytes(ir.to_proto(model).SerializeToString(deterministic=True))


def _store_half(graph: ir.Graph) -> None:
    """Weights as float16 with a Cast to float32 behind, which runtimes fold when they load the file.

    ONNX Runtime has half-precision kernels on few cores only; elsewhere a half graph is float32 with a Cast around
    every operator. Storing in half and computing in single costs nothing anywhere and halves the file.
    """
    for value in list(graph.initializers.values()):
        data = array(value)
        if data is None or data.dtype != np.float32 or data.ndim < 2:
            continue
        name = str(value.name)
        half = ir.Value(
            name=f"{name}_half",
            shape=ir.Shape(data.shape),
            type=ir.TensorType(ir.DataType.FLOAT16),
            const_value=ir.tensor(data.astype(np.float16), name=f"{name}_half"),
        )
        whole = ir.Value(name=f"{name}_single", shape=ir.Shape(data.shape), type=ir.TensorType(ir.DataType.FLOAT))
        cast = ir.Node(
            "",
            "Cast",
            [half],
            {"to": ir.AttrInt64("to", int(ir.DataType.FLOAT))},
            outputs=[whole],
            name=f"{name}_widen",
        )
        value.replace_all_uses_with(whole)
        graph.initializers.pop(name)
        graph.register_initializer(half)
        graph.insert_before(graph[0], cast)


def _drop_unused(graph: ir.Graph) -> None:
    for name in [n for n, v in graph.initializers.items() if not list(v.uses())]:
        del graph.initializers[name]
