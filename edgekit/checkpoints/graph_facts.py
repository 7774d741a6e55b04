"""What an ONNX graph tells of the network in it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgekit.checkpoints.widths import published_width
from edgekit.models.cost import Cost

# ONNX Runtime's integer operators (onnxruntime/docs/ContribOperators.md): the float one, and where its operands are.
_INTEGER_TWINS = {
    "QLinearConcat": ("Concat", slice(2, None, 3)),
    "QLinearAdd": ("Add", slice(0, 4, 3)),
    "QLinearMul": ("Mul", slice(0, 4, 3)),
    "QLinearAveragePool": ("AveragePool", slice(0, 1)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", slice(0, 1)),
    "QLinearSigmoid": ("Sigmoid", slice(0, 1)),
    "QGemm": ("Gemm", slice(0, 4, 3)),
}
SHUFFLES = 3  # a ShuffleNet has at least this many; a lone Transpose is no shuffle


def facts_of(model: ir.Model, height: int, width: int) -> dict[str, Any]:
    """Version, channels, groups, activation and costs, as far as the graph tells them.

    Args:
        model: as ``onnx_file.read`` returns it; left as it was.
        height, width: the picture's size where the graph leaves it open.
    """
    nodes = list(with_sizes(model, height, width).graph)
    operators = Counter(node.op_type for node in model.graph)
    grouped = [_groups(node) for node in nodes if _is_grouped_1x1(node)]
    version = None
    if grouped:
        version = 1
    elif operators["Transpose"] >= SHUFFLES and operators["Concat"] + operators["QLinearConcat"] >= SHUFFLES:
        version = 2
    channels, groups = _stage_channels(nodes), max(grouped, default=1)
    known = published_width(version, channels[-3:], groups) if len(channels) >= 3 else None
    sized = "custom" if known is None else f"x{known}"
    name = f"ShuffleNet V{version} {sized}{f' g{groups}' if version == 1 else ''}" if version else "plain CNN"
    return {
        "architecture": name,
        "version": version,
        "width": known,
        "channels": channels,
        "groups": groups,
        "activation": _activation(operators),
        "operators": dict(operators.most_common()),
        **_count(nodes).to_dict(),
    }


def with_sizes(model: ir.Model, height: int, width: int) -> ir.Model:
    """A copy for one picture of this size, in which every shape that can be computed is a number."""
    fixed = ir.from_proto(ir.to_proto(model))
    fixed.graph.inputs[0].shape = ir.Shape([1, 3, height, width])
    if all(value.shape is not None and value.shape.is_static() for node in model.graph for value in node.outputs):
        return fixed
    from onnxscript import optimizer

    _name_shapes_alike(fixed)
    # Only constants: folding batch norms as well would hide what they cost.
    optimizer.fold_constants(fixed, onnx_shape_inference=True)
    return fixed


def _name_shapes_alike(model: ir.Model) -> None:
    """Gives ONNX Runtime's integer operators, which have no schema in ONNX, the name of one with the same shapes."""
    for node in model.graph:
        if node.domain != "com.microsoft" or node.op_type not in _INTEGER_TWINS:
            continue
        operator, operands = _INTEGER_TWINS[node.op_type]
        kept = list(node.inputs)[operands]
        node.domain, node.op_type = "", operator
        node.resize_inputs(len(kept))
        for index, value in enumerate(kept):
            node.replace_input_with(index, value)


def _activation(operators: Mapping[str, int]) -> str:
    if operators.get("HardSwish"):
        return "hardswish"
    if operators.get("Sigmoid", 0) > 3:
        return "swish"
    return "relu6" if operators.get("Clip", 0) > operators.get("Relu", 0) else "relu"


def _shape(value: ir.Value | None) -> list[int]:
    """Sizes of a tensor with the batch as 1; empty where one is unknown."""
    if value is None or value.shape is None:
        return []
    sizes = [size if isinstance(size, int) else None for size in value.shape]
    sizes[:1] = [1 if size is None else size for size in sizes[:1]]
    known = [size for size in sizes if size is not None]
    return known if len(known) == len(sizes) else []


def _groups(node: ir.Node) -> int:
    attribute = node.attributes.get("group")
    return attribute.as_int() if attribute is not None else 1


def _weight(node: ir.Node) -> ir.Value | None:
    """The weights of a convolution or matrix product, behind the DequantizeLinear of a quantized graph."""
    value = node.inputs[3 if node.op_type == "QLinearConv" else 1]
    producer = value.producer() if value is not None else None
    if producer is not None and producer.op_type == "DequantizeLinear":
        return producer.inputs[0]
    return value


def _is_grouped_1x1(node: ir.Node) -> bool:
    shape = _shape(_weight(node)) if node.op_type in ("Conv", "QLinearConv") else []
    return len(shape) == 4 and shape[2:] == [1, 1] and 1 < _groups(node) < shape[0]


def _stage_channels(nodes: Sequence[ir.Node]) -> list[int]:
    """Channels that each resolution ends with: of the last concat or sum at that height, stages in order."""
    last: dict[int, int] = {}
    for node in nodes:
        shape = _shape(node.outputs[0])
        if node.op_type in ("Concat", "QLinearConcat", "Add", "Sum", "QLinearAdd") and len(shape) == 4:
            last[shape[2]] = shape[1]
    return [last[height] for height in sorted(last, reverse=True)]


def _count(nodes: Sequence[ir.Node]) -> Cost:
    params = macs = flops = 0
    for node in nodes:
        out, kind = _shape(node.outputs[0]), node.op_type
        if kind in ("Conv", "QLinearConv", "ConvInteger", "Gemm", "MatMul", "MatMulInteger"):
            weight = _shape(_weight(node))
            params += math.prod(weight) if weight else 0
            if len(out) == 4 and len(weight) == 4:
                macs += math.prod(out) * math.prod(weight[1:])
            elif len(weight) == 2:
                macs += math.prod(weight)
            bias = _shape(node.inputs[2]) if kind in ("Conv", "Gemm") and len(node.inputs) > 2 else []
            params += bias[-1] if bias else 0
        elif kind == "BatchNormalization":
            params += 2 * (out[1] if len(out) > 1 else 0)
            flops += 2 * math.prod(out) if out else 0
        elif kind == "AveragePool" and out:
            flops += math.prod(out) * math.prod(node.attributes["kernel_shape"].as_ints())
        elif kind in ("GlobalAveragePool", "ReduceMean"):
            flops += math.prod(_shape(node.inputs[0])) if _shape(node.inputs[0]) else 0
        elif kind in ("Add", "Sum") and len(out) == 4:
            flops += math.prod(out)
    return Cost(params, macs, macs + flops)
