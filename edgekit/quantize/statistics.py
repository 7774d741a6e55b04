"""Streaming statistics of one activation tensor, in memory that does not grow with the number of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 4096
# Elements taken from one tensor of one image for the histogram. Minimum and maximum see every element.
SAMPLES_PER_IMAGE = 4096
# Weight of a new image's range in the moving average: the constant of TensorFlow's MovingAverageQuantize
# (momentum 0.99 there over training steps) would not converge on a few hundred images.
MOMENTUM = 0.95


class TensorStatistics:
    """Minimum and maximum by channel, a moving average of each image's range, and a histogram.

    The histogram covers [-limit, limit] with ``limit`` a power of two times the first batch's; when a value falls
    outside, neighbouring bins merge and the limit doubles, so that no second pass over the images is needed.
    """

    def __init__(self) -> None:
        self.images = 0
        self.channel_low: NDArray[np.float32] = np.empty(0, np.float32)
        self.channel_high: NDArray[np.float32] = np.empty(0, np.float32)
        self.average: tuple[float, float] = (0.0, 0.0)
        self.image_extremes: list[tuple[float, float]] = []  # one pair an image: the only thing that grows
        # Sums and sums of squares of each channel's minimum and maximum in an image, ``[2, C]``.
        self.channel_sums: NDArray[np.float64] = np.zeros((2, 1), np.float64)
        self.channel_squares: NDArray[np.float64] = np.zeros((2, 1), np.float64)
        # Sums and sums of squares of each image's own minimum and maximum.
        self.sums: NDArray[np.float64] = np.zeros(2, np.float64)
        self.squares: NDArray[np.float64] = np.zeros(2, np.float64)
        self.histogram: NDArray[np.float64] = np.zeros(BINS, np.float64)
        self.limit = 0.0

    @property
    def low(self) -> float:
        return float(self.channel_low.min())

    @property
    def high(self) -> float:
        return float(self.channel_high.max())

    def update(self, values: NDArray[np.float32]) -> None:
        """Adds a batch ``[N, C, …]``."""
        flat = values.reshape(values.shape[0], values.shape[1], -1)
        low, high = flat.min(2), flat.max(2)
        first = self.images == 0
        self.channel_low = low.min(0) if first else np.minimum(self.channel_low, low.min(0))
        self.channel_high = high.max(0) if first else np.maximum(self.channel_high, high.max(0))
        extremes = np.stack([low.min(1), high.max(1)]).astype(np.float64)
        self.sums += extremes.sum(1)
        self.squares += np.square(extremes).sum(1)
        by_channel = np.stack([low, high]).astype(np.float64)
        self.channel_sums = self.channel_sums + by_channel.sum(1)
        self.channel_squares = self.channel_squares + np.square(by_channel).sum(1)
        self.image_extremes.extend(zip(low.min(1).tolist(), high.max(1).tolist(), strict=True))
        for one_low, one_high in zip(low.min(1).tolist(), high.max(1).tolist(), strict=True):
            if self.images == 0:
                self.average = (one_low, one_high)
            else:
                self.average = (
                    MOMENTUM * self.average[0] + (1 - MOMENTUM) * one_low,
                    MOMENTUM * self.average[1] + (1 - MOMENTUM) * one_high,
                )
            self.images += 1
        self._count(values)

    def channel_reach(self, deviations: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Each channel's lowest and highest value in an image that goes ``deviations`` beyond the usual one.

        Never more than was seen.
        """
        mean = self.channel_sums / self.images
        spread = np.sqrt(np.maximum(self.channel_squares / self.images - np.square(mean), 0)) * deviations
        return np.maximum(mean[0] - spread[0], self.channel_low), np.minimum(mean[1] + spread[1], self.channel_high)

    def _count(self, values: NDArray[np.float32]) -> None:
        largest = max(abs(self.low), abs(self.high), 1e-12)
        if self.limit == 0.0:
            self.limit = float(2.0 ** np.ceil(np.log2(largest)))
        while self.limit < largest:
            half = self.histogram.reshape(-1, 2).sum(1)
            self.histogram = np.concatenate([np.zeros(BINS // 4), half, np.zeros(BINS // 4)])
            self.limit *= 2
        flat = values.reshape(values.shape[0], -1)
        # A prime-ish odd step visits every channel and position class instead of one column of the picture.
        step = max(1, flat.shape[1] // SAMPLES_PER_IMAGE) | 1
        sample = flat[:, ::step]
        index = ((sample + self.limit) * (BINS / (2 * self.limit))).astype(np.int32)
        self.histogram += np.bincount(np.minimum(index, BINS - 1).ravel(), minlength=BINS)

    @property
    def centers(self) -> NDArray[np.floating]:
        """The middle of each histogram bin."""
        return (np.arange(BINS) + 0.5) * (2 * self.limit / BINS) - self.limit

    def coarse_histogram(self, bins: int = 64) -> tuple[int, ...]:
        """Counts of the sampled values in equal bins from :attr:`low` to :attr:`high`, for a picture of them."""
        span = max(self.high - self.low, 1e-12)
        index = np.clip((self.centers - self.low) / span * bins, 0, bins - 1).astype(int)
        return tuple(np.bincount(index, self.histogram, bins).astype(int).tolist())
