"""Writes the quantized graph: the float graph with QuantizeLinear and DequantizeLinear where integers begin and end.

Rules:

1. A quantized value ``v`` is followed by ``v.q`` = QuantizeLinear(v), uint8, and ``v.dq`` = DequantizeLinear(v.q);
   integer nodes read ``v.dq``. Tied values name the same scale and zero-point initializers, so that runtimes see one.
2. The pixels' Cast becomes a DequantizeLinear of scale 1 and zero point 0. A border constant becomes uint8 likewise.
3. An integer layer's weight is an int8 initializer ``….quantized`` through a DequantizeLinear on axis 0, its bias
   an int32 one whose scale is input scale × weight scale.
4. Nothing lies between a layer (or Add) and the activation fused into it.
5. A node kept in float reads float values: its inputs' producers' own output where that is float too, else their
   ``.dq``; its weights stay as they are, and its bias may make up for the integers before it. Its output is quantized
   only for consumers that are not.
6. The graph's output is the last ``.q``, renamed to the float graph's output name; float32 if its layer is kept float.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.quantize.affine import Affine
from edgekit.quantize.network import LAYERS, Network, Op, name_of
from edgekit.quantize.points import Points
from edgekit.quantize.weights import LayerIntegers

_OPSET = 18


class _Writer:
    def __init__(self, network: Network, points: Points, affine: Mapping[str, Affine]) -> None:
        self.network = network
        self.points = points
        self.affine = affine
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self.values: dict[str, ir.Value] = {}

    def constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        if name not in self.initializers:
            tensor = ir.tensor(np.asarray(array, order="C"), name=name)
            self.initializers[name] = ir.Value(
                name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
        return self.initializers[name]

    def add(
        self,
        op_type: str,
        inputs: list[ir.Value],
        name: str,
        dtype: ir.DataType,
        shape: ir.Shape | None,
        attributes: Mapping[str, object] | None = None,
        node_name: str | None = None,
    ) -> ir.Value:
        value = ir.Value(name=name, shape=shape, type=ir.TensorType(dtype))
        self.nodes.append(
            ir.node(op_type, inputs, dict(attributes or {}), outputs=[value], name=node_name or name)  # type: ignore[arg-type]
        )
        return value

    def scale_and_zero(self, group: str) -> list[ir.Value]:
        affine = self.affine[group]
        return [
            self.constant(f"{group}.scale", np.array(affine.scale, np.float32)),
            self.constant(f"{group}.zero_point", np.array(affine.zero_point, np.uint8)),
        ]

    def dequantized(self, name: str, array: NDArray[np.generic], scale: NDArray[np.float32]) -> ir.Value:
        """An integer initializer through a per-channel DequantizeLinear (rule 3)."""
        integers = self.constant(f"{name}.quantized", array)
        parameters = [
            self.constant(f"{name}.scale", scale),
            self.constant(f"{name}.zero_point", np.zeros(len(scale), array.dtype)),
        ]
        return self.add(
            "DequantizeLinear", [integers, *parameters], f"{name}.dq", ir.DataType.FLOAT, integers.shape, {"axis": 0}
        )

    def quantize(self, value: ir.Value) -> None:
        """Rule 1: ``v.q`` and ``v.dq`` after ``value``."""
        name = name_of(value)
        parameters = self.scale_and_zero(self.points.group[name])
        q = self.add("QuantizeLinear", [value, *parameters], f"{name}.q", ir.DataType.UINT8, value.shape)
        dq = self.add("DequantizeLinear", [q, *parameters], f"{name}.dq", ir.DataType.FLOAT, value.shape)
        self.values[f"{name}.q"], self.values[f"{name}.dq"] = q, dq

    def read(self, name: str, integer: bool) -> ir.Value:
        """The value that a node reads under the name ``name`` (rules 1 and 5)."""
        producer = self.network.producer.get(name)
        float_made = producer is not None and producer.name in self.points.float_ops
        if f"{name}.dq" in self.values and (integer or not float_made):
            return self.values[f"{name}.dq"]
        return self.values[name]

    def border(self, name: str, array: NDArray[np.generic], group: str) -> ir.Value:
        """A constant that is concatenated to an activation, in the activation's own integers (rule 2)."""
        integers = self.constant(f"{name}.quantized", self.affine[group].quantize(array))
        return self.add(
            "DequantizeLinear",
            [integers, *self.scale_and_zero(group)],
            f"{name}.dq",
            ir.DataType.FLOAT,
            integers.shape,
        )


