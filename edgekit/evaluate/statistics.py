"""How sure a measured accuracy is, and how far two models' scores are apart. Pure arithmetic, no files."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The 97.5 % point of the standard normal distribution: two-sided 95 % intervals.
Z95 = 1.959963984540054


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion ``hits / n``, as two fractions in [0, 1].

    Wilson's score interval (E. B. Wilson, JASA 22, 1927, p. 209): it keeps its coverage near 0 and 1 and for small n,
    where the usual p ± z·√(p(1 − p)/n) collapses to a width of zero.

    Raises:
        ValueError: n < 1, or hits outside 0..n.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n}")
    p, z2 = hits / n, Z95 * Z95
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends the bound is p itself; rounding must not push it past.
    return (0.0 if hits == 0 else max(0.0, middle - half)), (1.0 if hits == n else min(1.0, middle + half))


def paired_drop(lost: int, gained: int, n: int) -> tuple[float, float]:
    """The 95 % interval of the accuracy drop ``(lost - gained) / n``, as two fractions in [-1, 1].

    Both models saw the same n pictures: ``lost`` were right before and wrong after, ``gained`` the other way round.
    Only these discordant pairs carry information, so the interval is far narrower than the difference of two separate
    ones. Method: Wald's interval with half a count added to each of the four cells (Agresti and Min, Statistics in
    Medicine 24, 2005, p. 729), which still covers 95 % when hardly any pair disagrees.

    Raises:
        ValueError: n < 1, or more discordant pairs than n.
    """
    if n < 1 or lost < 0 or gained < 0 or lost + gained > n:
        raise ValueError(f"{lost} lost and {gained} gained of {n}")
    a, b, total = lost + 0.5, gained + 0.5, n + 2.0
    middle = (a - b) / total
    half = Z95 * math.sqrt(a + b - (a - b) ** 2 / total) / total
    return max(-1.0, middle - half), min(1.0, middle + half)


@dataclass(slots=True)
class SignalToNoise:
    """Signal-to-quantization-noise ratio of one model's scores against the float model's, gathered batch by batch.

    10·log10(Σ f² / Σ (f − q)²) over every score of every picture: one figure for the whole set, in dB.
    """

    signal: float = 0.0
    noise: float = 0.0

    def add(self, reference: NDArray[np.float32], other: NDArray[np.float32]) -> None:
        """Takes two float32 arrays of one shape; squares are summed in float64."""
        exact = reference.astype(np.float64)
        self.signal += float(np.sum(exact * exact))
        self.noise += float(np.sum((exact - other.astype(np.float64)) ** 2))

    @property
    def db(self) -> float:
        """The ratio in dB; infinite where the two are equal, minus infinite for noise without a signal."""
        if self.noise == 0.0:
            return math.inf
        return -math.inf if self.signal == 0.0 else 10 * math.log10(self.signal / self.noise)


def ranks(scores: NDArray[np.float32], truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes come before the true one, int64 ``[N]``; 0 means that the prediction is right.

    Quantized scores tie often. A tie is decided as ``argmax`` decides it, for the lower class index, so that rank 0
    is exactly what a device would answer.

    Args:
        scores: float32 ``[N, classes]``.
        truth: int64 ``[N]``.
    """
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    before = np.arange(scores.shape[1])[None, :] < truth[:, None]
    found: NDArray[np.int64] = np.sum((scores > own) | ((scores == own) & before), axis=1, dtype=np.int64)
    return found
