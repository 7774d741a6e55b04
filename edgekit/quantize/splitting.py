"""Channel splitting: a channel that spoils the scores is computed twice, half a step apart.

In a depthwise block a handful of channels often carry most of the rounding noise, and equalization cannot help: each
already uses all 255 steps. So such a channel gets k copies, whose zero points lie 1/k of a step apart, and its reader
takes their mean: the same sum in real numbers, with steps of 1/k. (Zhao et al., "Improving Neural Network Quantization
without Retraining using Outlier Channel Splitting", 2019, arXiv:1901.09504, halve an outlier's *range* the same way.)

Only chains are split whose copies nobody else sees: a layer, depthwise layers after it, and one dense or grouped layer
that reads the last of them. Every reading group must grow by the same number of channels. Copies are added as long as
they take away more noise than they add multiplications, and not at all where int8 is accurate enough without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import CalibrationError
from edgekit.quantize.affine import Affine
from edgekit.quantize.constants import BIAS, WEIGHT, constant, replace_constant
from edgekit.quantize.network import LAYERS, Network, Op
from edgekit.quantize.points import Points

# Predicted noise that a step of copies must take away, as a multiple of the share of multiplications it adds.
_WORTH = 2.0
# A chain that carries less than this share of the noise stays as it is.
_LEAST_SHARE = 0.05
# Predicted signal-to-noise ratio of the scores from which on answers hardly change: nothing is split there.
ENOUGH_DB = 26.0
_MOST_COPIES = 4


@dataclass(frozen=True, slots=True)
class Chain:
    """``maker`` and depthwise layers after it, each reading the one before alone; ``reader`` reads the last."""

    maker: Op
    depthwise: tuple[Op, ...]
    reader: Op

    @property
    def layers(self) -> tuple[Op, ...]:
        return (self.maker, *self.depthwise)


@dataclass(frozen=True, slots=True)
class Splits:
    """``orders``: maker's name → the original channel that each of its new channels is a copy of.

    ``remaining``: tied group → share of its rounding noise that is left.
    """

    orders: Mapping[str, tuple[int, ...]]
    remaining: Mapping[str, float]


def chains(network: Network, points: Points) -> tuple[Chain, ...]:
    """Every chain of integer layers whose channels may be copied."""
    found = []
    for op in network.layers:
        if op.depthwise or op.group != 1 or op.kind != "Conv":
            continue
        depthwise: list[Op] = []
        while True:
            value = network.result(depthwise[-1] if depthwise else op)
            users = network.consumers.get(value, ())
            alone = points.members.get(points.group.get(value, ""), ()) == (value,)
            if len(users) != 1 or not alone or value == network.output or users[0].kind not in LAYERS:
                break
            if not users[0].depthwise or users[0].weight.shape[0] != network.channels[value]:
                layers = (op, *depthwise, users[0])
                if not any(layer.name in points.float_ops for layer in layers) and not users[0].depthwise:
                    found.append(Chain(op, tuple(depthwise), users[0]))
                break
            depthwise.append(users[0])
    return tuple(found)


def choose(
    network: Network,
    points: Points,
    affine: Mapping[str, Affine],
    influence: Mapping[str, NDArray[np.float64]],
    signal: float,
) -> Splits:
    """Which channels get copies.

    Args:
        influence: value → ``[C]``, squared change of the scores per squared error of a channel.
        signal: sum over classes of the scores' mean square.
    """
    # The variance of a rounding error: a uniform distribution one step wide.
    noise = {
        name: affine[points.group[name]].scale ** 2 / 12 * effect
        for name, effect in influence.items()
        if name in points.group
    }
    total = sum(float(part.sum()) for part in noise.values())
    if total <= 0 or 10 * np.log10(signal / total) >= ENOUGH_DB:
        return Splits({}, {})
    work = sum(_multiplications(network, op) for op in network.layers)
    orders, remaining = {}, {}
    for chain in chains(network, points):
        of_channel = sum(noise[network.result(op)] for op in chain.layers if network.result(op) in noise)
        if not isinstance(of_channel, np.ndarray) or float(of_channel.sum()) < _LEAST_SHARE * total:
            continue
        groups = chain.reader.group
        cost = groups * sum(_multiplications(network, op) / len(of_channel) for op in (*chain.layers, chain.reader))
        copies = np.ones(len(of_channel), dtype=int)
        while True:
            gain = np.where(copies < _MOST_COPIES, of_channel * (1 / copies**2 - 1 / (copies + 1) ** 2), 0)
            best = gain.reshape(groups, -1).argmax(1) + np.arange(groups) * (len(gain) // groups)
            if float(gain[best].sum()) / total < _WORTH * cost / work:
                break
            copies[best] += 1
        if copies.max() > 1:
            orders[chain.maker.name] = _order(copies, groups)
            for value in map(network.result, chain.layers):
                if value in noise:
                    remaining[points.group[value]] = float((noise[value] / copies**2).sum() / noise[value].sum())
    return Splits(orders, remaining)


def _order(copies: NDArray[np.int_], groups: int) -> tuple[int, ...]:
    """Channels by reading group: its own first, as they were, and then the copies."""
    order: list[int] = []
    for members in np.arange(len(copies)).reshape(groups, -1):
        order.extend(members.tolist())
        order.extend(int(channel) for channel in members for _ in range(copies[channel] - 1))
    return tuple(order)


def _multiplications(network: Network, op: Op) -> float:
    return float(network.elements[op.output] * op.weight[0].size)


def apply(
    model: ir.Model, network: Network, points: Points, affine: Mapping[str, Affine], splits: Mapping[str, Sequence[int]]
) -> ir.Model:
    """A copy of ``model`` with the chains of ``splits`` widened; the same scores in real numbers.

    At a padded border, and next to a ReLU's corner, a copy is off by its shift, but its twin is by the opposite.

    Raises:
        CalibrationError: an order that does not fit its layer.
    """
    if not splits:
        return model
    copy = model.clone()
    nodes = {node.outputs[0].name: node for node in copy.graph}
    for chain in chains(network, points):
        if chain.maker.name not in splits:
            continue
        order = _checked(chain, network, splits[chain.maker.name])
        share = _share(order)
        offset = np.zeros(len(order))  # of the value that the next layer reads
        for op in chain.layers:
            node, value = nodes[op.output], network.result(op)
            weight, bias = op.weight.astype(np.float64)[order], constant(node, BIAS)[order]
            if op.depthwise:
                bias = bias - weight.reshape(len(order), -1).sum(1) * offset
                node.attributes["group"] = ir.AttrInt64("group", len(order))
            offset = affine[points.group[value]].scale * share
            replace_constant(copy.graph, node, WEIGHT, weight)
            replace_constant(copy.graph, node, BIAS, bias + offset)
            for name in {op.output, value}:
                _widen(nodes[name].outputs[0], len(order))
        _read_means(copy.graph, nodes[chain.reader.output], chain.reader, order, offset)
    return copy


def _checked(chain: Chain, network: Network, order: Sequence[int]) -> NDArray[np.int_]:
    channels, groups = network.channels[chain.maker.output], chain.reader.group
    found = np.array(order, dtype=int)
    fits = len(found) % groups == 0 and (np.bincount(found.clip(0), minlength=channels) > 0).all()
    own = np.arange(channels) // (channels // groups)
    if not fits or found.min() < 0 or found.max() >= channels or (np.diff(own[found]) < 0).any():
        raise CalibrationError(
            f"the table of ranges splits the {channels} channels of {chain.maker.name!r} in a way that they cannot be",
            hint="calibrate this checkpoint again",
        )
    return found


def _share(order: NDArray[np.int_]) -> NDArray[np.float64]:
    """How far each copy is shifted, in steps: k copies lie 1/k apart, symmetrically around no shift."""
    count = np.bincount(order)
    seen = np.zeros(len(count), dtype=int)
    share = np.empty(len(order))
    for index, channel in enumerate(order):
        share[index] = (seen[channel] + 0.5) / count[channel] - 0.5
        seen[channel] += 1
    return share


def _read_means(
    graph: ir.Graph, node: ir.Node, reader: Op, order: NDArray[np.int_], offset: NDArray[np.float64]
) -> None:
    rows, depth = reader.weight.shape[:2]
    groups = reader.group
    old = reader.weight.astype(np.float64)
    per_row = order.reshape(groups, -1)[np.arange(rows) // (rows // groups)]  # [O, new I/g], original channels
    local = per_row - (np.arange(rows) // (rows // groups) * depth)[:, None]
    weight = np.take_along_axis(old, local.reshape(*local.shape, *([1] * (old.ndim - 2))), 1)
    count = np.bincount(order)[per_row]
    weight = weight / count.reshape(*count.shape, *([1] * (old.ndim - 2)))
    shifted = offset.reshape(groups, -1)[np.arange(rows) // (rows // groups)]
    bias = constant(node, BIAS) - (weight.reshape(rows, weight.shape[1], -1).sum(2) * shifted).sum(1)
    replace_constant(graph, node, WEIGHT, weight)
    replace_constant(graph, node, BIAS, bias)


def _widen(value: ir.Value, channels: int) -> None:
    dims = () if value.shape is None else value.shape.dims
    value.shape = ir.Shape([*dims[:1], channels, *dims[2:]])
