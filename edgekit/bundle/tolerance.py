"""How far an engine's answers to the goldens may be from the recorded ones, derived from a measurement in every build.

The unit is the *step*: one quantization step of an integer output, or a 255th of the score range of a float one.

Kernels of two engines, or of one engine on two instruction sets, compute the same integers and round them differently:
by at most one unit in the last place per layer, which the layers after it spread. How far that reaches at the output
depends on the network, so it is measured with the network itself: the build machine runs the goldens with every kernel
that it has, from one set of numbers (XNNPACK's and ONNX Runtime's, which scale in float, and TensorFlow Lite's own,
which scale by integers), and the spread between *them* shows what rounding alone can do. docs/tolerance.md tells the
measurements on emulated targets that this rests on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.bundle.golden import Golden

# One engine release on one instruction-set family repeats itself bit for bit; one step allows for another thread count.
SAME_STEPS = 1
# The spread is the largest of a few dozen differences; another kernel's largest may be somewhat larger.
HEADROOM = 1.5
# Where one kernel only ran, or all agree: the least that the spread ever came to in the networks measured.
LEAST_OTHER_STEPS = 4
# Half precision keeps 11 bits, and a network's worth of roundings leaves about 8 of them: docs/tolerance.md.
FLOAT_OTHER_STEPS = 4


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest accepted difference of any score, in steps: on the family that was recorded, and on any other."""

    same: float
    other: float
    measured: float | None = None  # the spread between the kernels that ``other`` comes from

    def to_dict(self) -> dict[str, Any]:
        return {"unit": "steps", "same_family": self.same, "other_family": self.other, "kernel_spread": self.measured}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Tolerance:
        """Reads a manifest's ``golden.tolerance``; what is missing is the least that is ever used."""
        return cls(
            float(data.get("same_family", SAME_STEPS)),
            float(data.get("other_family", LEAST_OTHER_STEPS)),
            data.get("kernel_spread"),
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

    Two kernels' answers are comparable when both are integers of the same numbers, or both floats.
    """
    spread: float | None = None
    for one, other in combinations(golden.expected, 2):
        if _is_float(one.raw) != _is_float(other.raw):
            continue
        unit = step_of(one.raw)
        apart = float(np.abs(steps(one.raw, unit) - steps(other.raw, unit)).max(initial=0))
        spread = max(spread or 0.0, apart)
    floats = any(_is_float(item.raw) for item in golden.expected)
    least = FLOAT_OTHER_STEPS if floats else LEAST_OTHER_STEPS
    other_steps = max(least, math.ceil(HEADROOM * (spread or 0.0)))
    return Tolerance(SAME_STEPS, other_steps, spread)


def _is_float(raw: NDArray[Any]) -> bool:
    return bool(np.issubdtype(raw.dtype, np.floating))
