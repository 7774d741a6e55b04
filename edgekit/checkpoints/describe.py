"""What a checkpoint is, in the words and figures of the published tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from edgekit.checkpoints.source import Architecture, Checkpoint
from edgekit.models.cost import Cost, cost

# Output channels of stages 2, 3 and 4 by width. 2.0 has 244 in the paper's second version and 224 in its first, which
# TensorFlow's implementation follows; Paddle has mixed both. 0.25 and 0.33 are Paddle's.
V2_WIDTHS: dict[tuple[int, ...], float] = {
    (24, 48, 96): 0.25,
    (32, 64, 128): 0.33,
    (48, 96, 192): 0.5,
    (116, 232, 464): 1.0,
    (176, 352, 704): 1.5,
    (224, 448, 896): 2.0,
    (224, 488, 976): 2.0,
    (244, 488, 976): 2.0,
}
# Output channels of stage 2 at width 1, by groups (table 1 of the V1 paper).
V1_STAGE2 = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}


def width_of(architecture: Architecture) -> float | None:
    """The published width multiplier of this channel list, or None where it is somebody's own."""
    channels = architecture.stage_channels
    if architecture.version == 2:
        return V2_WIDTHS.get(channels)
    base = V1_STAGE2.get(architecture.groups)
    if base is None or channels != (channels[0], 2 * channels[0], 4 * channels[0]):
        return None
    width = channels[0] / base
    return width if width in (0.25, 0.5, 1.0, 1.5, 2.0) else None


def name_of(architecture: Architecture) -> str:
    """Such as ``ShuffleNet V2 x1.0`` or ``ShuffleNet V1 x0.5 g3``."""
    width = width_of(architecture)
    sized = "custom" if width is None else f"x{width}"
    groups = f" g{architecture.groups}" if architecture.version == 1 else ""
    swish = " swish" if architecture.activation == "swish" else ""
    return f"ShuffleNet V{architecture.version} {sized}{groups}{swish}"


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything that ``edgekit inspect`` says about a checkpoint; plain values, ready for JSON.

    ``params`` are trainable numbers, ``macs`` the multiply-accumulates of convolutions and classifier, ``mflops`` the
    figure of the published tables (see ``edgekit.models.Cost``), at the size in ``input``.
    """
    image = checkpoint.image
    if checkpoint.architecture is not None:
        facts = _of_architecture(checkpoint.architecture, image.height, image.width)
    elif checkpoint.graph is not None:
        facts = _of_graph(checkpoint.graph)
    else:
        facts = {}
    return {
        "kind": "checkpoint",
        "path": str(checkpoint.path),
        "sha256": checkpoint.sha256,
        "family": checkpoint.family,
        **facts,
        "classes": checkpoint.classes,
        "labels": list(checkpoint.labels) if checkpoint.labels is not None else None,
        "quantized": checkpoint.quantized,
        "input": [3, image.height, image.width],
        "preprocessing": {**image.to_dict(), "normalization": checkpoint.normalization.to_dict()},
        "notes": list(checkpoint.notes),
    }


def _of_architecture(architecture: Architecture, height: int, width: int) -> dict[str, Any]:
    head = [] if architecture.head_channels is None else [architecture.head_channels]
    return {
        "architecture": name_of(architecture),
        "version": architecture.version,
        "width": width_of(architecture),
        "channels": [architecture.stem_channels, *architecture.stage_channels, *head],
        "repeats": list(architecture.repeats),
        "groups": architecture.groups,
        "activation": architecture.activation,
        "padding": architecture.padding,
        "epsilon": architecture.epsilon,
        "shuffle": architecture.shuffle,
        "classifier_bias": architecture.classifier_bias,
        **_figures(cost(architecture, height, width)),
    }


def _figures(counted: Cost) -> dict[str, Any]:
    return {"params": counted.params, "macs": counted.macs, "mflops": round(counted.flops / 1e6, 2)}


# -- ONNX graphs -------------------------------------------------------------------------------------------------------


def _of_graph(model: ir.Model) -> dict[str, Any]:
    """The same facts, as far as a graph tells them."""
    nodes = list(model.graph)
    operators: dict[str, int] = {}
    for node in nodes:
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
    grouped = [_groups(node) for node in nodes if _is_grouped_1x1(node)]
    shuffles = operators.get("Transpose", 0) >= 3
    version = 1 if grouped else 2 if shuffles and operators.get("Concat", 0) >= 3 else None
    channels = _stage_channels(nodes)
    groups = max(grouped, default=1)
    width = None
    if version is not None and len(channels) >= 3:
        stages = tuple(channels[-3:])
        width = V2_WIDTHS.get(stages) if version == 2 else _v1_width(stages, groups)
    sized = "custom" if width is None else f"x{width}"
    name = f"ShuffleNet V{version} {sized}{f' g{groups}' if version == 1 else ''}" if version else "plain CNN"
    return {
        "architecture": name,
        "version": version,
        "width": width,
        "channels": channels,
        "groups": groups,
        "activation": _activation(operators),
        "operators": dict(sorted(operators.items(), key=lambda item: -item[1])),
        **_figures(_count_graph(model)),
    }


def _v1_width(stages: tuple[int, ...], groups: int) -> float | None:
    base = V1_STAGE2.get(groups)
    return stages[0] / base if base and stages[0] / base in (0.25, 0.5, 1.0, 1.5, 2.0) else None


def _activation(operators: dict[str, int]) -> str:
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


def _count_graph(model: ir.Model) -> Cost:
    params = macs = flops = 0
    for node in model.graph:
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
