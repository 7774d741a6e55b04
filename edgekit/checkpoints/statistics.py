"""What a trained network's batch norms remember about its training: input scale and activation.

A running mean is the mean of a linear function of what came before. So the first batch norm tells the mean and the
spread of the pixels that the network was trained on, and a depthwise convolution's batch norm tells the mean of the
activation before it. Neither is written anywhere else in a state dict. Where the statistics do not fit, as with random
weights, both functions say so by returning None.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from edgekit.contracts import Normalization

UNIT_RGB = Normalization("rgb", std=(255.0, 255.0, 255.0))

# Residuals relative to the norm of the running means. Trained networks seen: 0.004 to 0.035 for the input, 0.15 to
# 0.18 for the right activation and above 0.42 for the wrong one; random ones are above 0.8 in both.
INPUT_FITS = 0.1
ACTIVATION_FITS = 0.6
ACTIVATION_MARGIN = 0.75

# Correlation of natural pixels: 0.96 to the power of their distance in pixels, 0.93 between colour channels.
_NEIGHBOUR, _CHANNEL = 0.96, 0.93


@dataclass(frozen=True)
class InputStatistics:
    """The pixels seen in training, as the network got them: mean per channel (its order) and one spread."""

    mean: tuple[float, float, float]
    spread: float

    @property
    def scale(self) -> Literal["pixels", "unit", "normalized"]:
        """Pixels of 0–255, of 0–1, or brought to a mean near 0: their spreads are about 60, 0.25 and 1."""
        if self.spread > 10:
            return "pixels"
        return "unit" if self.spread < 0.5 and all(0 < mean < 1 for mean in self.mean) else "normalized"

    def describe(self) -> str:
        """One sentence for a person."""
        means = ", ".join(f"{mean:.2f}" for mean in self.mean)
        kind = {"pixels": "pixels of 0–255", "unit": "pixels of 0–1", "normalized": "normalized pixels"}[self.scale]
        return f"the first batch norm was trained on inputs of mean {means} and deviation {self.spread:.2f}: {kind}"


def input_statistics(weight: Tensor, mean: Tensor, variance: Tensor) -> InputStatistics | None:
    """Solves the first batch norm's statistics for the input's.

    Args:
        weight: the first convolution, ``[C, 3, 3, 3]``.
        mean: the running mean of the batch norm behind it, ``[C]``.
        variance: its running variance, ``[C]``.
    """
    if weight.shape[1:] != (3, 3, 3) or len(weight) < 4:
        return None
    kernel = weight.double()
    sums = kernel.sum((2, 3))
    solved = torch.linalg.lstsq(sums, mean.double()[:, None]).solution[:, 0]
    residual = (sums @ solved - mean).norm() / mean.double().norm().clamp_min(1e-12)
    if not bool(torch.isfinite(solved).all()) or float(residual) > INPUT_FITS:
        return None
    grid = torch.cartesian_prod(*[torch.arange(3, dtype=torch.float64)] * 3)
    channel, place = grid[:, 0], grid[:, 1:]
    correlation = _NEIGHBOUR ** torch.cdist(place, place) * _CHANNEL ** (channel[:, None] - channel).abs()
    flat = kernel.reshape(len(kernel), 27)
    predicted = torch.einsum("oi,ij,oj->o", flat, correlation, flat).clamp_min(1e-12)
    spread = float((variance.double() / predicted).median().sqrt())
    return InputStatistics((float(solved[0]), float(solved[1]), float(solved[2])), spread)


def is_swish(layers: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]) -> bool | None:
    """Whether swish explains depthwise running means better than ReLU does; None where neither fits.

    Args:
        layers: for each depthwise convolution behind an activation: scale and shift of the batch norm before the
            activation, the depthwise weights ``[C, 1, 3, 3]``, and the running mean behind them.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    points, density = torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())
    relu = swish = total = 0.0
    for scale, shift, kernel, mean in layers:
        # Behind a batch norm a channel is close to normal with these two moments.
        values = shift.double()[:, None] + scale.double()[:, None] * points
        gain = kernel.double().sum((1, 2, 3))
        relu += float(((gain * (values.relu() * density).sum(1) - mean) ** 2).sum())
        swish += float(((gain * (values * values.sigmoid() * density).sum(1) - mean) ** 2).sum())
        total += float((mean.double() ** 2).sum())
    if total == 0:
        return None
    best, other = sorted(((relu / total) ** 0.5, (swish / total) ** 0.5))
    if best > ACTIVATION_FITS or best > ACTIVATION_MARGIN * other:
        return None
    return swish < relu
