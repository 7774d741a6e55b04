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

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edgekit.config.target import Peer, Precision, Target
from edgekit.report.work import BIAS_WIDTH, WIDTH, OperatorCost, count

if TYPE_CHECKING:
    import onnx_ir as ir

_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


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
    parameters = sum(op.weights * WIDTH[precision] + op.biases * BIAS_WIDTH[precision] for op in operators)
    if not operators:
        return parameters
    return parameters + operators[0].read + operators[-1].written * WIDTH[precision]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
