"""Reads and replaces the constants of a layer in an ONNX graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import GraphError

WEIGHT, BIAS = 1, 2


def constant(node: ir.Node, index: int) -> NDArray[np.float64]:
    """The graph's own constant: what :mod:`network` read of a bias may hold a part of the pixels' mean colour.

    Raises:
        GraphError: the input is not a constant.
    """
    value = node.inputs[index]
    if value is None or value.const_value is None:
        raise GraphError(f"layer {node.name!r} needs a constant weight and bias to be rewritten")
    return np.asarray(value.const_value.numpy(), dtype=np.float64)


def replace_constant(graph: ir.Graph, node: ir.Node, index: int, array: NDArray[np.float64]) -> None:
    """Gives ``node`` another constant, one of its own where others read the same."""
    old = node.inputs[index]
    if old is not None and len(old.uses()) == 1:
        old.const_value = ir.tensor(array.astype(np.float32), name=old.name)
        old.shape = ir.Shape(array.shape)
        return
    name = f"{node.name}.{('input', 'weight', 'bias')[index]}.own"
    tensor = ir.tensor(array.astype(np.float32), name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(ir.DataType.FLOAT), const_value=tensor)
    graph.register_initializer(value)
    node.replace_input_with(index, value)
