"""Batch normalization and other per-channel scale-and-shift, folded into the convolution before it.

Rules
1. y = a·(W x + b) + c becomes (a·W) x + (a·b + c), channel by channel, where nothing else reads that channel of the
   convolution. Chains fold from the front.
2. What is left (after a pooling, or beside another reader) becomes a depthwise 1×1 convolution.
Refuses nothing. Exact in real numbers; weights are float64 until the graph is rebuilt.
"""

from __future__ import annotations

import numpy as np

from edgekit.graph.network import Layer, Network, live, prune, redirect


def fold_affine(network: Network) -> Network:
    """Folds every ``affine`` layer but one that the whole input passes (:mod:`edgekit.graph.front` takes that)."""
    for index, layer in enumerate(network.layers):
        if layer.kind == "affine":
            _fold(network, index)
    first = _sole_input_affine(network)
    for index, layer in enumerate(network.layers):
        if layer.kind == "affine" and index != first:
            _as_convolution(layer)
    return prune(network)


def _readers(network: Network, source: int) -> tuple[np.ndarray, np.ndarray]:
    """Per channel of ``source``: how many live layers (or the output) read it, and the last of them."""
    count = np.zeros(network.layers[source].channels, dtype=int)
    last = np.full(network.layers[source].channels, -1)
    alive = live(network)
    for index, layer in enumerate(network.layers):
        if not alive[index].any():
            continue
        wires = [w[alive[index]] if layer.tied else w for w in layer.inputs]
        read = list({int(c) for w in wires for c in w[w[:, 0] == source, 1]})
        count[read] += 1
        last[read] = index
    count[np.unique(network.output[network.output[:, 0] == source, 1])] += 1
    return count, last


def _fold(network: Network, index: int) -> None:
    layer = network.layers[index]
    if layer.scale is None or layer.bias is None:
        raise AssertionError(f"{layer.name} is no affine layer")
    source = int(layer.inputs[0][0, 0])
    of = network.layers[source]
    count, last = _readers(network, source)
    ours = (count == 1) & (last == index)
    if of.kind in ("conv", "gemm") and ours.any():
        weight, bias = of.parameters
        scale = np.where(ours, layer.scale, 1.0)
        of.weight = weight * scale.reshape((-1,) + (1,) * (weight.ndim - 1))
        of.bias = bias * scale + np.where(ours, layer.bias, 0.0)
    elif of.kind == "affine" and ours.all() and of.scale is not None and of.bias is not None:
        of.scale, of.bias = of.scale * layer.scale, of.bias * layer.scale + layer.bias
    else:
        return
    redirect(network, index, source, ours)


def _sole_input_affine(network: Network) -> int | None:
    readers = {i for i, _ in network.uses()[0] if i >= 0}
    index = readers.pop() if len(readers) == 1 else None
    return index if index is not None and network.layers[index].kind == "affine" else None


def _as_convolution(layer: Layer) -> None:
    if layer.scale is None:
        raise AssertionError(f"{layer.name} is no affine layer")
    layer.weight, layer.scale = layer.scale.reshape(-1, 1, 1, 1), None
    layer.kind, layer.groups = "conv", layer.channels
