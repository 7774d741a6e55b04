"""What a network costs before anybody runs it: multiply-accumulates, parameters, elements moved, a target's floor.

The floor is the roofline model (S. Williams, A. Waterman, D. Patterson, "Roofline", Communications of the ACM 52(4),
2009, p. 65) with two roofs, both from the target profile (``cpu`` and ``memory``, where each number has its source)::

    compute_ms = MACs / (cores × clock × macs_per_cycle[precision])        arithmetic that never waits
    memory_ms  = (weights + picture + scores) bytes / bandwidth            what main memory must deliver at least once
    floor_ms   = max(compute_ms, memory_ms)
    spilled_ms = Σ over operators max(compute, bytes in and out / bandwidth)    if nothing stayed in any cache

No program on that board is faster than ``floor_ms``; one that reads and writes every tensor through main memory, as a
runtime with large intermediate tensors and small caches does, has ``spilled_ms`` as its floor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgekit.config.target import Peer, Precision, Target

if TYPE_CHECKING:
    import onnx_ir as ir

_WIDTH: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}  # bytes of a weight or an activation
_BIAS_WIDTH: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 4}  # integer kernels add int32 biases
_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")

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
        width = _WIDTH[precision]
        return (self.weights + self.read + self.written) * width + self.biases * _BIAS_WIDTH[precision]


@dataclass(frozen=True, slots=True)
class Floor:
    """The least time of one inference on a target, ms, with ``cores`` cores; see the module's formulas.

    The memory figures are None where the profile knows no bandwidth.
    """

    precision: Precision
    cores: int
    compute_ms: float
    memory_ms: float | None
    spilled_ms: float | None

    @property
    def floor_ms(self) -> float:
        return max(self.compute_ms, self.memory_ms or 0.0)


@dataclass(frozen=True)
class Cost:
    """Operators, totals, and the floors of one target beside what published peers reach there."""

    operators: tuple[OperatorCost, ...]
    target: str
    floors: tuple[Floor, ...]
    peers: tuple[Peer, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one picture."""
        return sum(op.macs for op in self.operators)

    @property
    def params(self) -> int:
        """Weights and biases."""
        return sum(op.weights + op.biases for op in self.operators)

    @property
    def moved(self) -> int:
        """Activation elements read and written by all operators."""
        return sum(op.read + op.written for op in self.operators)

    def by_kind(self) -> tuple[OperatorCost, ...]:
        """Operators summed by kind, the most multiply-accumulates first, then the most elements moved."""
        kinds: dict[str, list[OperatorCost]] = {}
        for op in self.operators:
            kinds.setdefault(op.op, []).append(op)
        rows = [
            OperatorCost(
                f"{len(own)} nodes" if len(own) > 1 else "1 node",
                kind,
                sum(op.macs for op in own),
                sum(op.weights for op in own),
                sum(op.biases for op in own),
                sum(op.read for op in own),
                sum(op.written for op in own),
                all(op.integer for op in own),
            )
            for kind, own in kinds.items()
        ]
        return tuple(sorted(rows, key=lambda row: (-row.macs, -(row.read + row.written))))

    def to_dict(self) -> dict[str, Any]:
        return {
            "macs": self.macs,
            "params": self.params,
            "activation_elements_moved": self.moved,
            "by_operator": [
                {"op": row.op, "nodes": int(row.name.split()[0]), "macs": row.macs, "params": row.weights + row.biases,
                 "moved": row.read + row.written}
                for row in self.by_kind()
            ],
            "target": self.target,
            "floors": [
                {
                    "precision": floor.precision,
                    "cores": floor.cores,
                    "compute_ms": _rounded(floor.compute_ms),
                    "memory_ms": _rounded(floor.memory_ms),
                    "floor_ms": _rounded(floor.floor_ms),
                    "spilled_ms": _rounded(floor.spilled_ms),
                }
                for floor in self.floors
            ],
            "peers": [asdict(peer) for peer in self.peers],
        }  # fmt: skip


def cost(model: ir.Model, target: Target, network: str = "") -> Cost:
    """Counts a float or QDQ graph, and draws the target's roofline over it.

    Args:
        model: static shapes but for the batch, which counts as 1; shapes that are missing are inferred on a copy.
        target: profile; without ``cpu.macs_per_cycle`` there are no floors.
        network: as peers spell it, e.g. ``shufflenet_v2_x1.0``; picks the target's published peers.

    Raises:
        GraphError: a convolution or matrix product whose shapes cannot be known.
    """
    return with_target(count(model), target, network)


def with_target(operators: Sequence[OperatorCost], target: Target | None, network: str = "") -> Cost:
    """The cost of counted operators; without a target there are no floors and no peers."""
    if target is None:
        return Cost(tuple(operators), "", (), ())
    peers = tuple(peer for peer in target.peers if peer.model == network)
    return Cost(tuple(operators), target.name, tuple(roofline(operators, target)), peers)


def count(model: ir.Model) -> tuple[OperatorCost, ...]:
    """Every operator that a runtime executes, in order; see :func:`cost`."""
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


def roofline(operators: Sequence[OperatorCost], target: Target) -> Iterable[Floor]:
    """The floors for one core and for all, at each precision."""
    peak = target.cpu.macs_per_cycle
    if peak is None:
        return
    bandwidth = None if target.memory.bandwidth_gb_s is None else target.memory.bandwidth_gb_s * 1e6  # bytes per ms
    for precision in _PRECISIONS:
        for cores in sorted({1, target.cpu.cores}):
            per_ms = cores * target.cpu.clock_mhz * 1e3 * getattr(peak, precision)
            compute = sum(op.macs for op in operators) / per_ms
            memory = spilled = None
            if bandwidth is not None:
                memory = _compulsory(operators, precision) / bandwidth
                spilled = sum(max(op.macs / per_ms, op.bytes_at(precision) / bandwidth) for op in operators)
            yield Floor(precision, cores, compute, memory, spilled)


def _compulsory(operators: Sequence[OperatorCost], precision: Precision) -> int:
    """Bytes that main memory must deliver or take once: all weights, the picture (uint8), the scores."""
    parameters = sum(op.weights * _WIDTH[precision] + op.biases * _BIAS_WIDTH[precision] for op in operators)
    if not operators:
        return parameters
    return parameters + operators[0].read + operators[-1].written * _WIDTH[precision]


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


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
