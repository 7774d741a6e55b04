"""Rewrites an ONNX model of any opset, 1 to 24, to opset 18.

onnx's own version converter starts where shapes are already known; the model zoo's ShuffleNets start at 3 without.
Each rule below states what an operator's older form meant (onnx/docs/Changelog.md) in its form of opset 18. What a
plain convolutional classifier does not use is left as it is, for onnx's checker to judge.

Above 18 the forms that matter here differ only in attributes that allow more; their neutral values are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekit.errors import CheckpointError

OPSET = 18
NEWEST = 24

Rule = Callable[[NodeProto, "Upgrade"], Sequence[NodeProto]]


class Upgrade:
    """One model's rewrite: its old opset, its constants, and the ranks of its tensors as far as they follow."""

    def __init__(self, model: ModelProto, opset: int) -> None:
        self.graph, self.opset = model.graph, opset
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.used = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
        self.names = set(self.constants) | self.used | {name for node in model.graph.node for name in node.output}
        self.ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
        for value in model.graph.input:
            self.ranks.setdefault(value.name, len(value.type.tensor_type.shape.dim))

    def name(self, wanted: str) -> str:
        """A name that no tensor has yet."""
        name, number = wanted, 1
        while name in self.names:
            name, number = f"{wanted}_{number}", number + 1
        self.names.add(name)
        return name

    def constant(self, values: Any, dtype: Any, near: str) -> str:
        """A new initializer, named after the node it serves."""
        name = self.name(near)
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        self.ranks[name] = np.asarray(values).ndim
        return name

    def array(self, name: str) -> NDArray[Any] | None:
        found = self.constants.get(name)
        return None if found is None else numpy_helper.to_array(found)


def upgrade(model: ModelProto) -> ModelProto:
    """The same network at opset 18.

    Args:
        model: any opset from 1 to 24, checked for sizes before; it is left as it was.

    Raises:
        CheckpointError: a training graph, or an operator whose old meaning has no place in opset 18.
    """
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    if not 1 <= opset <= NEWEST:
        raise CheckpointError(f"opset {opset} is not known here", hint=f"export it again with opset {OPSET}")
    made = ModelProto()
    made.CopyFrom(model)
    context = Upgrade(made, opset)
    nodes: list[NodeProto] = []
    for node in made.graph.node:
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        _drop(node, "consumed_inputs")
        replacement = rule(node, context) if rule else [node]
        for new in replacement:
            _follow_rank(new, context)
        nodes.extend(replacement)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    others = [entry for entry in model.opset_import if entry.domain not in ("", "ai.onnx")]
    del made.opset_import[:]
    made.opset_import.extend([helper.make_opsetid("", OPSET), *others])
    # From version 4 on an initializer need not be an input as well, and at 8 opset 18 was current.
    made.ir_version = max(8, min(model.ir_version, onnx.IR_VERSION))
    return made


# -- attributes --------------------------------------------------------------------------------------------------------


def _get(node: NodeProto, name: str, default: Any = None) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            value = helper.get_attribute_value(attribute)
            return value.decode() if isinstance(value, bytes) else value
    return default


def _drop(node: NodeProto, *names: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)


def _set(node: NodeProto, name: str, value: Any) -> None:
    _drop(node, name)
    node.attribute.append(helper.make_attribute(name, value))


def _call(node: NodeProto) -> str:
    return f"{node.op_type} {node.name or node.output[0]!r}"


def _as_inputs(node: NodeProto, context: Upgrade, values: Sequence[tuple[str, Any]]) -> None:
    """Gives a node the constants as inputs behind its first; an entry of None is an input left out."""
    names = [
        "" if value is None else context.constant(value, np.int64, f"{node.output[0]}_{name}") for name, value in values
    ]
    while names and not names[-1]:
        names.pop()
    del node.input[1:]
    node.input.extend(names)


