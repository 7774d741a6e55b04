"""Normalization folded into the first convolution, so that the model eats uint8 RGB pixels.

Rules
1. x[c] = (p[order c] - mean[c]) / std[c] followed by a convolution is a convolution of p with weights W / std, columns
   in RGB order, and bias b - Σ W·mean/std.
2. Where that convolution pads, its zeros stand for the *mean colour*, which zero pixels are not. There only the
   deviation is folded, and one Sub takes the mean off; it is exact, and costs 0.4 % of a float inference. (The int8
   graph has no Sub: its input's zero point is a gray near the mean, see :mod:`edgekit.quantize`.)
3. If the picture's first reader is not a convolution, a depthwise 1×1 convolution normalizes it.
Refuses nothing. Exact in real numbers.
"""

from __future__ import annotations

import numpy as np

from edgekit.contracts import Normalization
from edgekit.graph.network import Layer, Network, prune, redirect

_RGB = {"rgb": np.array([0, 1, 2]), "bgr": np.array([2, 1, 0])}


def fold_normalization(network: Network, normalization: Normalization) -> Network:
    """Makes layer 0 the picture's RGB pixels in 0–255 instead of the source network's own float input."""
    mean, std = np.array(normalization.mean), np.array(normalization.std)
    order = _RGB[normalization.order]
    readers = sorted({i for i, _ in network.uses()[0]})
    first = network.layers[readers[0]] if len(readers) == 1 else None
    if first is not None and first.kind == "affine" and first.scale is not None and first.bias is not None:
        # a·(p - m)/s + b is another mean and deviation.
        scale, shift = first.scale[first.inputs[0][:, 1]], first.bias
        mean, std = mean - shift * std / scale, std / scale
        redirect(network, readers[0], 0)
        network = prune(network)
        readers = sorted({i for i, _ in network.uses()[0]})
    if not all(i >= 0 and network.layers[i].kind == "conv" and network.layers[i].groups == 1 for i in readers):
        return _normalize_first(network, order, mean, std)
    colour = np.empty(3)
    colour[order] = mean
    center = len(network.layers)
    for index in readers:
        layer = network.layers[index]
        weight, bias = layer.parameters
        channels = layer.inputs[0][:, 1].copy()
        layer.weight = weight / std[channels][None, :, None, None]
        layer.inputs[0][:, 1] = order[channels]
        if any(layer.pads) and np.any(colour):
            layer.inputs[0][:, 0] = center
        else:
            layer.bias = bias - np.einsum("oikl,i->o", layer.weight, mean[channels])
    of = network.layers[0]
    wires = np.stack([np.zeros(3, dtype=np.int64), np.arange(3)], axis=1)
    network.layers.append(Layer("center", "center", [wires], 3, of.height, of.width, colour=tuple(colour.tolist())))
    return prune(sort(network))


def _normalize_first(network: Network, order: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Network:
    of = network.layers[0]
    index = len(network.layers)
    redirect(network, 0, index)
    wires = np.stack([np.zeros(3, dtype=np.int64), order], axis=1)
    weight = (1.0 / std).reshape(3, 1, 1, 1)
    network.layers.append(Layer("normalize", "conv", [wires], 3, of.height, of.width, weight, -mean / std, groups=3))
    return prune(sort(network))


def sort(network: Network) -> Network:
    """Layers in an order in which each reads only earlier ones, otherwise as they were."""
    done: list[int] = []
    placed: set[int] = set()
    waiting = list(range(len(network.layers)))
    while waiting:
        for index in waiting:
            if all(int(s) in placed for wires in network.layers[index].inputs for s in np.unique(wires[:, 0])):
                break
        done.append(index)
        placed.add(index)
        waiting.remove(index)
    position = np.argsort(done)
    layers = [network.layers[i] for i in done]
    for layer in layers:
        layer.inputs = [np.stack([position[w[:, 0]], w[:, 1]], axis=1) for w in layer.inputs]
    output = np.stack([position[network.output[:, 0]], network.output[:, 1]], axis=1)
    return Network(layers, output, network.notes)
