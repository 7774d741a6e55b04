"""Integer weights: symmetric, one scale per output channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.quantize.affine import Affine

# A bias must fit int32 with room for the accumulator: |bias| ≤ 2**29 of its own units.
_LARGEST_BIAS = 2.0**29
# The runtimes' fixed-point requantization takes multipliers input × weight / output scale of about 2**-31 … 2**8.
_SMALLEST_MULTIPLIER = 2.0**-24


@dataclass(frozen=True, eq=False)
class LayerIntegers:
    """A layer's integers: weight int8 ``[O, …]``, its scale float32 ``[O]``, bias int32 ``[O]``.

    The bias counts in units of input scale × weight scale.
    """

    weight: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.int32]


def smallest_scale(bias: NDArray[np.floating], source: Affine, result: Affine) -> NDArray[np.float32]:
    """The least weight scale per output channel with which bias and requantization fit their integers."""
    for_bias = np.abs(bias) / (source.scale * _LARGEST_BIAS)
    for_multiplier = _SMALLEST_MULTIPLIER * result.scale / source.scale
    scale: NDArray[np.float32] = np.maximum(for_bias, for_multiplier).astype(np.float32)
    return scale


def nearest_scale(weight: NDArray[np.floating], limit: int) -> NDArray[np.float32]:
    """The scale per output channel at which the largest weight is exactly ``limit``."""
    scale: NDArray[np.float32] = (np.abs(weight).reshape(len(weight), -1).max(1) / limit).astype(np.float32)
    return scale


def spread(scale: NDArray[np.floating], like: NDArray[np.generic]) -> NDArray[np.floating]:
    """``scale`` [O] shaped to multiply a weight [O, …]."""
    return scale.reshape(-1, *([1] * (like.ndim - 1)))


def integer_bias(bias: NDArray[np.floating], source: Affine, scale: NDArray[np.float32]) -> NDArray[np.int32]:
    """Bias in units of input scale × weight scale (the float32 product that the model file stores)."""
    unit = (np.float32(source.scale) * scale).astype(np.float64)
    return np.clip(np.rint(bias / unit), -(2**30), 2**30).astype(np.int32)


def round_nearest(
    weight: NDArray[np.floating], bias: NDArray[np.floating], source: Affine, result: Affine, limit: int
) -> LayerIntegers:
    """Nearest rounding with the largest weight of each channel at ``limit``."""
    scale = np.maximum(nearest_scale(weight, limit), smallest_scale(bias, source, result))
    integers = np.clip(np.rint(weight / spread(scale, weight)), -limit, limit).astype(np.int8)
    return LayerIntegers(integers, scale, integer_bias(bias, source, scale))
