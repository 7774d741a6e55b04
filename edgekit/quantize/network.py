"""The lowered float graph as plain frozen values: what every part of the quantizer reads.

An ``onnx_ir`` graph is made to be rewritten; the quantizer only reads one, many times over. :func:`read` turns it
into a tuple of :class:`Op` in execution order, with weights as NumPy arrays, and refuses whatever is not in the
vocabulary of the lowered graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import GraphError

Array = NDArray[np.float32]

LAYERS = frozenset({"Conv", "Gemm"})
ACTIVATIONS = frozenset({"Relu", "Clip"})
# Value in, value out, the same numbers in other places (or a maximum or mean of them): LiteRT demands one scale.
SAME_SCALE = frozenset({"Concat", "Split", "MaxPool", "AveragePool", "Flatten", "Expand"})
VOCABULARY = (
    LAYERS
    | ACTIVATIONS
    | SAME_SCALE
    | {"Transpose", "Cast", "HardSwish", "Sigmoid", "Mul", "Add", "GlobalAveragePool", "Softmax"}
)
# Nodes that only compute the batch size for an Expand: no activation passes through them.
_BATCH_SIZE = frozenset({"Shape", "Gather", "Slice", "Unsqueeze", "Constant"})


@dataclass(frozen=True, eq=False)
class Op:
    """One node: ``inputs`` and ``outputs`` are names of activations, ``constants`` its other inputs by role.

    Roles: ``weight`` [O, I/g, kh, kw] or [O, I], ``bias`` [O], ``split`` (sizes), ``min``/``max`` (scalars) and
    ``border<i>`` for a constant that is the i-th input of a Concat or the input of an Expand, float32 [1, C, h, w].
    A Cast of pixels may have ``gray`` (scalar, 0-255): what it takes off them, which is their zero point.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    constants: Mapping[str, NDArray[np.generic]]
    # The inputs in their order: activation names, or the role of a constant.
    operands: tuple[str, ...]

    @property
    def output(self) -> str:
        return self.outputs[0]

    @property
    def weight(self) -> Array:
        return np.asarray(self.constants["weight"], dtype=np.float32)

    @property
    def bias(self) -> Array:
        return np.asarray(self.constants["bias"], dtype=np.float32)

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """The integer list attribute ``name``."""
        return tuple(self.attributes.get(name, default))

    def integer(self, name: str, default: int) -> int:
        """The integer attribute ``name``."""
        return int(self.attributes.get(name, default))

    @property
    def group(self) -> int:
        return self.integer("group", 1)

    @property
    def gray(self) -> int:
        """What a Cast takes off the pixels: their zero point."""
        return int(self.constants.get("gray", 0))

    @property
    def depthwise(self) -> bool:
        """Whether every input channel makes exactly one output channel."""
        return self.kind == "Conv" and self.group > 1 and self.constants["weight"].shape[:2] == (self.group, 1)


@dataclass(frozen=True, eq=False)
class Network:
    """A lowered graph. ``channels`` gives axis 1 of every activation; ``elements`` its size for one image."""

    ops: tuple[Op, ...]
    input: str
    output: str
    channels: Mapping[str, int]
    elements: Mapping[str, int]

    @cached_property
    def producer(self) -> Mapping[str, Op]:
        return {name: op for op in self.ops for name in op.outputs}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Op, ...]]:
        found: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                found.setdefault(name, []).append(op)
        return {name: tuple(ops) for name, ops in found.items()}

    @cached_property
    def layers(self) -> tuple[Op, ...]:
        """The nodes that hold weights, in execution order."""
        return tuple(op for op in self.ops if op.kind in LAYERS)

    @cached_property
    def fused(self) -> Mapping[str, Op]:
        """Values that never exist as integers: a layer's or an Add's result → the activation that follows it."""
        found = {}
        for op in self.ops:
            if op.kind in LAYERS or op.kind == "Add":
                users = self.consumers.get(op.output, ())
                if len(users) == 1 and users[0].kind in ACTIVATIONS and op.output != self.output:
                    found[op.output] = users[0]
        return found

    @cached_property
    def evidence(self) -> frozenset[str]:
        """Values that global pooling has gone into: what is known about the whole picture, down to the scores."""
        found: set[str] = set()
        for op in self.ops:
            if op.kind == "GlobalAveragePool" or found.intersection(op.inputs):
                found.update(op.outputs)
        return frozenset(found)

    def hushed_by(self, name: str) -> str | None:
        """The other operand, where ``name`` is read by one Add with a ReLU alone.

        What of ``name`` lies below minus that operand is not heard: the ReLU makes zero of the sum.
        """
        users = self.consumers.get(name, ())
        if len(users) != 1 or users[0].kind != "Add" or users[0].output not in self.fused:
            return None
        others = [one for one in users[0].inputs if one != name]
        return others[0] if self.fused[users[0].output].kind == "Relu" and len(others) == 1 else None

    def result(self, op: Op) -> str:
        """The value that ``op`` writes as integers: its own output, or that of the activation fused into it."""
        activation = self.fused.get(op.output)
        return activation.output if activation else op.output

    @cached_property
    def pixels(self) -> frozenset[str]:
        """Values that still are the image's own pixels, 0–255 (with or without a border)."""
        found = {self.input}
        for op in self.ops:
            moves = op.kind in {"Transpose", "Cast", "Concat"} and op.inputs and set(op.inputs) <= found
            if moves or op.kind == "Expand":
                found.update(op.outputs)
        return frozenset(found)


