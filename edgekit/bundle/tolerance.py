"""How far an engine's answers to the goldens may be from the recorded ones, derived from a measurement in every build.

The unit is the *step*: one quantization step of an integer output, or a 255th of the score range of a float one.

Kernels compute the same integers and round them differently: by at most one unit in the last place per layer, which the
layers after it spread. How far that reaches at the output depends on the network, so it is measured with the network
itself: the build machine runs the goldens with every kernel that it has, from one set of numbers. There are two kinds.

1. XNNPACK's (LiteRT) and ONNX Runtime's scale their int32 sums in float. The spread between those two shows what
   rounding does to this network; on emulated ARM cores neither was ever further from itself on x86 than that.
2. TensorFlow Lite's own scale by an integer multiplier and a shift, and are several times further away. 32-bit ARM has
   no others, so they are recorded too, and a board that uses them is compared with them.

docs/tolerance.md tells the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.bundle.golden import FIXED_POINT, Expected, Golden

# One engine release on one instruction-set family repeats itself bit for bit; one step allows for another thread count.
SAME_STEPS = 1
# The spread is the largest of a few dozen differences between two kernels; a third may come out somewhat larger.
HEADROOM = 2.0
# tflite-runtime's own kernels on x86 were as far from the recorded fixed-point ones as those are from XNNPACK's.
_HEADROOM_OF_KINDS = 1.5
# Where the kernels agree on every golden, the next network's luck may be a little worse.
LEAST_OTHER_STEPS = 2
# Half precision keeps 11 bits, and a network's worth of roundings leaves about 8 of them.
FLOAT_OTHER_STEPS = 4
# Adds pairs of products in 16 bits, which full-range int8 weights overflow: no rounding of the right answers.
_SATURATES = ("onnxruntime", "x86_64")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest accepted difference of any score, in steps: on the family that was recorded, and on any other."""

    same: float
    other: float
    spread: float | None = None  # between the kernels of the first kind, which ``other`` comes from
    fixed_point: float | None = None  # between the two kinds

    @property
    def other_release(self) -> float:
        """For another release of the recorded fixed-point kernels: no further than the two kinds are apart.

        Convolutions repeat to the last bit from TensorFlow Lite 2.14 to LiteRT 2.3, but not LOGISTIC: 3 steps for a
        swish network whose kinds are 5 apart.
        """
        return max(self.other, math.ceil(self.fixed_point or 0.0))

    @property
    def second_kind(self) -> float:
        """For fixed-point kernels that nobody recorded: as far as the two kinds are apart, and half more."""
        return max(self.other, math.ceil(_HEADROOM_OF_KINDS * (self.fixed_point or 0.0)))

    def to_dict(self) -> dict[str, Any]:
        return {
            "unit": "steps",
            "same_family": self.same,
            "other_family": self.other,
            "kernel_spread": self.spread,
            "fixed_point_spread": self.fixed_point,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Tolerance:
        """Reads a manifest's ``golden.tolerance``; what is missing is the least that is ever used."""
        return cls(
            float(data.get("same_family", SAME_STEPS)),
            float(data.get("other_family", LEAST_OTHER_STEPS)),
            data.get("kernel_spread"),
            data.get("fixed_point_spread"),
        )


def steps(raw: NDArray[Any], unit: float | None = None) -> NDArray[np.float64]:
    """Raw scores ``[n, classes]`` in steps, with uint8 and int8 spellings of one number made equal.

    ``unit`` is the size of one step of a float output (see :func:`step_of`).
    """
    if np.issubdtype(raw.dtype, np.floating):
        return raw.astype(np.float64) / (step_of(raw) if unit is None else unit)
    return raw.astype(np.float64) + (128 if raw.dtype == np.int8 else 0)


def step_of(raw: NDArray[Any]) -> float:
    """The size of one step in the output's own units: 1 for integers, a 255th of the range of all scores for floats."""
    if not np.issubdtype(raw.dtype, np.floating) or raw.size == 0:
        return 1.0
    return max(float(raw.max() - raw.min()) / 255, float(np.finfo(np.float32).tiny))


def derive(golden: Golden) -> Tolerance:
    """The tolerance of a bundle, from the answers of every kernel that the build machine ran.

    Where one kernel of the first kind ran, and the fixed-point ones, their distance takes the spread's place. ONNX
    Runtime on x86 without VNNI counts as neither.
    """
    first = [item for item in golden.expected if item.family != FIXED_POINT and not _may_overflow(item)]
    second = [item for item in golden.expected if item.family == FIXED_POINT]
    spread = _spread(combinations(first, 2))
    fixed_point = _spread(product(first, second))
    measured = spread if spread is not None else fixed_point
    least = FLOAT_OTHER_STEPS if any(_is_float(item.raw) for item in first) else LEAST_OTHER_STEPS
    return Tolerance(SAME_STEPS, max(least, math.ceil(HEADROOM * (measured or 0.0))), spread, fixed_point)


def _spread(pairs: Iterable[tuple[Expected, Expected]]) -> float | None:
    """The largest difference of any score, in steps; None without a pair of integers, or of floats, to compare."""
    found: float | None = None
    for one, other in pairs:
        if _is_float(one.raw) == _is_float(other.raw):
            unit = step_of(one.raw)
            apart = float(np.abs(steps(one.raw, unit) - steps(other.raw, unit)).max(initial=0))
            found = max(found or 0.0, apart)
    return found


def _may_overflow(item: Expected) -> bool:
    return (item.engine, item.family) == _SATURATES and not _is_float(item.raw)


def _is_float(raw: NDArray[Any]) -> bool:
    return bool(np.issubdtype(raw.dtype, np.floating))
