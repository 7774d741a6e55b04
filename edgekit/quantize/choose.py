"""Which observer's range each tensor gets: the one whose integers disturb the scores least, measured on images.

For every candidate range, the tensor's own values are quantized with it, and the error is carried to the scores by the
gradient at that tensor (see :mod:`edgekit.quantize.influence`). Rounding errors are independent and add up by their
squares; clipped values are all wrong in the same direction and add up before squaring. Tensors that are tied to one
scale are judged together.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from edgekit.quantize.affine import Affine, from_range
from edgekit.quantize.collect import ImageSource
from edgekit.quantize.influence import gradients, spread_images
from edgekit.quantize.network import Network
from edgekit.quantize.observers import OBSERVERS, Range
from edgekit.quantize.points import Points
from edgekit.quantize.statistics import TensorStatistics

_IMAGES = 16
# A narrower range than what was seen must promise this much less noise: pictures to come will go beyond what was seen.
_GAIN = 0.8


def choose(
    network: Network,
    points: Points,
    statistics: Mapping[str, TensorStatistics],
    images: ImageSource,
    *,
    threads: int = 2,
) -> dict[str, str]:
    """Value name → name of the observer in :data:`~edgekit.quantize.observers.OBSERVERS`, one per tied group."""
    groups = {
        group: [name for name in members if name in statistics]
        for group, members in points.members.items()
        if group not in points.fixed
    }
    groups = {group: names for group, names in groups.items() if names}
    candidates = {group: _candidates(names, statistics) for group, names in groups.items()}
    noise = {group: torch.zeros(len(found), dtype=torch.float64) for group, found in candidates.items()}
    names = [name for members in groups.values() for name in members]
    group_of = {name: group for group, members in groups.items() for name in members}
    for values, slopes in gradients(network, spread_images(images, _IMAGES), names, threads=threads):
        for name, value, slope in zip(names, values, slopes, strict=True):
            group = group_of[name]
            for index, affine in enumerate(candidates[group].values()):
                noise[group][index] += _noise(value, slope, affine)
    chosen: dict[str, str] = {}
    for group, members in groups.items():
        observers = list(candidates[group])
        costs = noise[group].tolist()
        best = min(range(len(costs)), key=costs.__getitem__)
        # The first candidate is minmax, which clips nothing.
        winner = observers[best] if costs[best] < _GAIN * costs[0] else observers[0]
        chosen.update(dict.fromkeys(members, winner))
    return chosen


def _candidates(names: list[str], statistics: Mapping[str, TensorStatistics]) -> dict[str, Affine]:
    found: dict[str, Affine] = {}
    for observer, function in OBSERVERS.items():
        ranges: list[Range] = [function(statistics[name]) for name in names]
        affine = from_range(min(low for low, _ in ranges), max(high for _, high in ranges))
        if affine not in found.values():
            found[observer] = affine
    return found


def _noise(value: torch.Tensor, slope: torch.Tensor, affine: Affine) -> float:
    error = torch.fake_quantize_per_tensor_affine(value, affine.scale, affine.zero_point, 0, 255) - value
    moved = error * slope
    clipped = (value < affine.low - affine.scale / 2) | (value > affine.high + affine.scale / 2)
    together = float(torch.where(clipped, moved, 0).sum(dtype=torch.float64))
    return float(torch.where(clipped, 0, moved).square().sum(dtype=torch.float64)) + together * together
