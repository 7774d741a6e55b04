"""Which range each tensor gets: the one whose integers disturb the scores least, measured on images.

A range that is wide rounds coarsely, one that is narrow clips. For thresholds around what each observer proposes, both
errors are carried to the scores by the gradient at the tensor (see :mod:`edgekit.quantize.influence`): rounding errors
are independent and add up by their squares; clipped values are all wrong in the same direction and add up before
squaring. Tensors that are tied to one scale are judged together, and the two ends of a range separately.

The images that judge a range are not those that it was seen on, because a range never clips what it was made from:
clipping is judged against the extremes of the remaining images, so that what is added for pictures to come is measured.

Calibration pictures often show few of the classes that the device will see. What is left after global pooling is
evidence for classes, few values that nothing averages out, and their rounding hardly matters; so those tensors clip
nothing and get room beyond what was seen. On an ImageNet network calibrated with ten classes, clipping of the pooled
features was a quarter of all noise without this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edgekit.quantize.affine import Affine
from edgekit.quantize.analysis import as_integers
from edgekit.quantize.collect import ImageSource
from edgekit.quantize.influence import batched_gradients, spread_images
from edgekit.quantize.interpreter import evaluate, torch_threads
from edgekit.quantize.network import Network
from edgekit.quantize.observers import EXTREME, OBSERVERS, Range
from edgekit.quantize.points import Points
from edgekit.quantize.statistics import TensorStatistics

# Images that judge; never more than a quarter of all.
_JUDGES = 64
# The moving average is left out: it clips every picture's own extremes, by as much as it happens to lag.
_PROPOSING = ("percentile", "entropy", "mse")
# Thresholds tried at each end, as shares of the extreme that the other images reach.
_SHARES = (*np.linspace(0.2, 1.2, 21).round(2).tolist(), 1.3, 1.4, 1.5, 1.6, 1.8)
# What the ranges of class evidence are multiplied by. Scores get less: near ties between them are decided by one step.
_ROOM_FOR_FEATURES = 1.5
_ROOM_FOR_SCORES = 1.1
# Pictures to come clip more than the calibration set's own.
_UNSEEN = 2.0
# Pictures on which chosen ranges are held against wide ones.
_CHECKED = 12
MEASURED = "least noise"


@dataclass(frozen=True, slots=True)
class Choice:
    """Who proposed a range, and the range."""

    name: str
    low: float
    high: float


def observed_choice(observer: str, statistics: TensorStatistics, room: float = 1.0) -> Choice:
    """What one observer says, with ``room`` around it."""
    low, high = OBSERVERS[observer](statistics)
    return Choice(observer if room == 1 else f"{observer} × {room:g}", low * room, high * room)


class Judgement:
    """What the images measured: for every tied group the noise of each range that was tried."""

    def __init__(
        self,
        network: Network,
        points: Points,
        statistics: Mapping[str, TensorStatistics],
        images: ImageSource,
        *,
        threads: int = 2,
    ) -> None:
        self._network, self._points, self._statistics = network, points, statistics
        self._groups = {
            group: found
            for group, members in points.members.items()
            if group not in points.fixed and (found := [name for name in members if name in statistics])
        }
        judges = np.unique(np.linspace(0, len(images) - 1, min(_JUDGES, len(images) // 4)).round().astype(int))
        self._trials: dict[str, _Trial] = {}
        if len(judges) == 0:
            return
        for group, names in self._groups.items():
            self._trials[group] = _Trial([statistics[name] for name in names], judges)
        names = [name for members in self._groups.values() for name in members]
        group_of = {name: group for group, members in self._groups.items() for name in members}
        for values, slopes in batched_gradients(network, images, judges, names, threads=threads):
            for name, value, slope in zip(names, values, slopes, strict=True):
                self._trials[group_of[name]].add(value, slope)
            for trial in self._trials.values():
                trial.close()

    def choose(self, remaining: Mapping[str, float] | None = None, *, wide: bool = False) -> dict[str, Choice]:
        """Value name → its range; one choice per tied group.

        Args:
            remaining: group → share of its rounding noise that is left after its channels have been split.
            wide: clip nothing that was seen.
        """
        chosen: dict[str, Choice] = {}
        for group, members in self._groups.items():
            best = self._trials[group].best((remaining or {}).get(group, 1.0)) if self._trials and not wide else None
            for name in members:
                seen = self._statistics[name]
                if self._network.output in self._points.members[group]:
                    # The highest scores are the answer and must not be clipped; the lowest say nothing, and a finer
                    # step tells near ties apart.
                    whole = observed_choice(EXTREME, seen, _ROOM_FOR_SCORES)
                    chosen[name] = Choice(whole.name, whole.low if best is None else best.low, whole.high)
                elif self._network.evidence.intersection(members):
                    chosen[name] = observed_choice(EXTREME, seen, _ROOM_FOR_FEATURES)
                else:
                    chosen[name] = best or observed_choice(EXTREME, seen)
        return chosen


def noise_of(
    network: Network,
    points: Points,
    candidates: Sequence[Mapping[str, Affine]],
    images: ImageSource,
    *,
    threads: int = 2,
) -> list[float]:
    """Mean squared error of the scores with every activation rounded as each candidate (group → quantization) says.

    Measured, because gradients promise too much of clipping where pictures are unlike the training set's.
    """
    pixels = torch.from_numpy(spread_images(images, _CHECKED))
    with torch_threads(threads), torch.no_grad():
        real = _scores(network, points, None, pixels)
        return [float((_scores(network, points, one, pixels) - real).square().mean()) for one in candidates]


def _scores(
    network: Network, points: Points, affine: Mapping[str, Affine] | None, pixels: torch.Tensor
) -> torch.Tensor:
    values = {network.input: pixels}
    for op in network.ops:
        outputs = evaluate(op, [values[name] for name in op.inputs], len(pixels))
        for name, value in zip(op.outputs, outputs, strict=True):
            group = points.group.get(name)
            values[name] = value if group is None or affine is None else as_integers(value, affine[group])
    return values[network.output]


class _Trial:
    """One tied group: thresholds at each end, and the noise that the images measured for every pair of them."""

    def __init__(self, members: Sequence[TensorStatistics], judges: NDArray[np.intp]) -> None:
        others = [np.delete(np.asarray(m.image_extremes), judges, 0) for m in members]
        low = min(float(o[:, 0].min()) for o in others)
        high = max(float(o[:, 1].max()) for o in others)
        self.proposed: dict[str, Range] = {}
        for observer in (EXTREME, *_PROPOSING):
            found = [OBSERVERS[observer](m) for m in members]
            self.proposed[observer] = (min(a for a, _ in found), max(b for _, b in found))
        self.lows = _thresholds(-low, [-a for a, _ in self.proposed.values()])
        self.highs = _thresholds(high, [b for _, b in self.proposed.values()])
        self.rounding = 0.0
        self.clipping = torch.zeros(len(self.lows), len(self.highs), dtype=torch.float64)
        self._now: list[torch.Tensor] = []

    def add(self, value: torch.Tensor, slope: torch.Tensor) -> None:
        """Values ``[B, …]`` of one member, and the gradients there."""
        value, slope = value.flatten(1), slope.flatten(1)
        self.rounding += float(torch.where(value != 0, slope, 0).square().sum(dtype=torch.float64))
        now = [_beyond(-value, -slope, self.lows), _beyond(value, slope, self.highs)]
        self._now = [a + b for a, b in zip(self._now, now, strict=True)] if self._now else now

    def close(self) -> None:
        """The members' errors of the images added so far belong together."""
        if self._now:
            low, high = self._now
            # The error at the upper end is max - value < 0; at the lower end the signs have been turned twice.
            self.clipping += (low[:, :, None] + high[:, None, :]).square().sum(0)
            self._now = []

    def best(self, remaining: float) -> Choice:
        width = self.lows[:, None] + self.highs[None, :]
        noise = (width / 255).square() / 12 * self.rounding * remaining + _UNSEEN * self.clipping
        index = int(noise.argmin())
        low, high = -float(self.lows[index // len(self.highs)]), float(self.highs[index % len(self.highs)])
        for observer, (a, b) in self.proposed.items():
            if abs(min(a, 0.0) - low) + abs(max(b, 0.0) - high) < 1e-9:
                return Choice(observer, low, high)
        return Choice(MEASURED, low, high)


def _thresholds(reach: float, proposed: Sequence[float]) -> torch.Tensor:
    """Ends of the range to try, ascending: around ``reach``, and what observers propose."""
    if reach <= 0:
        return torch.zeros(1, dtype=torch.float64)
    tried = {float(reach * share) for share in _SHARES} | {p for p in proposed if p > 0.2 * reach}
    return torch.tensor(sorted(tried), dtype=torch.float64)


def _beyond(value: torch.Tensor, slope: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """Σ slope·(value − threshold) over the values beyond each threshold, ``[B, T]``."""
    count, bins = len(value), len(thresholds)
    if float(thresholds[-1]) == 0:
        return torch.zeros(count, 1, dtype=torch.float64)
    image, place = torch.nonzero(value > float(thresholds[0]), as_tuple=True)
    over, weight = value[image, place].double(), slope[image, place].double()
    where = image * bins + torch.bucketize(over, thresholds) - 1
    first = torch.bincount(where, weight * over, minlength=count * bins).reshape(count, bins)
    zeroth = torch.bincount(where, weight, minlength=count * bins).reshape(count, bins)
    first, zeroth = (t.flip(1).cumsum(1).flip(1) for t in (first, zeroth))
    return first - thresholds * zeroth
