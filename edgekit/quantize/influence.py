"""How much an error at each place moves the scores, to first order, measured by backward passes on real images.

For scores y(x) and a random direction v ~ N(0, I), g = ∂(vᵀy)/∂x gives E_v[(g·e)²] = ‖J e‖²: the squared change of the
scores that a small error e at x makes. Averages of squared gradients therefore turn a rounding step anywhere in the
network, of an activation or of a weight, into the noise that it adds to the output (the diagonal of the Gauss-Newton
matrix; compare Dong et al., "HAWQ-V2", 2019, arXiv:1911.03852).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edgekit.quantize.collect import ImageSource, batch, batch_size
from edgekit.quantize.interpreter import convolve, evaluate, torch_threads
from edgekit.quantize.network import LAYERS, Network
from edgekit.quantize.points import observed

IMAGES = 24
_DIRECTIONS = 2
_SEED = 20


@dataclass(frozen=True, eq=False)
class Influence:
    """Squared change of the scores (summed over classes) per squared error.

    Attributes:
        activations: value name → ``[C]``: of independent errors at every non-zero element of a channel.
        weights: layer name → ``[O, I/g, kh, kw]`` or ``[O, I]``: of an error in one weight, its mean effect being taken
            up by the bias.
        signal: the scores' mean square, summed over classes.
    """

    activations: Mapping[str, NDArray[np.float64]]
    weights: Mapping[str, NDArray[np.float64]]
    signal: float


def spread_images(images: ImageSource, count: int) -> NDArray[np.uint8]:
    """``count`` images spread evenly over the source."""
    if count >= len(images):
        return batch(images, 0, len(images))
    wanted = np.linspace(0, len(images) - 1, count).round().astype(int)
    return np.concatenate([batch(images, int(i), int(i) + 1) for i in wanted])


def measure(network: Network, images: ImageSource, *, threads: int = 2) -> Influence:
    """Influence of every measured activation and every weight, averaged over at most :data:`IMAGES` images."""
    names = observed(network)
    weights = {op.name: torch.tensor(op.weight, requires_grad=True) for op in network.layers}
    biases = {op.name: torch.tensor(op.bias, requires_grad=True) for op in network.layers}
    of_activations = {name: torch.zeros(network.channels[name], dtype=torch.float64) for name in names}
    of_weights = {name: torch.zeros(weight.shape, dtype=torch.float64) for name, weight in weights.items()}
    turns, signal = 0, 0.0
    pictures = spread_images(images, IMAGES)
    with torch_threads(threads):
        for image in pictures:
            values = _forward(network, image[None], weights, biases)
            signal += float(values[network.output].detach().double().square().sum())
            activations = [values[name] for name in names]
            means = {
                op.name: _input_mean(values[op.inputs[0]].detach(), weights[op.name], op.group) for op in network.layers
            }
            wanted = [*activations, *weights.values(), *biases.values()]
            for slopes in _backward(values[network.output], wanted, turns):
                turns += 1
                for name, value, slope in zip(names, activations, slopes[: len(names)], strict=True):
                    # A ReLU's zeros are exact in integers: no error there.
                    squared = torch.where(value != 0, slope, 0).square()[0]
                    of_activations[name] += squared.reshape(len(squared), -1).sum(1)
                of_layers = slopes[len(names) :]
                for index, op in enumerate(network.layers):
                    by_weight, by_bias = of_layers[index], of_layers[len(weights) + index]
                    by_bias = by_bias.reshape(-1, *([1] * (by_weight.ndim - 1)))
                    of_weights[op.name] += (by_weight - by_bias * means[op.name]).square()
    return Influence(
        {name: (value / turns).numpy() for name, value in of_activations.items()},
        {name: (value / turns).numpy() for name, value in of_weights.items()},
        signal / len(pictures),
    )


def batched_gradients(
    network: Network, images: ImageSource, wanted: Iterable[int], names: Sequence[str], *, threads: int = 2
) -> Iterator[tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """For batches of the ``wanted`` images and each direction: the values called ``names`` and the gradients at them.

    An image's scores depend on itself alone, so that one backward pass from a direction per image serves a batch.
    """
    weights = {op.name: torch.tensor(op.weight, requires_grad=True) for op in network.layers}
    biases = {op.name: torch.tensor(op.bias) for op in network.layers}
    order = [int(index) for index in wanted]
    # Values, what autograd keeps of them, and the slopes: four times the memory of the values alone.
    size = max(1, batch_size(network, names) // 4)
    with torch_threads(threads):
        for start in range(0, len(order), size):
            part = np.concatenate([batch(images, i, i + 1) for i in order[start : start + size]])
            values = _forward(network, part, weights, biases)
            found = [values[name] for name in names]
            for slopes in _backward(values[network.output], found, start * _DIRECTIONS):
                yield [value.detach() for value in found], slopes


def _forward(
    network: Network,
    images: NDArray[np.uint8],
    weights: Mapping[str, torch.Tensor],
    biases: Mapping[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    values = {network.input: torch.from_numpy(images.copy())}
    for op in network.ops:
        inputs = [values[name] for name in op.inputs]
        if op.kind in LAYERS:
            outputs = [convolve(op, inputs[0], weights[op.name], biases[op.name])]
        else:
            outputs = evaluate(op, inputs, len(images))
        values.update(zip(op.outputs, outputs, strict=True))
    return values


def _backward(scores: torch.Tensor, wanted: list[torch.Tensor], seed: int) -> Iterator[list[torch.Tensor]]:
    for turn in range(_DIRECTIONS):
        direction = torch.randn(scores.shape, generator=torch.Generator().manual_seed(_SEED + seed + turn))
        last = turn + 1 == _DIRECTIONS
        found = torch.autograd.grad(scores, wanted, direction, retain_graph=not last, allow_unused=True)
        yield [torch.zeros_like(value) if slope is None else slope for value, slope in zip(wanted, found, strict=True)]


def _input_mean(source: torch.Tensor, weight: torch.Tensor, groups: int) -> torch.Tensor:
    """The layer input's mean by channel, shaped to go with its weight gradient ``[O, I/g, …]``."""
    mean = source[0].reshape(source.shape[1], -1).mean(1).reshape(groups, -1)
    rows = mean.repeat_interleave(weight.shape[0] // groups, 0)
    return rows.reshape(*rows.shape, *([1] * (weight.ndim - 2)))
