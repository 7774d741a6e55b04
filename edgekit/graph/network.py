"""A network as its computing layers and the channels that connect them: the value between tracing and rebuilding.

Split, Slice, Gather, Concat and every spelling of a channel shuffle move channels and compute nothing, so they are not
layers. What is left of them is that each layer's input is a list of *wires*: (producing layer, channel) pairs.

A layer is **tied** when its output channel i depends on its input channel i alone (activation, pooling, depthwise
convolution, addition): it may run in any channel order as long as its parameters follow. A dense convolution takes a
set of wires and makes new ones: the order on either side is free.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal[
    "input", "center", "conv", "gemm", "affine", "relu", "clip", "sigmoid", "hardswish",
    "maxpool", "avgpool", "gap", "add", "mul", "softmax",
]  # fmt: skip
Floats = NDArray[np.float64]
Wires = NDArray[np.int64]  # [channels, 2]: producing layer's index in Network.layers, its channel

ELEMENTWISE = frozenset({"affine", "relu", "clip", "sigmoid", "hardswish"})
# Kinds that leave a non-negative input non-negative.
_KEEPS_SIGN = frozenset({"maxpool", "avgpool", "gap", "add", "mul"})


@dataclass
class Layer:
    """One computing layer. Weights are float64 while passes fold into them; they become float32 when rebuilt.

    ``weight`` is ``[O, I/groups, kh, kw]`` for conv and ``[O, I]`` for gemm; ``bias`` and ``scale`` are ``[O]``
    (``affine`` is scale·x + bias). ``pads`` are (top, left, bottom, right) pixels, ``kernel`` and ``strides``
    (vertical, horizontal). ``height`` and ``width`` are of the output.
    """

    name: str
    kind: Kind
    inputs: list[Wires]
    channels: int
    height: int
    width: int
    weight: Floats | None = None
    bias: Floats | None = None
    scale: Floats | None = None
    groups: int = 1
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    limits: tuple[float, float] = (0.0, 0.0)  # clip: lowest and highest value
    count_pads: bool = False  # avgpool: zeros of the padding count as pixels
    pad_value: float = 0.0  # maxpool: what the graph pads with
    colour: tuple[float, ...] = ()  # center: what is subtracted, a value per channel

    @property
    def depthwise(self) -> bool:
        return self.kind == "conv" and self.groups == self.channels == len(self.inputs[0]) and self.groups > 1

    @property
    def tied(self) -> bool:
        return self.depthwise or self.kind not in ("input", "center", "conv", "gemm")

    @property
    def parameters(self) -> tuple[Floats, Floats]:
        """Weight and bias of a conv or gemm."""
        if self.weight is None or self.bias is None:
            raise AssertionError(f"{self.name} has no weights")
        return self.weight, self.bias


@dataclass
class Network:
    """Layers in an order in which each reads only earlier ones, and the wires of the one output."""

    layers: list[Layer]
    output: Wires
    notes: list[str] = field(default_factory=list)

    def uses(self) -> dict[int, list[tuple[int, int]]]:
        """For each layer, the (consumer, port) pairs that read any of its channels; the output is consumer -1."""
        found: dict[int, list[tuple[int, int]]] = {i: [] for i in range(len(self.layers))}
        for i, layer in enumerate(self.layers):
            for port, wires in enumerate(layer.inputs):
                for source in np.unique(wires[:, 0]):
                    found[int(source)].append((i, port))
        for source in np.unique(self.output[:, 0]):
            found[int(source)].append((-1, 0))
        return found

    def non_negative(self) -> list[bool]:
        """Per layer, whether no output value can be below zero."""
        sure: list[bool] = []
        for layer in self.layers:
            inputs = all(all(sure[int(s)] for s in np.unique(wires[:, 0])) for wires in layer.inputs)
            sure.append(
                layer.kind in ("relu", "sigmoid", "softmax")
                or (layer.kind == "clip" and layer.limits[0] >= 0)
                or (layer.kind in _KEEPS_SIGN and bool(layer.inputs) and inputs)
            )
        return sure


def live(network: Network) -> list[NDArray[np.bool_]]:
    """Per layer, which of its channels the output depends on."""
    found = [np.zeros(layer.channels, dtype=bool) for layer in network.layers]
    for source, channel in network.output:
        found[source][channel] = True
    for index in reversed(range(len(network.layers))):
        layer = network.layers[index]
        for wires in layer.inputs:
            read = wires[found[index]] if layer.tied else wires if found[index].any() else wires[:0]
            for source in np.unique(read[:, 0]):
                found[source][read[read[:, 0] == source, 1]] = True
    return found


def whole(wires: Wires, layers: list[Layer]) -> int | None:
    """The one layer of which ``wires`` takes every channel exactly once, in any order; None if there is no such."""
    source = int(wires[0, 0])
    if np.any(wires[:, 0] != source) or len(wires) != layers[source].channels:
        return None
    return source if len(np.unique(wires[:, 1])) == len(wires) else None


def redirect(network: Network, old: int, new: int, channels: NDArray[np.bool_] | None = None) -> None:
    """Makes every reader of layer ``old`` read layer ``new`` instead, on the channels given (all by default)."""
    for wires in [network.output, *(w for layer in network.layers for w in layer.inputs)]:
        here = wires[:, 0] == old
        if channels is not None:
            here[here] = channels[wires[here, 1]]
        wires[here, 0] = new


def prune(network: Network) -> Network:
    """Drops the layers that no output depends on."""
    alive = {int(i) for i in np.unique(network.output[:, 0])}
    for i in reversed(range(len(network.layers))):
        if i in alive:
            for wires in network.layers[i].inputs:
                alive.update(int(s) for s in np.unique(wires[:, 0]))
    alive.update(i for i, layer in enumerate(network.layers) if layer.kind == "input")
    index = np.full(len(network.layers), -1)
    kept = sorted(alive)
    index[kept] = np.arange(len(kept))

    def moved(wires: Wires) -> Wires:
        return np.stack([index[wires[:, 0]], wires[:, 1]], axis=1)

    layers = [network.layers[i] for i in kept]
    for layer in layers:
        layer.inputs = [moved(wires) for wires in layer.inputs]
    return Network(layers, moved(network.output), network.notes)
