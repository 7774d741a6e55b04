"""The work of a graph, counted operator by operator: multiply-accumulates, stored elements, elements moved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekit.config.target import Precision

if TYPE_CHECKING:
    import onnx_ir as ir

WIDTH: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}  # bytes of a weight or an activation
BIAS_WIDTH: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 4}  # integer kernels add int32 biases

# Operators that rename a tensor and move nothing.
_FREE = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
# Quantize and Dequantize describe a tensor of an integer kernel; no runtime executes them between integer kernels.
_DESCRIBE = frozenset({"QuantizeLinear", "DequantizeLinear"})
# Activations that every runtime executes inside the kernel before them.
_FUSED = frozenset({"Relu", "Clip"})
_COMPUTE = frozenset({"Conv", "Gemm", "MatMul", "Add"})


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One operator of one inference of one picture. Counts are elements, whatever their width in bytes.

    ``read`` and ``written`` are activations; ``integer`` tells that its output is an integer tensor in this graph.
    """

    name: str
    op: str
    macs: int
    weights: int
    biases: int
    read: int
    written: int
    integer: bool

    def bytes_at(self, precision: Precision) -> int:
        """Bytes in and out at that precision: weights, biases, activations read and written."""
        width = WIDTH[precision]
        return (self.weights + self.read + self.written) * width + self.biases * BIAS_WIDTH[precision]


def count(model: ir.Model) -> tuple[OperatorCost, ...]:
    """Every operator that a runtime executes, in order; see :func:`edgekit.report.cost.cost`."""
    from edgekit.report.shapes import with_shapes

    graph = with_shapes(model).graph
    rows: list[OperatorCost] = []
    for node in graph:
        if node.op_type in _DESCRIBE or node.op_type == "Constant" or _is_fused(node):
            continue
        if _stored(node.outputs[0]) is not None:
            continue
        rows.append(_operator(node))
    return tuple(rows)


def _operator(node: ir.Node) -> OperatorCost:
    output = _last(node).outputs[0]
    activations = [value for value in node.inputs if value is not None and _stored(value) is None]
    stored = [tensor for value in node.inputs if value is not None and (tensor := _stored(value)) is not None]
    weights = stored[0] if stored and node.op_type in ("Conv", "Gemm", "MatMul") else 0
    biases = sum(stored[1:]) if weights else 0
    free = node.op_type in _FREE
    return OperatorCost(
        name=node.name or output.name or node.op_type,
        op=_kind(node),
        macs=_macs(node),
        weights=weights,
        biases=biases,
        read=0 if free else sum(_elements(value) for value in activations),
        written=0 if free else sum(_elements(value) for value in node.outputs if value.shape is not None),
        integer=_is_integer(output),
    )


def _kind(node: ir.Node) -> str:
    if node.op_type != "Conv":
        return str(node.op_type)
    group = _int(node, "group", 1)
    weight = _dims(node.inputs[1])
    if group == 1:
        return "Conv 1×1" if weight[2:] == [1, 1] else "Conv"
    return "Conv depthwise" if weight[1] == 1 and group == weight[0] else "Conv grouped"


def _macs(node: ir.Node) -> int:
    """Conv: output elements × input channels of a group × kernel; Gemm and MatMul: output elements × inner length."""
    if node.op_type == "Conv":
        return _elements(node.outputs[0]) * math.prod(_dims(node.inputs[1])[1:])
    if node.op_type == "Gemm":
        inner = _dims(node.inputs[0])[0 if _int(node, "transA", 0) else 1]
        return _elements(node.outputs[0]) * inner
    if node.op_type == "MatMul":
        return _elements(node.outputs[0]) * _dims(node.inputs[0])[-1]
    return 0


def _is_fused(node: ir.Node) -> bool:
    """An activation right after a computing node that nobody else reads."""
    if node.op_type not in _FUSED or node.inputs[0] is None:
        return False
    before = node.inputs[0].producer()
    return before is not None and before.op_type in _COMPUTE and len(list(node.inputs[0].uses())) == 1


def _last(node: ir.Node) -> ir.Node:
    """The activation fused into this node, else the node."""
    uses = list(node.outputs[0].uses())
    return uses[0].node if len(uses) == 1 and _is_fused(uses[0].node) else node


def _is_integer(value: ir.Value) -> bool:
    if value.dtype is not None and value.dtype.name in ("UINT8", "INT8", "INT32"):
        return True
    return any(use.node.op_type == "QuantizeLinear" for use in value.uses())


def _stored(value: ir.Value) -> int | None:
    """Elements of a constant (an initializer, a Constant, or one that is dequantized); None for an activation."""
    if value.const_value is not None:
        return int(value.const_value.size)
    producer = value.producer()
    if producer is None:
        return None
    if producer.op_type in _DESCRIBE and producer.inputs[0] is not None:
        return _stored(producer.inputs[0])
    return _elements(value) if producer.op_type == "Constant" else None


def _elements(value: ir.Value) -> int:
    return math.prod(_dims(value))


def _dims(value: ir.Value | None) -> list[int]:
    """Sizes of a tensor, a symbolic one (the batch) counting as 1."""
    from edgekit.errors import GraphError

    if value is None or value.shape is None:
        raise GraphError(f"the shape of {value.name if value is not None else 'an input'} is not known")
    return [dim if isinstance(dim, int) else 1 for dim in value.shape]


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else int(attribute.as_int())
