"""A convolution over few channels with stride 2, seen as one over pairs of columns.

[N, H, W, C] and [N, H, W/2, 2C] are the same bytes. A kernel of width 3 and stride 2 over the first reads two of the
second's columns at stride 1: its taps are dealt to (pair, side), the missing ones are zero. Exact.

Why: XNNPACK's int8 kernels round the channels of every tap up to 4 or 8. A picture's 3 channels in 9 taps fill 72
places for 27 weights; in 6 taps of 6 channels, 48.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekit.emit.window import Window

_FEW_CHANNELS = 4


def possible(width: Window, channels: int) -> bool:
    """Whether there are pairs to read, and so few channels that it pays."""
    return channels <= _FEW_CHANNELS and width.stride == 2 and width.size % 2 == 0 and width.kernel > 1


def paired(weights: NDArray[np.generic], width: Window) -> tuple[NDArray[np.generic], Window]:
    """Weights [O, 2C, h, pairs] and the window over pairs that do what ``weights`` [O, C, h, w] do over columns."""
    out, channels, height, kernel = weights.shape
    first = -width.before // 2  # the pair of the leftmost column that output 0 reads
    last = (kernel - 1 - width.before) // 2
    result = np.zeros((out, 2 * channels, height, last - first + 1), weights.dtype)
    for tap in range(kernel):
        pair, side = divmod(tap - width.before, 2)
        result[:, side * channels : (side + 1) * channels, :, pair - first] = weights[:, :, :, tap]
    size, taps = width.size // 2, last - first + 1
    after = max(0, width.outputs - 1 + taps + first - size)
    return result, Window(size, taps, 1, -first, after)
