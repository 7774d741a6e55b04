"""Makes sure that every value of an ONNX graph has a shape, without touching the caller's graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.errors import GraphError

if TYPE_CHECKING:
    import onnx_ir as ir


def with_shapes(model: ir.Model) -> ir.Model:
    """``model`` itself where every value of its main graph has a shape, else a copy with shapes inferred by onnx.

    Raises:
        GraphError: onnx cannot infer them.
    """
    if all(value.shape is not None for node in model.graph for value in node.outputs):
        return model
    import onnx
    import onnx_ir

    try:
        return onnx_ir.from_proto(onnx.shape_inference.infer_shapes(onnx_ir.to_proto(model), data_prop=True))
    except Exception as error:  # onnx raises RuntimeError, InferenceError or a protobuf error
        raise GraphError(f"the shapes inside this graph cannot be inferred: {error}") from error