def read(model: ir.Model) -> Network:
    """Reads a lowered graph.

    Raises:
        GraphError: an operator outside the vocabulary, a missing bias, or a value without a static shape.
    """
    graph = model.graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise GraphError(
            f"the graph has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; one of each can be quantized"
        )
    ops: list[Op] = []
    for node in graph:
        if node.op_type in _BATCH_SIZE:
            continue
        if node.op_type == "Sub":
            ops.append(_center(node, ops))
            continue
        if node.op_type not in VOCABULARY or node.domain not in ("", "ai.onnx"):
            raise GraphError(
                f"node {node.name!r}: operator {node.op_type} cannot be quantized",
                hint="build with --precision fp32, or export the network from its training framework again",
            )
        ops.append(_op(node))
    channels, elements = {}, {}
    node_outputs = {value.name: value for node in graph for value in node.outputs}
    for op in ops:
        for name in op.outputs:
            shape = node_outputs[name].shape
            if shape is None or any(not isinstance(d, int) for d in shape.dims[1:]):
                raise GraphError(f"value {name!r} of node {op.name!r} has no static shape: {shape}")
            dims = [int(d) for d in shape.dims[1:] if isinstance(d, int)]
            channels[name] = dims[0] if dims else 1
            elements[name] = int(np.prod(dims, dtype=np.int64))
    (source,), (result,) = graph.inputs, graph.outputs
    ops = [_onto_gray(op, ops) for op in ops]
    return Network(tuple(ops), name_of(source), name_of(result), channels, elements)


def _center(node: ir.Node, ops: list[Op]) -> Op:
    """The Sub of the mean colour, together with the Cast before it (taken off ``ops``), as one Cast onto gray.

    An integer kernel pads with its input's zero point, of which there is one for all channels. So the pixels' zero
    point is the gray nearest to the mean colour, and what the colour differs from it goes into the next biases. That is
    exact but for the padding, which is gray instead of the mean colour: 53 dB at the logits of V2 x1.0.
    """
    colour = None if len(node.inputs) != 2 or node.inputs[1] is None else _constant(node.inputs[1])
    if colour is None or not ops or ops[-1].kind != "Cast" or node.inputs[0] is None:
        raise GraphError(f"node {node.name!r}: only the mean colour may be subtracted, from the pixels")
    cast = ops.pop()
    colour = np.asarray(colour, dtype=np.float64).reshape(-1)
    gray = float(np.clip(np.rint(colour.mean()), 0, 255))
    return replace(
        cast,
        name=node.name or cast.name,
        outputs=(name_of(node.outputs[0]),),
        constants={"gray": np.array(gray), "colour": colour - gray},
    )


def _onto_gray(op: Op, ops: list[Op]) -> Op:
    """``op`` with the mean colour's difference from gray in its bias, if it reads the pixels."""
    for cast in ops:
        if cast.kind == "Cast" and "colour" in cast.constants and cast.output in op.inputs:
            if op.kind != "Conv":
                raise GraphError(f"node {op.name!r}: only a convolution may read centered pixels")
            shift = np.einsum("oikl,i->o", op.weight.astype(np.float64), cast.constants["colour"].astype(np.float64))
            bias = (op.bias.astype(np.float64) - shift).astype(np.float32)
            return replace(op, constants={**op.constants, "bias": bias})
    return op


def name_of(value: ir.Value) -> str:
    """The name of a value.

    Raises:
        GraphError: it has none.
    """
    if not value.name:
        raise GraphError("a value of the graph has no name")
    return value.name


def _op(node: ir.Node) -> Op:
    attributes: dict[str, Any] = {}
    for key, attribute in node.attributes.items():
        value = attribute.value if isinstance(attribute, ir.Attr) else None
        attributes[key] = tuple(value) if isinstance(value, list | tuple) else value
    inputs: list[str] = []
    operands: list[str] = []
    constants: dict[str, NDArray[np.generic]] = {}
    for index, value in enumerate(node.inputs):
        if value is None or (node.op_type == "Expand" and index == 1):
            continue
        array = _constant(value)
        if array is None:
            inputs.append(name_of(value))
            operands.append(name_of(value))
        else:
            role = _role(node.op_type, index)
            constants[role] = array
            operands.append(role)
    if node.op_type in LAYERS and not {"weight", "bias"} <= set(constants):
        raise GraphError(f"layer {node.name!r} needs a constant weight and bias to be quantized")
    if node.op_type == "Gemm" and (attributes.get("transB", 0) != 1 or attributes.get("transA", 0) != 0):
        raise GraphError(f"layer {node.name!r} must be a Gemm with transA=0 and transB=1")
    names = tuple(name_of(value) for value in node.outputs)
    name = node.name or (names[0] if names else node.op_type)
    return Op(name, node.op_type, tuple(inputs), names, attributes, constants, tuple(operands))


def _role(op_type: str, index: int) -> str:
    if op_type in LAYERS:
        return ("input", "weight", "bias")[index]
    if op_type == "Clip":
        return ("input", "min", "max")[index]
    if op_type == "Split":
        return ("input", "split")[index]
    return f"border{index}"


def _constant(value: ir.Value) -> NDArray[np.generic] | None:
    if value.const_value is not None:
        return np.asarray(value.const_value.numpy())
    producer = value.producer()
    if producer is not None and producer.op_type == "Constant":
        attribute = producer.attributes.get("value")
        if isinstance(attribute, ir.Attr) and attribute.type == ir.AttributeType.TENSOR:
            return np.asarray(attribute.as_tensor().numpy())
    return None
