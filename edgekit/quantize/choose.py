"""Which range each tensor gets: the one whose integers disturb the scores least, measured on images.

For every candidate range, the tensor's own values are quantized with it, and the error is carried to the scores by the
gradient at that tensor (see :mod:`edgekit.quantize.influence`). Rounding errors are independent and add up by their
squares; clipped values are all wrong in the same direction and add up before squaring. Tensors that are tied to one
scale are judged together.

Calibration pictures often show few of the classes that the device will see. What is left after global pooling is
evidence for classes, few values that nothing averages out, and their rounding hardly matters; so those tensors clip
nothing and get room beyond what was seen. On an ImageNet network calibrated with ten classes, clipping of the pooled
features was a quarter of all noise without this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from edgekit.quantize.affine import Affine, from_range
from edgekit.quantize.collect import ImageSource
from edgekit.quantize.influence import gradients, spread_images
from edgekit.quantize.network import Network
from edgekit.quantize.observers import EXTREME, OBSERVERS, Range
from edgekit.quantize.points import Points
from edgekit.quantize.statistics import TensorStatistics

_IMAGES = 12
# The moving average is left out: it clips every picture's own extremes, by as much as it happens to lag.
_CLIPPING = ("percentile", "entropy", "mse")
# A range that clips must promise this much less noise than one that does not: pictures to come reach further.
_GAIN = 0.8
# What the ranges of class evidence are multiplied by. Scores get less: near ties between them are decided by one step.
_ROOM_FOR_FEATURES = 1.5
_ROOM_FOR_SCORES = 1.1


@dataclass(frozen=True, slots=True)
class Choice:
    """An observer's name and what its range is multiplied by."""

    observer: str
    room: float = 1.0

    @property
    def name(self) -> str:
        return self.observer if self.room == 1 else f"{self.observer} × {self.room:g}"

    def range(self, statistics: TensorStatistics) -> Range:
        """The range itself."""
        low, high = OBSERVERS[self.observer](statistics)
        return low * self.room, high * self.room


def choose(
    network: Network,
    points: Points,
    statistics: Mapping[str, TensorStatistics],
    images: ImageSource,
    *,
    threads: int = 2,
) -> dict[str, Choice]:
    """Value name → what its range is made with; one choice per tied group."""
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
    chosen: dict[str, Choice] = {}
    evidence = _after_pooling(network)
    for group, members in groups.items():
        choices, costs = list(candidates[group]), noise[group].tolist()
        best = min(range(len(costs)), key=costs.__getitem__)
        winner = choices[best] if costs[best] < _GAIN * costs[0] else choices[0]
        if network.output in points.members[group]:
            winner = Choice(EXTREME, _ROOM_FOR_SCORES)
        elif evidence.intersection(members):
            winner = Choice(EXTREME, _ROOM_FOR_FEATURES)
        chosen.update(dict.fromkeys(members, winner))
    return chosen


def _candidates(names: list[str], statistics: Mapping[str, TensorStatistics]) -> dict[Choice, Affine]:
    found: dict[Choice, Affine] = {}
    for choice in (Choice(EXTREME), *(Choice(observer) for observer in _CLIPPING)):
        ranges: list[Range] = [choice.range(statistics[name]) for name in names]
        affine = from_range(min(low for low, _ in ranges), max(high for _, high in ranges))
        if affine not in found.values():
            found[choice] = affine
    return found


def _after_pooling(network: Network) -> set[str]:
    """Values that global pooling has gone into."""
    found: set[str] = set()
    for op in network.ops:
        if op.kind == "GlobalAveragePool" or found.intersection(op.inputs):
            found.update(op.outputs)
    return found


def _noise(value: torch.Tensor, slope: torch.Tensor, affine: Affine) -> float:
    error = torch.fake_quantize_per_tensor_affine(value, affine.scale, affine.zero_point, 0, 255) - value
    moved = error * slope
    clipped = (value < affine.low - affine.scale / 2) | (value > affine.high + affine.scale / 2)
    together = float(torch.where(clipped, moved, 0).sum(dtype=torch.float64))
    return float(torch.where(clipped, 0, moved).square().sum(dtype=torch.float64)) + together * together
