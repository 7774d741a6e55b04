"""Observers: from a tensor's statistics to the range that its integers cover.

Each is a plain function ``TensorStatistics -> (low, high)``; a new one is a function and a line in ``OBSERVERS``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgekit.quantize.statistics import TensorStatistics

Range = tuple[float, float]
Observer = Callable[[TensorStatistics], Range]

# Share of the values outside the range on each side; 99.99 % is TensorRT's and ONNX Runtime's customary value.
_TAIL = 1e-4
# Fewer calibration images than this have not seen the extremes yet; from here on, what was seen is what will come.
_ONE_IN = 256
_ENTROPY_LEVELS = 128
_CANDIDATES = 48


def minmax(statistics: TensorStatistics) -> Range:
    """Everything that was seen."""
    return statistics.low, statistics.high


def extreme(statistics: TensorStatistics) -> Range:
    """What one image in :data:`_ONE_IN` will go beyond; never less than what was seen.

    Maxima of many values follow a Gumbel distribution (Fisher and Tippett, 1928); its scale is the standard deviation
    of the images' own maxima times √6/π, and a level that is m times rarer lies ln m scales further out. The images
    that were seen reach to about one in their own number.
    """
    count = statistics.images
    variance = np.maximum(statistics.squares / count - np.square(statistics.sums / count), 0)
    low, high = np.sqrt(6 * variance) / np.pi * max(np.log(_ONE_IN / count), 0.0)
    seen_low, seen_high = minmax(statistics)
    # A bound that every image touches, such as a ReLU's zero, stays one.
    return seen_low - float(low), seen_high + float(high)


def moving_average(statistics: TensorStatistics) -> Range:
    """An exponential average of each image's own minimum and maximum."""
    return statistics.average


def percentile(statistics: TensorStatistics) -> Range:
    """All but one value in ten thousand at each end."""
    cumulative = np.cumsum(statistics.histogram)
    total = cumulative[-1]
    width = 2 * statistics.limit / len(cumulative)
    low_bin = int(np.searchsorted(cumulative, total * _TAIL, side="right"))
    high_bin = int(np.searchsorted(cumulative, total * (1 - _TAIL), side="left"))
    low = low_bin * width - statistics.limit
    high = (high_bin + 1) * width - statistics.limit
    return max(low, statistics.low), min(high, statistics.high)


def mse(statistics: TensorStatistics) -> Range:
    """The clipped range whose 255 steps have the least squared error over the histogram."""
    centers, counts = statistics.centers, statistics.histogram
    best, chosen = np.inf, minmax(statistics)
    for share in np.linspace(1.0, 0.3, _CANDIDATES):
        low, high = min(statistics.low, 0.0) * share, max(statistics.high, 0.0) * share
        step = max((high - low) / 255, 1e-12)
        rounded = np.clip(np.rint((centers - low) / step), 0, 255) * step + low
        inside = (centers >= low) & (centers <= high)
        # Inside the range, bins may be wider than a step: the rounding error is the uniform one, step² / 12.
        error = np.where(inside, step * step / 12, (rounded - centers) ** 2)
        cost = float(counts @ error)
        if cost < best:
            best, chosen = cost, (low, high)
    return chosen


def entropy(statistics: TensorStatistics) -> Range:
    """The clipping threshold that keeps the distribution closest in Kullback-Leibler divergence.

    The procedure of S. Migacz, "8-bit Inference with TensorRT" (GTC 2017): for every threshold compare the clipped
    histogram with itself after merging it into 128 levels, and take the least divergence. Signed tensors are treated
    by magnitude, and the threshold is applied to both ends within what was seen.
    """
    counts = statistics.histogram
    half = len(counts) // 2
    magnitude = counts[half:] + counts[:half][::-1]
    used = int(np.flatnonzero(magnitude)[-1]) + 1 if magnitude.any() else half
    best, keep = np.inf, used
    for stop in np.unique(np.linspace(min(_ENTROPY_LEVELS, used), used, _CANDIDATES).astype(int)):
        divergence = _divergence(magnitude, int(stop))
        if divergence < best:
            best, keep = divergence, int(stop)
    threshold = keep * statistics.limit / half
    return max(statistics.low, -threshold), min(statistics.high, threshold)


def _divergence(counts: NDArray[np.float64], stop: int) -> float:
    reference = counts[:stop].copy()
    occupied = reference > 0
    edges = np.linspace(0, stop, _ENTROPY_LEVELS + 1).astype(int)
    level = np.repeat(np.arange(_ENTROPY_LEVELS), np.diff(edges))
    sums = np.bincount(level, reference, _ENTROPY_LEVELS)
    members = np.bincount(level, occupied, _ENTROPY_LEVELS)
    merged = np.where(occupied, (sums / np.maximum(members, 1))[level], 0.0)
    reference[-1] += counts[stop:].sum()
    p = reference / max(reference.sum(), 1e-12)
    q = np.maximum(merged / max(merged.sum(), 1e-12), 1e-12)
    present = p > 0
    return float((p[present] * np.log(p[present] / q[present])).sum())


EXTREME = "extreme"
OBSERVERS: dict[str, Observer] = {
    EXTREME: extreme,
    "minmax": minmax,
    "moving-average": moving_average,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}
