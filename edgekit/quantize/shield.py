"""Keeps ONNX Runtime from quantizing the layers that were kept in float.

Its optimizer (1.20 and later) takes a Conv or Gemm with float weights between a DequantizeLinear and a QuantizeLinear
for an oversight, rounds the weights to nearest and runs it in integers. An operator between the DequantizeLinear and
the layer stops that. Clip to the range that 8 bits can hold changes no value.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgekit.quantize.network import LAYERS


def shield_float_layers(model: ir.Model) -> ir.Model:
    """A copy of a QDQ graph for ONNX Runtime, in which layers kept in float stay in float. The numbers are the same."""
    copy = model.clone()
    graph = copy.graph
    for node in list(graph):
        if node.op_type not in LAYERS or node.inputs[0] is None or node.inputs[1] is None:
            continue
        source = node.inputs[0].producer()
        if node.inputs[1].const_value is None or source is None or source.op_type != "DequantizeLinear":
            continue
        scale, zero_point = (_number(value) for value in source.inputs[1:3])
        name = f"{node.name}.float"
        bounds = [
            _constant(graph, f"{name}.low", (0 - zero_point) * scale),
            _constant(graph, f"{name}.high", (255 - zero_point) * scale),
        ]
        value = node.inputs[0]
        out = ir.Value(name=name, shape=value.shape, type=value.type)
        graph.insert_before(node, ir.node("Clip", [value, *bounds], outputs=[out], name=name))
        node.replace_input_with(0, out)
    return copy


def _number(value: ir.Value | None) -> float:
    return 0.0 if value is None or value.const_value is None else float(value.const_value.numpy())


def _constant(graph: ir.Graph, name: str, number: float) -> ir.Value:
    tensor = ir.tensor(np.array(number, dtype=np.float32), name=name)
    value = ir.Value(name=name, shape=ir.Shape([]), type=ir.TensorType(ir.DataType.FLOAT), const_value=tensor)
    graph.register_initializer(value)
    return value
