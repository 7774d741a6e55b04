"""Operators of networks that somebody already quantized, read as the real arithmetic they stand for.

Integer weights and biases are taken as they are: (integer - zero point) × scale. What an activation's grid does is kept
where it computes: a range that starts at its zero point cuts negative values off, and many quantizers drop the Relu
because of that. The rounding itself is not part of the network; a build quantizes anew, on the same weights.

Covers ONNX's QuantizeLinear, DequantizeLinear, QLinearConv and QLinearMatMul, and ONNX Runtime's contrib operators
QLinearAdd, QLinearMul, QLinearSigmoid, QLinearConcat, QLinearGlobalAveragePool, QLinearAveragePool and QGemm.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import GraphError
from edgekit.graph import operators
from edgekit.graph.movement import Ids, attribute
from edgekit.graph.operators import Consts, Operator, activation
from edgekit.graph.trace import Tracer


def _real(node: ir.Node, consts: Consts, at: int, axis: int) -> NDArray[np.float64]:
    """The constant at input ``at`` with its scale and zero point behind it, as real numbers."""
    values, scale, zero = (consts[i] if i < len(consts) else None for i in (at, at + 1, at + 2))
    if values is None or scale is None:
        raise GraphError(f"{node.op_type} '{node.name}': its weights are not constant")
    shape = [-1 if i == axis % values.ndim else 1 for i in range(values.ndim)] if scale.size > 1 else [1] * values.ndim
    offset = np.zeros(1) if zero is None else zero.astype(np.float64)
    offset = offset.reshape(shape) if offset.size > 1 else offset.reshape(())
    result: NDArray[np.float64] = (values.astype(np.float64) - offset) * scale.astype(np.float64).reshape(shape)
    return result


def stored(node: ir.Node, consts: Consts) -> NDArray[np.float64]:
    """What a DequantizeLinear of a stored constant gives."""
    return _real(node, consts, 0, int(attribute(node, "axis", 1)))


def _scale(node: ir.Node, consts: Consts, at: int) -> NDArray[np.float64]:
    scale = consts[at] if at < len(consts) else None
    if scale is None:
        raise GraphError(f"{node.op_type} '{node.name}': its scales are not constant")
    return scale.astype(np.float64)


def _cut(tracer: Tracer, ids: Ids, zero: NDArray[Any] | None) -> Ids:
    """A grid whose zero point is its smallest integer holds no negative numbers."""
    lowest = zero is not None and np.all(zero == np.iinfo(zero.dtype).min) and zero.dtype in (np.uint8, np.int8)
    # Without a zero point the grid is uint8 from 0 (QuantizeLinear-13).
    return tracer.elementwise(ids, "relu") if zero is None or lowest else ids


def _quantize(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    x = activation(ids, node)
    if _is_picture(tracer, x):
        return x  # a normalized picture's range starts below zero, pixels' at it: nothing is cut
    return _cut(tracer, x, consts[2] if len(consts) > 2 else None)


def _dequantize(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    return activation(ids, node)


def _is_picture(tracer: Tracer, ids: Ids) -> bool:
    source, _ = tracer.split(np.maximum(ids, 0))
    return all(tracer.layers[int(s)].kind == "input" for s in np.unique(source))


def _conv(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    weight = _real(node, consts, 3, 0)
    given: Consts = [None, weight]
    if len(consts) > 8 and (bias := consts[8]) is not None:
        given.append(bias.astype(np.float64) * _scale(node, consts, 1) * _scale(node, consts, 4).reshape(-1))
    result = operators.OPERATORS["Conv"](tracer, node, [activation(ids, node)], given)
    return _cut(tracer, result, consts[7])


def _matmul(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    weight = _real(node, consts, 3, 1)
    result = operators.OPERATORS["MatMul"](tracer, node, [activation(ids, node)], [None, weight])
    return _cut(tracer, result, consts[7])


def _gemm(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    weight = _real(node, consts, 3, 0 if attribute(node, "transB", 0) else 1)
    given: Consts = [None, weight]
    if len(consts) > 6 and (bias := consts[6]) is not None:
        given.append(bias.astype(np.float64) * _scale(node, consts, 1) * _scale(node, consts, 4).reshape(-1))
    result = operators.OPERATORS["Gemm"](tracer, node, [activation(ids, node)], given)
    return _cut(tracer, result, consts[8] if len(consts) > 8 else None) if len(consts) > 7 else result


def _binary(kind: str) -> Operator:
    def operator(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
        given: Consts = [None if ids[at] is not None else _real(node, consts, at, 1) for at in (0, 3)]
        result = operators.OPERATORS[kind](tracer, node, [ids[0], ids[3]], given)
        return _cut(tracer, result, consts[7] if len(consts) > 7 else None)

    return operator


def _unary(kind: str, zero_at: int) -> Operator:
    def operator(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
        if attribute(node, "channels_last", 0):
            raise GraphError(
                f"{node.op_type} '{node.name}': a graph that a runtime optimized for itself is not supported"
            )
        result = operators.OPERATORS[kind](tracer, node, [activation(ids, node)], [None])
        return _cut(tracer, result, consts[zero_at] if zero_at < len(consts) else None)

    return operator


def _concat(tracer: Tracer, node: ir.Node, ids: list[Ids | None], consts: Consts) -> Ids:
    parts = [activation(ids, node, at) for at in range(2, len(ids), 3)]
    joined: Ids = np.concatenate(parts, attribute(node, "axis", 1))
    return _cut(tracer, joined, consts[1])


INTEGER_OPERATORS: dict[str, Operator] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearSigmoid": _unary("Sigmoid", 4),
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool", 4),
    "QLinearAveragePool": _unary("AveragePool", 4),
    "QLinearConcat": _concat,
}
