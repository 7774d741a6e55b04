"""How a sliding window with explicit pads is said in TFLite, which knows only SAME and VALID.

torch pads one before and, at stride 2 on an even size, effectively none after; SAME pads none before and one after.
Four exact ways, in the order they are tried:

1. VALID, where there are no pads.
2. SAME, where it starts the first window at the same place and counts as many.
3. SAME with the kernel grown by zero rows at the end until it starts at the right place (convolutions only).
4. An explicit PAD, then VALID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Way = Literal["valid", "same", "grow", "pad"]
# A 3x3 kernel in a 4x4 one costs a depthwise kernel 16/9 of its multiplications; beyond that a PAD is cheaper.
_LARGEST_GROWTH = 1


@dataclass(frozen=True)
class Window:
    """Kernel, stride and pads of one axis."""

    size: int
    kernel: int
    stride: int
    before: int
    after: int

    @property
    def outputs(self) -> int:
        return (self.size + self.before + self.after - self.kernel) // self.stride + 1

    def same_with(self, kernel: int) -> bool:
        """SAME with this kernel length starts the first window, and ends the last, where these pads do."""
        outputs = -(-self.size // self.stride)
        total = max((outputs - 1) * self.stride + kernel - self.size, 0)
        return outputs == self.outputs and total // 2 == self.before

    def way(self, may_grow: bool) -> tuple[Way, int]:
        """The first way of the module's list that is exact, and the kernel length it needs."""
        if self.before == self.needed_after == 0:
            return "valid", self.kernel
        if self.same_with(self.kernel):
            return "same", self.kernel
        if may_grow:
            for grown in range(self.kernel + 1, self.kernel + _LARGEST_GROWTH + 1):
                if self.same_with(grown):
                    return "grow", grown
        return "pad", self.kernel

    @property
    def needed_after(self) -> int:
        """Rows of padding that the last window really reads."""
        return max(0, (self.outputs - 1) * self.stride + self.kernel - self.before - self.size)


def plan(height: Window, width: Window, may_grow: bool) -> tuple[Way, tuple[int, int]]:
    """One way for both axes, and the kernel's size: SAME and VALID cannot be mixed."""
    ways = [w.way(may_grow) for w in (height, width)]
    kinds = {way for way, _ in ways}
    if kinds == {"valid"} or (len(kinds) == 1 and kinds != {"grow"}):
        return ways[0][0], (height.kernel, width.kernel)
    if "pad" not in kinds:
        kernels = []
        for window in (height, width):
            fits = [k for k in range(window.kernel, window.kernel + _LARGEST_GROWTH + 1) if window.same_with(k)]
            if not fits:
                return "pad", (height.kernel, width.kernel)
            kernels.append(fits[0])
        return ("same" if kernels == [height.kernel, width.kernel] else "grow"), (kernels[0], kernels[1])
    return "pad", (height.kernel, width.kernel)


def grown(weights: NDArray[np.generic], kernel: tuple[int, int]) -> NDArray[np.generic]:
    """Weights [O, I, h, w] with zero rows and columns after their last ones."""
    extra = [(0, 0), (0, 0), (0, kernel[0] - weights.shape[2]), (0, kernel[1] - weights.shape[3])]
    return np.pad(weights, extra)
