"""What each operator's older forms meant, in the form of opset 18 (onnx/docs/Changelog.md): one rule an operator.

A rule takes a node and gives the nodes that replace it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper

from edgekit.checkpoints.onnx_nodes import Upgrade, as_inputs, called, drop, get, put
from edgekit.errors import CheckpointError

Rule = Callable[[NodeProto, Upgrade], Sequence[NodeProto]]


def _broadcast(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 7 the second operand was aligned at ``axis`` and only with ``broadcast=1``; since then at the end."""
    axis = get(node, "axis")
    drop(node, "axis", "broadcast")
    if context.opset >= 7 or axis is None:
        return [node]
    left, right = context.ranks.get(node.input[0]), context.ranks.get(node.input[1])
    if left is None or right is None:
        raise CheckpointError(f"{called(node)} of opset {context.opset} aligns tensors of unknown rank")
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
    if get(node, "training_mode", 0) or any(name in context.used for name in node.output[1:] if name):
        raise CheckpointError(f"{called(node)} is in training mode", hint="export the network in evaluation mode")
    if not get(node, "spatial", 1):
        raise CheckpointError(f"{called(node)} normalizes each pixel on its own (spatial=0), which is not supported")
    drop(node, "is_test", "spatial", "momentum", "training_mode")
    del node.output[1:]
    return [node]


def _dropout(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Does nothing at inference, whatever its form."""
    if any(name in context.used for name in node.output[1:] if name):
        raise CheckpointError(f"{called(node)}: its mask is used, so this is a training graph")
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
        as_inputs(node, context, [("shape", get(node, "shape", []))])
        drop(node, "shape")
    return [node]


def _axes_input(since: int) -> Rule:
    """``axes`` was an attribute before opset ``since``."""

    def rule(node: NodeProto, context: Upgrade) -> list[NodeProto]:
        axes = get(node, "axes")
        if context.opset < since and axes is not None:
            as_inputs(node, context, [("axes", axes)])
            drop(node, "axes")
        return [node]

    return rule


def _slice(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 10 starts, ends and axes were attributes."""
    if context.opset < 10:
        starts = get(node, "starts", [])
        as_inputs(node, context, [("starts", starts), ("ends", get(node, "ends", [])), ("axes", get(node, "axes"))])
        drop(node, "starts", "ends", "axes")
    return [node]


def _split(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 13 the sizes were an attribute; since 18 equal parts have to be counted."""
    sizes = get(node, "split")
    if sizes is not None:
        as_inputs(node, context, [("split", sizes)])
        drop(node, "split")
    elif len(node.input) == 1 or not node.input[1]:
        put(node, "num_outputs", len(node.output))
    return [node]


def _softmax(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 13 all axes from ``axis`` (1) on were one; since then ``axis`` (-1) is the only one."""
    if context.opset >= 13:
        return [node]
    axis, rank = get(node, "axis", 1), context.ranks.get(node.input[0])
    if rank is not None and axis % rank == rank - 1:
        put(node, "axis", -1)
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
        bounds = [get(node, "min"), get(node, "max")]
        names = ["" if b is None else context.constant(b, np.float32, f"{node.output[0]}_bound") for b in bounds]
        while names and not names[-1]:
            names.pop()
        node.input.extend(names)
        drop(node, "min", "max")
    return [node]


def _pad(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 11 pads (``paddings`` at 1) and the value were attributes."""
    if context.opset < 11:
        value = context.constant(get(node, "value", 0.0), np.float32, f"{node.output[0]}_value")
        as_inputs(node, context, [("pads", get(node, "pads", get(node, "paddings", [])))])
        node.input.append(value)
        drop(node, "pads", "paddings", "value")
    return [node]


def _upsample(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Deprecated at 10; a Resize whose coordinates are only scaled, and rounded down."""
    scales = get(node, "scales") or [1.0, 1.0, get(node, "height_scale", 1.0), get(node, "width_scale", 1.0)]
    named = node.input[1] if len(node.input) > 1 else context.constant(scales, np.float32, f"{node.output[0]}_scales")
    mode = get(node, "mode", "nearest")
    resize = helper.make_node(
        "Resize", [node.input[0], "", named], list(node.output), name=node.name,
        mode={"bilinear": "linear"}.get(mode, mode), coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    return [resize]


def _resize(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Opset 10's form is Upsample's."""
    return _upsample(node, context) if context.opset == 10 else [node]


def _gemm(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """``broadcast`` is implied since 7."""
    drop(node, "broadcast")
    return [node]


def _concat(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 4 the axis defaulted to 1; since then it is required."""
    put(node, "axis", get(node, "axis", 1))
    return [node]


def _cast(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 6 the type was a word."""
    to = get(node, "to")
    if isinstance(to, str):
        put(node, "to", TensorProto.DataType.Value(to.upper()))
    drop(node, "saturate")
    return [node]


def _prelu(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Before 7 a slope of one dimension was a channel's."""
    slope = context.array(node.input[1])
    if context.opset < 7 and slope is not None and slope.ndim == 1 and slope.size > 1:
        node.input[1] = context.constant(slope.reshape(-1, 1, 1), slope.dtype, f"{node.input[1]}_channels")
    return [node]


def _pool(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """AveragePool learned dilations at 19."""
    if node.op_type == "AveragePool" and math.prod(get(node, "dilations", [1])) == 1:
        drop(node, "dilations")
    return [node]


def _quantize(node: NodeProto, context: Upgrade) -> list[NodeProto]:
    """Blocks and other types came at 21; before, the zero point's type is the output's."""
    if get(node, "block_size", 0) == 0:
        drop(node, "block_size")
    drop(node, "saturate", "precision")
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
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Sum": _sum,
    "Upsample": _upsample,
}
