"""Channels rounded up to what integer kernels work in, with channels of zeros.

ONNX Runtime's packed int8 convolutions want channel counts that are multiples of 4, and its depthwise ones multiples
of 16 (MLAS ``convsym``); anything else falls back to im2col, at twice the time and more. A network of width 58 gains
most: 64 channels cost it half of what 58 do. XNNPACK rounds up inside, so the zeros cost it nothing there.

Rules
1. Where a dense convolution's channels go, whole and to nobody else, through activations and a depthwise convolution
   into one dense convolution, all of them get channels up to the next multiple of 16; if that adds at most an eighth.
2. Any other dense convolution's outputs, if they are split anyway, are rounded up to a multiple of 4; nobody reads
   the new ones.
3. A dense convolution that reads a number of channels that is not a multiple of 4 also reads some that rule 2 made,
   under weights of zero, if one of its sources has enough of them and no other layer reads the same channels: those
   two share one Concat.
New channels have zero weights and bias: exact. Grouped convolutions, classifier and residual additions are left alone.
This comes last: the new channels are dead, and pruning would take them away again.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from edgekit.graph.network import ELEMENTWISE, Layer, Network, whole
from edgekit.graph.order import canonical

_WIDE, _NARROW = 16, 4
_MOST_GROWTH = 1 / 8


def align(network: Network) -> Network:
    """Applies the module's rules to ``network`` and returns it."""
    uses = network.uses()
    spare: dict[int, list[int]] = {}  # layer -> channels that rule 2 made
    for index, layer in enumerate(network.layers):
        if not _dense(layer):
            continue
        chain = _private_chain(network, uses, index)
        wide = _missing(layer.channels, _WIDE)
        if chain and any(network.layers[i].depthwise for i in chain) and wide <= layer.channels * _MOST_GROWTH:
            if wide:
                _grow(network, [index, *chain[:-1]], wide)
                _read_more(network.layers[chain[-1]], chain[-2], range(layer.channels - wide, layer.channels))
            continue
        tied = _elementwise_after(network, uses, index)
        new = _missing(layer.channels, _NARROW)
        if new and tied is not None:
            _grow(network, [index, *tied], new)
            spare[tied[-1] if tied else index] = list(range(layer.channels - new, layer.channels))
    shared = Counter(canonical(wires) for layer in network.layers for wires in layer.inputs)
    for layer in network.layers:
        if not _dense(layer) or shared[canonical(layer.inputs[0])] > 1:
            continue
        if (missing := _missing(len(layer.inputs[0]), _NARROW)) != 0:
            sources = [int(s) for s in np.unique(layer.inputs[0][:, 0]) if len(spare.get(int(s), ())) >= missing]
            if sources:
                _read_more(layer, sources[-1], spare[sources[-1]][:missing])
    return network


def _missing(count: int, multiple: int) -> int:
    return -count % multiple


def _dense(layer: Layer) -> bool:
    return layer.kind == "conv" and layer.groups == 1


def _sole_reader(network: Network, uses: dict[int, list[tuple[int, int]]], index: int) -> int | None:
    """The one layer that reads all of layer ``index`` and nothing else; None if there is no such."""
    readers = uses[index]
    if len(readers) != 1 or readers[0][0] < 0:
        return None
    reader = network.layers[readers[0][0]]
    return readers[0][0] if len(reader.inputs) == 1 and whole(reader.inputs[0], network.layers) == index else None


def _private_chain(network: Network, uses: dict[int, list[tuple[int, int]]], index: int) -> list[int] | None:
    """Rule 1: the layers after ``index`` up to and with the dense convolution that ends the chain."""
    chain: list[int] = []
    at = index
    while (reader := _sole_reader(network, uses, at)) is not None:
        layer = network.layers[reader]
        chain.append(reader)
        if _dense(layer):
            return chain
        if layer.kind not in ELEMENTWISE and not layer.depthwise:
            return None
        at = reader
    return None


def _elementwise_after(network: Network, uses: dict[int, list[tuple[int, int]]], index: int) -> list[int] | None:
    """Rule 2: the activations that follow alone; None where what they make is not split, or leaves the network."""
    after: list[int] = []
    at = index
    while (reader := _sole_reader(network, uses, at)) is not None and network.layers[reader].kind in ELEMENTWISE:
        after.append(reader)
        at = reader
    if any(reader < 0 for reader, _ in uses[at]):
        return None
    count = network.layers[at].channels
    read = [int((network.layers[i].inputs[port][:, 0] == at).sum()) for i, port in uses[at]]
    return after if any(0 < channels < count for channels in read) else None


def _padded(array: NDArray[np.float64] | None, new: int) -> NDArray[np.float64] | None:
    return None if array is None else np.concatenate([array, np.zeros((new, *array.shape[1:]))])


def _grow(network: Network, indices: list[int], new: int) -> None:
    """Gives a dense convolution and the tied layers after it ``new`` channels of zeros."""
    for position, index in enumerate(indices):
        layer = network.layers[index]
        depthwise = layer.depthwise
        if position:
            before = network.layers[indices[position - 1]].channels
            extra = np.stack([np.full(new, indices[position - 1]), np.arange(before - new, before)], axis=1)
            layer.inputs[0] = np.concatenate([layer.inputs[0], extra])
        layer.weight, layer.bias = _padded(layer.weight, new), _padded(layer.bias, new)
        layer.scale = _padded(layer.scale, new)
        layer.channels += new
        if depthwise:
            layer.groups = layer.channels


def _read_more(layer: Layer, source: int, channels: range | list[int]) -> None:
    """Makes a dense convolution read more channels, under weights of zero."""
    if layer.weight is None:
        raise AssertionError(f"{layer.name} has no weights")
    extra = np.stack([np.full(len(channels), source), np.array(channels)], axis=1)
    layer.inputs[0] = np.concatenate([layer.inputs[0], extra])
    zeros = np.zeros((layer.weight.shape[0], len(channels), *layer.weight.shape[2:]))
    layer.weight = np.concatenate([layer.weight, zeros], axis=1)
