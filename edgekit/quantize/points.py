"""Where the integers are: which values are quantized, and which of them must share one scale."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, TypeVar

from edgekit.errors import ConfigError, GraphError
from edgekit.quantize.affine import PIXELS, UNIT_INTERVAL, Affine
from edgekit.quantize.network import ACTIVATIONS, SAME_SCALE, Network

Key = TypeVar("Key", bound=Hashable)


class UnionFind(Generic[Key]):
    """Disjoint sets of things; the representative of a set is its member that was added first."""

    def __init__(self, names: Iterable[Key]) -> None:
        self._rank = {name: index for index, name in enumerate(names)}
        self._parent = {name: name for name in self._rank}

    def find(self, name: Key) -> Key:
        root = name
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[name] != root:
            self._parent[name], name = root, self._parent[name]
        return root

    def union(self, first: Key, second: Key) -> None:
        one, other = sorted((self.find(first), self.find(second)), key=self._rank.__getitem__)
        self._parent[other] = one

    def __contains__(self, name: Key) -> bool:
        return name in self._parent


@dataclass(frozen=True, eq=False)
class Points:
    """The quantization points of a network.

    Attributes:
        quantized: values that pass through QuantizeLinear, in execution order (the pixels come as integers already).
        group: value → representative of the set of values that share scale and zero point.
        fixed: representative → the quantization that its operator dictates.
        float_ops: names of nodes that compute in float.
    """

    quantized: tuple[str, ...]
    group: Mapping[str, str]
    fixed: Mapping[str, Affine]
    float_ops: frozenset[str]

    @cached_property
    def members(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for name, representative in self.group.items():
            found.setdefault(representative, []).append(name)
        return {representative: tuple(names) for representative, names in found.items()}


def find(network: Network, keep_float: Iterable[str] = ()) -> Points:
    """The quantization points of ``network``.

    A value is quantized unless it is the image itself, or lies between a layer (or Add) and the activation fused into
    it, or lies between two nodes kept in float. Concat, Split, MaxPool, AveragePool and Flatten tie their values
    together: LiteRT demands it, and ONNX Runtime then moves bytes without requantizing them.

    Raises:
        ConfigError: ``keep_float`` names something that the network has not, or an activation: it goes with its layer.
        GraphError: two values with different dictated scales are tied together.
    """
    float_ops = _float_ops(network, keep_float)
    integer_image = {network.input, *(op.output for op in network.ops if op.kind == "Transpose")}
    quantized = []
    for op in network.ops:
        for name in op.outputs:
            if name in integer_image or name in network.fused:
                continue
            users = network.consumers.get(name, ())
            if op.name in float_ops and all(user.name in float_ops for user in users):
                continue
            quantized.append(name)
    ties = UnionFind(quantized)
    for op in network.ops:
        if op.kind in SAME_SCALE and op.name not in float_ops:
            values = [name for name in (*op.inputs, *op.outputs) if name in ties]
            for name in values[1:]:
                ties.union(values[0], name)
    fixed: dict[str, Affine] = {}
    for op in network.ops:
        dictated = {
            "Cast": replace(PIXELS, zero_point=op.gray),
            "Sigmoid": UNIT_INTERVAL,
            "Softmax": UNIT_INTERVAL,
        }.get(op.kind)
        if dictated is not None and op.output in ties:
            representative = ties.find(op.output)
            if fixed.setdefault(representative, dictated) != dictated:
                raise GraphError(f"value {op.output!r} is tied to one of another fixed scale")
    group = {name: ties.find(name) for name in quantized}
    return Points(tuple(quantized), group, fixed, float_ops)


def observed(network: Network) -> tuple[str, ...]:
    """Values whose ranges must be measured: those that arithmetic makes, not those that only move or pool others."""
    return tuple(
        name
        for op in network.ops
        if op.kind not in SAME_SCALE | {"Transpose", "Cast", "Sigmoid", "Softmax"}
        for name in op.outputs
        if name not in network.fused
    )


def sources(network: Network, name: str) -> tuple[str, ...]:
    """The values whose numbers ``name`` holds: itself, or what was moved or pooled into it."""
    made = network.producer.get(name)
    if made is None or made.kind not in SAME_SCALE:
        return (name,)
    return (name, *(source for value in made.inputs for source in sources(network, value)))


def can_stay_float(network: Network) -> tuple[str, ...]:
    """Names of the nodes that ``keep_float`` may hold, in execution order."""
    return tuple(op.name for op in network.ops if op.kind not in ACTIVATIONS | {"Transpose", "Cast", "Expand"})


def _float_ops(network: Network, keep_float: Iterable[str]) -> frozenset[str]:
    allowed = can_stay_float(network)
    # A layer may also be called by the value that it makes.
    alias = {network.result(op): op.name for op in network.ops if op.name in allowed}
    found: set[str] = set()
    issues = []
    by_name = {op.name: op for op in network.ops}
    for wanted in keep_float:
        name = wanted if wanted in allowed else alias.get(wanted)
        if name is None:
            near = difflib.get_close_matches(wanted, [*allowed, *alias], 1)
            issues.append(
                f"keep_float: no layer {wanted!r} in the network" + (f", perhaps {near[0]!r}" if near else "")
            )
            continue
        found.add(name)
        activation = network.fused.get(by_name[name].output)
        if activation is not None:
            found.add(activation.name)
    if issues:
        raise ConfigError(issues, hint="the report's table of layers lists every name")
    return frozenset(found)