def _follow_rank(node: NodeProto, context: Upgrade) -> None:
    ranks = [context.ranks[name] for name in node.input if name in context.ranks]
    rank = max(ranks[:2], default=None)
    if node.op_type == "Reshape":
        shape = context.array(node.input[1]) if len(node.input) > 1 else None
        if shape is None:
            found = [tensor for tensor in context.graph.initializer if tensor.name == node.input[1]]
            shape = numpy_helper.to_array(found[0]) if found else None
        rank = None if shape is None else len(shape)
    elif node.op_type in ("Flatten", "Gemm"):
        rank = 2
    elif node.op_type == "Constant":
        value = _get(node, "value")
        rank = len(value.dims) if isinstance(value, TensorProto) else None
    elif node.op_type in ("Squeeze", "Unsqueeze", "Shape", "Gather", "MatMul"):
        rank = None
    elif ranks:
        rank = ranks[0] if node.op_type not in ("Add", "Sub", "Mul", "Div") else rank
    if rank is not None:
        context.ranks.update(dict.fromkeys(node.output, rank))


# -- rules -------------------------------------------------------------------------------------------------------------


def _broadcast(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 7 the second operand was aligned at ``axis`` and only with ``broadcast=1``; since then at the end."""
    axis = _get(node, "axis")
    _drop(node, "axis", "broadcast")
    if context.opset >= 7 or axis is None:
        return [node]
    left, right = context.ranks.get(node.input[0]), context.ranks.get(node.input[1])
    if left is None or right is None:
        raise CheckpointError(f"{_call(node)} of opset {context.opset} aligns tensors of unknown rank")
    trailing = left - axis % left - right
    if trailing <= 0:
        return [node]
    aligned = context.name(f"{node.input[1]}_aligned")
    axes = context.constant(list(range(right, right + trailing)), np.int64, f"{aligned}_axes")
    before = helper.make_node("Unsqueeze", [node.input[1], axes], [aligned])
    node.input[1] = aligned
    return [before, node]


def _batch_norm(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """``is_test`` and ``spatial`` are gone; the statistics' outputs exist in training only."""
    if _get(node, "training_mode", 0) or any(name in context.used for name in node.output[1:] if name):
        raise CheckpointError(f"{_call(node)} is in training mode", hint="export the network in evaluation mode")
    if not _get(node, "spatial", 1):
        raise CheckpointError(f"{_call(node)} normalizes each pixel on its own (spatial=0), which is not supported")
    _drop(node, "is_test", "spatial", "momentum", "training_mode")
    del node.output[1:]
    return [node]


def _dropout(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Does nothing at inference, whatever its form."""
    if any(name in context.used for name in node.output[1:] if name):
        raise CheckpointError(f"{_call(node)}: its mask is used, so this is a training graph")
    return [helper.make_node("Identity", [node.input[0]], [node.output[0]], name=node.name)]


def _sum(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """A chain of Add, two operands at a time."""
    if len(node.input) == 1:
        return [helper.make_node("Identity", list(node.input), list(node.output), name=node.name)]
    nodes, total = [], node.input[0]
    for index, operand in enumerate(node.input[1:], start=2):
        output = node.output[0] if index == len(node.input) else context.name(f"{node.output[0]}_{index}")
        nodes.append(helper.make_node("Add", [total, operand], [output], name=node.name if index == 2 else ""))
        total = output
    return nodes


def _reshape(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 5 the shape was an attribute."""
    if len(node.input) == 1:
        _as_inputs(node, context, [("shape", _get(node, "shape", []))])
        _drop(node, "shape")
    return [node]


def _axes_input(since: int) -> Rule:
    """``axes`` was an attribute before opset ``since``."""

    def rule(node: NodeProto, context: Upgrade) -> list[NodeProto]:
        axes = _get(node, "axes")
        if context.opset < since and axes is not None:
            _as_inputs(node, context, [("axes", axes)])
            _drop(node, "axes")
        return [node]

    return rule


def _slice(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 10 starts, ends and axes were attributes."""
    if context.opset < 10:
        starts = _get(node, "starts", [])
        _as_inputs(node, context, [("starts", starts), ("ends", _get(node, "ends", [])), ("axes", _get(node, "axes"))])
        _drop(node, "starts", "ends", "axes")
    return [node]


def _split(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 13 the sizes were an attribute; since 18 equal parts have to be counted."""
    sizes = _get(node, "split")
    if sizes is not None:
        _as_inputs(node, context, [("split", sizes)])
        _drop(node, "split")
    elif len(node.input) == 1 or not node.input[1]:
        _set(node, "num_outputs", len(node.output))
    return [node]


def _softmax(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 13 all axes from ``axis`` (1) on were one; since then ``axis`` (-1) is the only one."""
    if context.opset >= 13:
        return [node]
    axis, rank = _get(node, "axis", 1), context.ranks.get(node.input[0])
    if rank is not None and axis % rank == rank - 1:
        _set(node, "axis", -1)
        return [node]
    flat, scores, shape = (context.name(f"{node.output[0]}_{part}") for part in ("flat", "scores", "shape"))
    return [
        helper.make_node("Flatten", [node.input[0]], [flat], axis=axis),
        helper.make_node(node.op_type, [flat], [scores], axis=-1, name=node.name),
        helper.make_node("Shape", [node.input[0]], [shape]),
        helper.make_node("Reshape", [scores, shape], list(node.output)),
    ]


def _clip(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 11 the bounds were attributes."""
    if context.opset < 11:
        bounds = [_get(node, "min"), _get(node, "max")]
        names = ["" if b is None else context.constant(b, np.float32, f"{node.output[0]}_bound") for b in bounds]
        while names and not names[-1]:
            names.pop()
        node.input.extend(names)
        _drop(node, "min", "max")
    return [node]


def _pad(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 11 pads (``paddings`` at 1) and the value were attributes."""
    if context.opset < 11:
        value = context.constant(_get(node, "value", 0.0), np.float32, f"{node.output[0]}_value")
        _as_inputs(node, context, [("pads", _get(node, "pads", _get(node, "paddings", [])))])
        node.input.append(value)
        _drop(node, "pads", "paddings", "value")
    return [node]


def _upsample(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Deprecated at 10; a Resize whose coordinates are only scaled, and rounded down."""
    scales = _get(node, "scales") or [1.0, 1.0, _get(node, "height_scale", 1.0), _get(node, "width_scale", 1.0)]
    named = node.input[1] if len(node.input) > 1 else context.constant(scales, np.float32, f"{node.output[0]}_scales")
    mode = _get(node, "mode", "nearest")
    resize = helper.make_node(
        "Resize", [node.input[0], "", named], list(node.output), name=node.name,
        mode={"bilinear": "linear"}.get(mode, mode), coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    return [resize]


def _gemm(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """``broadcast`` is implied since 7."""
    _drop(node, "broadcast")
    return [node]


def _concat(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 4 the axis defaulted to 1; since then it is required."""
    _set(node, "axis", _get(node, "axis", 1))
    return [node]


def _cast(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 6 the type was a word."""
    to = _get(node, "to")
    if isinstance(to, str):
        _set(node, "to", TensorProto.DataType.Value(to.upper()))
    _drop(node, "saturate")
    return [node]


def _prelu(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 7 a slope of one dimension was a channel's."""
    slope = context.array(node.input[1])
    if context.opset < 7 and slope is not None and slope.ndim == 1 and slope.size > 1:
        node.input[1] = context.constant(slope.reshape(-1, 1, 1), slope.dtype, f"{node.input[1]}_channels")
    return [node]


def _pool(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """AveragePool learned dilations at 19."""
    if node.op_type == "AveragePool" and math.prod(_get(node, "dilations", [1])) == 1:
        _drop(node, "dilations")
    return [node]


def _quantize(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Blocks and other types came at 21; before, the zero point's type is the output's."""
    if _get(node, "block_size", 0) == 0:
        _drop(node, "block_size")
    _drop(node, "saturate", "precision")
    return [node]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow"), _broadcast),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "ReduceSum"), _axes_input(13)),
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceL1"), _axes_input(18)),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantize),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Dropout": _dropout,
    "Gemm": _gemm,
    "PRelu": _prelu,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Sum": _sum,
    "Upsample": _upsample,
}
