"""uint8 numbers for real ones: ``real = (integer - zero_point) × scale``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Smallest scale handed out: a tensor that is constant zero still needs one, and the runtimes' fixed-point
# multipliers need ratios of scales within about 2**-31 … 2**8.
SMALLEST_SCALE = 1e-8


@dataclass(frozen=True, slots=True)
class Affine:
    """Per-tensor quantization of an activation. ``scale`` is exactly a float32; ``zero_point`` is 0–255."""

    scale: float
    zero_point: int

    @property
    def low(self) -> float:
        return (0 - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        return (255 - self.zero_point) * self.scale

    def quantize(self, real: NDArray[Any]) -> NDArray[np.uint8]:
        """Nearest integer, ties to even, saturated: what ONNX's QuantizeLinear does in float32."""
        scaled = np.rint(np.asarray(real, dtype=np.float32) / np.float32(self.scale)) + np.float32(self.zero_point)
        integers: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
        return integers

    def dequantize(self, integer: NDArray[Any]) -> NDArray[np.float32]:
        return (np.asarray(integer, dtype=np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


PIXELS = Affine(1.0, 0)
# LiteRT's int8 LOGISTIC and SOFTMAX demand an output scale of 1/256 and a zero point of -128, here 0.
UNIT_INTERVAL = Affine(1.0 / 256.0, 0)


def from_range(low: float, high: float) -> Affine:
    """The uint8 quantization that covers [low, high], widened to contain zero exactly (padding is zero)."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = float(np.float32(max((high - low) / 255.0, SMALLEST_SCALE)))
    zero_point = int(np.clip(np.rint(-low / scale), 0, 255))
    return Affine(scale, zero_point)
