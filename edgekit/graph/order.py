"""Chooses the channel order of every layer, so that what a consumer reads lies in few contiguous slices.

All wires are put in one total order, and every layer that is free to keeps its channels in it:

1. Wires tied to each other (through activations, pooling, depthwise convolutions, additions) are one *class*: they
   move together.
2. Classes are sorted by who consumes them, earliest consumer first (for a grouped convolution, by group), then by the
   layer and channel they come from. So a producer's channels fall into one slice per distinct set of consumers.
3. A dense convolution's output takes that order; a grouped convolution's within each of its groups.
4. A tied layer that reads the whole of another keeps the other's order. One that reads parts of several layers gets
   its input joined in the total order.

Any order gives the same result, because consumers follow; a poor one only means more slices. Hence no refusal.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgekit.graph.network import Layer, Network, Wires, whole

Order = NDArray[np.int64]  # position -> original channel


def choose(network: Network) -> list[Order]:
    """The channel order of each layer: ``orders[layer][position]`` is the original channel found there."""
    ranks = _ranks(network)
    orders: list[Order] = []
    for layer, rank in zip(network.layers, ranks, strict=True):
        if layer.kind in ("input", "center"):
            orders.append(np.arange(layer.channels))
        elif layer.tied:
            orders.append(_tied_order(layer, network.layers, orders, rank))
        else:
            group = np.arange(layer.channels) // (layer.channels // layer.groups)
            orders.append(np.lexsort((rank, group)))
    return orders


def _tied_order(layer: Layer, layers: list[Layer], orders: list[Order], rank: NDArray[np.int64]) -> Order:
    for wires in layer.inputs:
        source = whole(wires, layers)
        if source is not None:
            at = np.empty(layer.channels, dtype=np.int64)
            at[wires[:, 1]] = np.arange(layer.channels)
            return at[orders[source]]
    return np.argsort(rank, kind="stable")


def _ranks(network: Network) -> list[NDArray[np.int64]]:
    """Each wire's place in the total order (rules 1 and 2), per layer ``[channels]``."""
    layers = network.layers
    offsets = np.concatenate([[0], np.cumsum([layer.channels for layer in layers])])
    parent = np.arange(offsets[-1])

    def find(wire: int) -> int:
        while parent[wire] != wire:
            parent[wire] = parent[parent[wire]]
            wire = int(parent[wire])
        return wire

    def flat(wires: Wires) -> NDArray[np.int64]:
        return np.asarray(offsets[wires[:, 0]] + wires[:, 1], dtype=np.int64)

    for index, layer in enumerate(layers):
        if layer.tied:
            for wires in layer.inputs:
                for channel, wire in enumerate(flat(wires).tolist()):
                    a, b = find(offsets[index] + channel), find(wire)
                    parent[max(a, b)] = min(a, b)  # the earliest wire stands for its class
    consumers: dict[int, set[tuple[int, int]]] = {}
    for index, layer in enumerate(layers):
        if not layer.tied:
            for wires in layer.inputs:
                size = len(wires) // layer.groups
                for j, wire in enumerate(flat(wires).tolist()):
                    consumers.setdefault(find(wire), set()).add((index, j // size))
    for wire in flat(network.output).tolist():
        consumers.setdefault(find(wire), set()).add((len(layers), 0))
    classes = [find(wire) for wire in range(int(offsets[-1]))]
    keys = {root: (sorted(consumers.get(root, ())), root) for root in set(classes)}
    place = {root: i for i, root in enumerate(sorted(keys, key=keys.__getitem__))}
    ranks = np.array([place[root] for root in classes], dtype=np.int64)
    return [ranks[a:b] for a, b in pairwise(offsets)]


def columns(network: Network, index: int, port: int, orders: list[Order], joined: dict[bytes, Wires]) -> Order:
    """In which order a layer reads the wires of one input: ``columns[position]`` indexes ``inputs[port]``.

    A tied layer must read them in its own order. A dense convolution reads them as an earlier layer already had the
    same set joined (``joined``, by sorted wires), else sorted by where they lie, which gives the fewest slices.
    """
    layer = network.layers[index]
    wires = layer.inputs[port]
    if layer.tied:
        return orders[index]
    earlier = joined.get(canonical(wires)) if layer.groups == 1 else None
    if earlier is not None:
        at: dict[tuple[int, int], list[int]] = {}  # a wire may be read twice, under different weights
        for i, (s, c) in enumerate(wires.tolist()):
            at.setdefault((s, c), []).append(i)
        return np.array([at[s, c].pop() for s, c in earlier.tolist()], dtype=np.int64)
    positions = {int(s): np.argsort(orders[s]) for s in np.unique(wires[:, 0])}
    lie = np.array([positions[int(s)][c] for s, c in wires], dtype=np.int64)
    group = np.arange(len(wires)) // (len(wires) // layer.groups)
    return np.lexsort((lie, wires[:, 0], group))


def canonical(wires: Wires) -> bytes:
    """A key that is equal for equal wires in any order."""
    return wires[np.lexsort((wires[:, 1], wires[:, 0]))].tobytes()
