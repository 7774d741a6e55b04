"""The ONNX operators that compute, each turning element numbers into a new layer of the network.

Adding an operator is one function here and one line in :data:`OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import GraphError
from edgekit.graph.movement import Ids, attribute
from edgekit.graph.network import Kind, Layer
from edgekit.graph.trace import Tracer

Consts = list[NDArray[Any] | None]
Operator = Callable[[Tracer, ir.Node, list[Ids | None], Consts], Ids]


def _where(node: ir.Node) -> str:
    return f"{node.op_type} '{node.name}'"


def activation(ids: list[Ids | None], node: ir.Node, index: int = 0) -> Ids:
    """The element numbers of an input that must not be constant."""
    found = ids[index] if index < len(ids) else None
    if found is None:
        raise GraphError(f"{_where(node)}: input {index} must be computed from the picture")
    return found


def _constant(consts: Consts, node: ir.Node, index: int) -> NDArray[np.float64]:
    found = consts[index] if index < len(consts) else None
    if found is None:
        raise GraphError(f"{_where(node)}: input {index} must be constant")
    return found.astype(np.float64)


def _label(node: ir.Node, operand: int) -> str:
    """A layer's name: that of its weights where they are named (``stage2.0.branch1.0``), else the node's."""
    value = node.inputs[operand] if operand < len(node.inputs) else None
    name = value.name if value is not None and value.name else ""
    for suffix in (".weight", "/weights", "_weights", "_w_0", "_w"):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return node.name or node.outputs[0].name or node.op_type


def _window(
    node: ir.Node, kernel: tuple[int, int], height: int, width: int, extra: tuple[int, int, int, int]
) -> tuple[tuple[int, int], tuple[int, int, int, int], tuple[int, int]]:
    """Strides, pads (top, left, bottom, right) and output size of a sliding window (ONNX Conv-11, MaxPool-12)."""
    dilations = attribute(node, "dilations", [1, 1])
    if any(d != 1 for d in dilations) or len(kernel) != 2:
        raise GraphError(f"{_where(node)}: only two-dimensional windows without dilation are supported")
    strides = tuple(int(s) for s in attribute(node, "strides", [1, 1]))
    mode = attribute(node, "auto_pad", "NOTSET")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    size = (height + extra[0] + extra[2], width + extra[1] + extra[3])
    given = [int(p) for p in attribute(node, "pads", [0, 0, 0, 0])]
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(size, strides, kernel, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        given = small + large if mode == "SAME_UPPER" else large + small
    elif mode == "VALID":
        given = [0, 0, 0, 0]
    room = [size[0] + given[0] + given[2] - kernel[0], size[1] + given[1] + given[3] - kernel[1]]
    out = [r // s + 1 for r, s in zip(room, strides, strict=True)]
    if attribute(node, "ceil_mode", 0):
        for axis in (0, 1):
            steps = -(-room[axis] // strides[axis])
            if steps * strides[axis] >= size[axis] + given[axis]:  # the last window may not start in the end padding
                steps -= 1
            given[axis + 2] += max(steps * strides[axis] - room[axis], 0)
            out[axis] = steps + 1
    if min(room) < 0:
        raise GraphError(f"{_where(node)}: its window {kernel} is larger than its input {height}×{width}")
    pads = tuple(g + e for g, e in zip(given, extra, strict=True))
    return (strides[0], strides[1]), (pads[0], pads[1], pads[2], pads[3]), (out[0], out[1])


def _size(tracer: Tracer, wires: NDArray[np.int64]) -> tuple[int, int]:
    of = tracer.layers[int(wires[0, 0])]
    return of.height, of.width


def _conv(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    wires, extra, lowest = tracer.channels(activation(ids, node), node)
    weight = _constant(consts, node, 1)
    bias = _constant(consts, node, 2) if len(consts) > 2 and consts[2] is not None else np.zeros(len(weight))
    groups = int(attribute(node, "group", 1))
    if weight.ndim != 4 or weight.shape[1] * groups != len(wires) or len(weight) % groups or lowest:
        raise GraphError(
            f"{_where(node)}: weights {list(weight.shape)} in {groups} groups do not fit {len(wires)} channels"
        )
    height, width = _size(tracer, wires)
    kernel = (weight.shape[2], weight.shape[3])
    strides, pads, (high, wide) = _window(node, kernel, height, width, extra)
    return tracer.add(
        Layer(_label(node, 1), "conv", [wires], len(weight), high, wide, weight, bias,
              groups=groups, kernel=kernel, strides=strides, pads=pads)
    )  # fmt: skip


def _pool(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    wires, extra, lowest = tracer.channels(activation(ids, node), node)
    height, width = _size(tracer, wires)
    kernel = tuple(int(k) for k in attribute(node, "kernel_shape", []))
    kind: Kind = "maxpool" if node.op_type == "MaxPool" else "avgpool"
    count = bool(attribute(node, "count_include_pad", 0))
    strides, pads, (high, wide) = _window(node, (kernel[0], kernel[-1]), height, width, extra)
    explicit = any(extra)
    if kind == "avgpool":
        if (explicit and (lowest or (any(p > e for p, e in zip(pads, extra, strict=True)) and not count))) or (
            attribute(node, "ceil_mode", 0) and count and any(pads)
        ):
            raise GraphError(f"{_where(node)}: this mix of paddings is not supported")
        count = count or explicit
        if (kernel, pads) == ((height, width), (0, 0, 0, 0)):
            kind = "gap"
    # A maximum over explicit zeros is the maximum over nothing only if no input is negative; tidy() checks that.
    value = 0.0 if explicit and not lowest else -np.inf
    return tracer.add(
        Layer(node.name or node.op_type, kind, [wires], len(wires), high, wide, kernel=(kernel[0], kernel[-1]),
              strides=strides, pads=pads, count_pads=count, pad_value=value if kind == "maxpool" else 0.0)
    )  # fmt: skip


def _mean(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    """GlobalAveragePool, or ReduceMean over the picture in NCHW or NHWC order."""
    x = activation(ids, node)
    axes, keep = [2, 3], True
    if node.op_type == "ReduceMean":
        given = consts[1] if len(consts) > 1 and consts[1] is not None else attribute(node, "axes", [])
        axes = sorted(int(a) % x.ndim for a in np.atleast_1d(given).tolist())
        keep = bool(attribute(node, "keepdims", 1))
    if x.ndim != 4 or axes not in ([2, 3], [1, 2]):
        raise GraphError(f"{_where(node)}: a mean over axes {axes} is no average over the picture")
    last = axes == [1, 2]
    wires, pads, _ = tracer.channels(x.transpose(0, 3, 1, 2) if last else x, node)
    if any(pads):
        raise GraphError(f"{_where(node)}: a mean over padding is not supported")
    result = tracer.add(Layer(node.name or "mean", "gap", [wires], len(wires), 1, 1))
    result = result.transpose(0, 2, 3, 1) if last else result
    return result if keep else result.reshape(1, -1)


def _dense(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    """Gemm or MatMul of ``[1, C]`` features with constant weights."""
    x = activation(ids, node)
    weight, bias = _constant(consts, node, 1), np.zeros(1)
    if node.op_type in ("Gemm", "QGemm"):
        if attribute(node, "transA", 0):
            raise GraphError(f"{_where(node)}: a transposed activation is not supported")
        weight = weight if attribute(node, "transB", 0) else weight.T
        weight = weight * attribute(node, "alpha", 1.0)
        if len(consts) > 2 and consts[2] is not None:
            bias = _constant(consts, node, 2).reshape(-1) * attribute(node, "beta", 1.0)
    else:
        weight = weight.T
    if x.size != x.shape[-1] or weight.ndim != 2 or weight.shape[1] != x.size:
        raise GraphError(f"{_where(node)}: weights {list(weight.shape)} do not fit an input of shape {list(x.shape)}")
    wires, _, _ = tracer.channels(x.reshape(1, -1), node)
    if _size(tracer, wires) != (1, 1):
        raise GraphError(
            f"{_where(node)} reads single pixels of a picture",
            hint="edgekit places classifiers that end in a global average pool",
        )
    bias = np.broadcast_to(bias, (len(weight),)).copy()
    result = tracer.add(Layer(_label(node, 1), "gemm", [wires], len(weight), 1, 1, weight, bias))
    return result.reshape(*x.shape[:-1], len(weight))


def _batch_norm(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    x = activation(ids, node)
    gamma, beta, mean, variance = (_constant(consts, node, i) for i in range(1, 5))
    scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return tracer.affine(x, scale.reshape(shape), (beta - mean * scale).reshape(shape), node)


def _arithmetic(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    """Add, Sub, Mul or Div: with a constant a per-channel affine, between two activations a layer of its own."""
    op = node.op_type.removeprefix("QLinear")
    a, b = ids[0], ids[1]
    if a is not None and b is not None:
        if op not in ("Add", "Mul"):
            raise GraphError(f"{_where(node)} between two activations is not supported")
        return _combine(tracer, node, a, b, "add" if op == "Add" else "mul")
    x = a if a is not None else activation(ids, node, 1)
    c = _constant(consts, node, 1 if a is not None else 0)
    if op == "Div" and a is None:
        raise GraphError(f"{_where(node)}: dividing by an activation is not supported")
    one, zero = np.ones(()), np.zeros(())
    if op == "Mul":
        return tracer.affine(x, c, zero, node)
    if op == "Div":
        return tracer.affine(x, 1.0 / c, zero, node)
    if op == "Sub":
        return tracer.affine(x, one, -c, node) if a is not None else tracer.affine(x, -one, c, node)
    return tracer.affine(x, one, c, node)


def _combine(tracer: Tracer, node: ir.Node, a: Ids, b: Ids, kind: Kind) -> Ids:
    if a.shape != b.shape:
        raise GraphError(f"{_where(node)}: inputs of shapes {list(a.shape)} and {list(b.shape)} are not supported")
    name = node.name or node.op_type
    pairs = tracer.pairs(a, b)
    if pairs is not None:  # both sides moved alike (x · sigmoid(x)): combine the sources, and move the result
        made: dict[int, int] = {}
        for s, t in pairs:
            of = tracer.layers[s]
            wires = [np.stack([np.full(of.channels, i), np.arange(of.channels)], axis=1) for i in (s, t)]
            tracer.add(Layer(name, kind, wires, of.channels, of.height, of.width))
            made[s] = len(tracer.layers) - 1
        return tracer.renamed(a, made)
    try:
        sides, back = [tracer.channels(x, node) for x in (a, b)], None
    except GraphError:
        if a.ndim != 4:
            raise
        sides, back = [tracer.channels(x.transpose(0, 3, 1, 2), node) for x in (a, b)], (0, 2, 3, 1)
    if any(any(pads) for _, pads, _ in sides):
        raise GraphError(f"{_where(node)}: combining padding is not supported")
    wires = [side[0] for side in sides]
    height, width = _size(tracer, wires[0])
    result = tracer.add(Layer(name, kind, wires, len(wires[0]), height, width))
    return result.reshape(a.shape) if back is None else result.transpose(back)


def _sum(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    terms = [activation(ids, node, i) for i in range(len(ids))]
    return reduce(lambda a, b: _combine(tracer, node, a, b, "add"), terms)


def _simple(kind: Kind) -> Operator:
    def operator(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
        x = activation(ids, node)
        if kind == "sigmoid" and np.any(x < 0):
            raise GraphError(f"{_where(node)} of padding is not supported")
        return tracer.elementwise(x, kind)

    return operator


def _clip(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    limits = []
    for index, (name, open_end) in enumerate((("min", -np.inf), ("max", np.inf)), start=1):
        given = index < len(node.inputs) and node.inputs[index] is not None
        limits.append(float(_constant(consts, node, index)) if given else float(attribute(node, name, open_end)))
    low, high = limits
    x = activation(ids, node)
    if (low, high) == (0.0, np.inf):
        return tracer.elementwise(x, "relu")
    if not (low <= 0.0 <= high) and np.any(x < 0):
        raise GraphError(f"{_where(node)} would change padding")
    return tracer.elementwise(x, "clip", (low, high))


def _softmax(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    x = activation(ids, node)
    if x.size != max(x.shape):
        raise GraphError(f"{_where(node)} over a picture is not supported")
    wires, _, _ = tracer.channels(x.reshape(1, -1), node)
    return tracer.add(Layer("softmax", "softmax", [wires], len(wires), 1, 1)).reshape(x.shape)


OPERATORS: dict[str, Operator] = {
    "Conv": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _mean,
    "ReduceMean": _mean,
    "Gemm": _dense,
    "MatMul": _dense,
    "BatchNormalization": _batch_norm,
    "Add": _arithmetic,
    "Sub": _arithmetic,
    "Mul": _arithmetic,
    "Div": _arithmetic,
    "Sum": _sum,
    "Relu": _simple("relu"),
    "Sigmoid": _simple("sigmoid"),
    "HardSwish": _simple("hardswish"),
    "Clip": _clip,
    "Softmax": _softmax,
}