def write(
    model: ir.Model,
    network: Network,
    points: Points,
    affine: Mapping[str, Affine],
    layers: Mapping[str, LayerIntegers],
    float_biases: Mapping[str, NDArray[np.float32]] | None = None,
) -> ir.Model:
    """The QDQ graph.

    Args:
        model: the lowered float graph that ``network`` was read from; not modified.
        points: where the integers are.
        affine: representative of each tied group → its quantization.
        layers: name of each integer layer → its integers.
        float_biases: name of a layer kept in float → its bias ``[O]``, where that is not the network's own.
    """
    writer = _Writer(network, points, affine)
    original = {value.name: value for node in model.graph for value in node.outputs}
    source = model.graph.inputs[0]
    image = ir.Value(name=source.name, shape=source.shape, type=ir.TensorType(ir.DataType.UINT8))
    writer.values[network.input] = image
    attributes = {node.outputs[0].name: dict(node.attributes) for node in model.graph}
    for op in network.ops:
        _write_op(writer, op, original, attributes[op.output], layers, float_biases or {})
    output = _output(writer, network)
    graph = ir.Graph(
        [image],
        [output],
        nodes=writer.nodes,
        initializers=list(writer.initializers.values()),
        opset_imports={"": max(_OPSET, model.graph.opset_imports.get("", _OPSET))},
        name=model.graph.name,
    )
    return ir.Model(graph, ir_version=max(model.ir_version, 8), producer_name="edgekit")


def _write_op(
    writer: _Writer,
    op: Op,
    original: Mapping[str | None, ir.Value],
    attributes: Mapping[str, object],
    layers: Mapping[str, LayerIntegers],
    float_biases: Mapping[str, NDArray[np.float32]],
) -> None:
    points = writer.points
    shape = original[op.output].shape
    integer = op.name not in points.float_ops
    if op.kind == "Transpose":
        value = writer.values[op.inputs[0]]
        writer.values[op.output] = writer.add(
            "Transpose", [value], op.output, ir.DataType.UINT8, shape, attributes, op.name
        )
        return
    if op.kind == "Cast":
        pixels = [writer.values[op.inputs[0]], *writer.scale_and_zero(points.group[op.output])]
        value = writer.add("DequantizeLinear", pixels, op.output, ir.DataType.FLOAT, shape, None, op.name)
        writer.values[op.output] = value
        return
    inputs: list[ir.Value] = []
    for operand in op.operands:
        if operand not in op.constants:
            inputs.append(writer.read(operand, integer))
        elif operand.startswith("border"):
            group = points.group[op.output]
            inputs.append(writer.border(f"{op.output}.{operand}", op.constants[operand], group))
        elif op.kind in LAYERS and integer:
            inputs.append(_parameter(writer, op, operand, layers[op.name]))
        elif operand == "bias" and op.name in float_biases:
            inputs.append(writer.constant(f"{op.output}.bias", float_biases[op.name]))
        else:
            inputs.append(writer.constant(f"{op.output}.{operand}", op.constants[operand]))
    values = [
        ir.Value(name=name, shape=original[name].shape, type=ir.TensorType(ir.DataType.FLOAT)) for name in op.outputs
    ]
    writer.nodes.append(ir.node(op.kind, inputs, dict(attributes), outputs=values, name=op.name))  # type: ignore[arg-type]
    for value in values:
        writer.values[name_of(value)] = value
        if value.name in points.group:
            writer.quantize(value)


def _parameter(writer: _Writer, op: Op, role: str, integers: LayerIntegers) -> ir.Value:
    group = writer.points.group[op.inputs[0]]
    if role == "weight":
        return writer.dequantized(f"{op.name}.weight", integers.weight, integers.scale)
    unit = (np.float32(writer.affine[group].scale) * integers.scale).astype(np.float32)
    return writer.dequantized(f"{op.name}.bias", integers.bias, unit)


def _output(writer: _Writer, network: Network) -> ir.Value:
    """Rule 6."""
    name = network.output
    if f"{name}.q" not in writer.values:
        return writer.values[name]
    q, dq = writer.values[f"{name}.q"], writer.values[f"{name}.dq"]
    node = dq.producer()
    if node is not None and not dq.uses():
        writer.nodes.remove(node)
        for index in range(len(node.inputs)):
            node.replace_input_with(index, None)
    writer.values[name].name = f"{name}.float"
    q.name = name
    return q
