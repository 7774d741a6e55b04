"""Scales of residual Adds with which every runtime rounds alike.

An integer Add computes ``a·(scale_a/scale_y) + b·(scale_b/scale_y)`` and rounds. ONNX Runtime does so in float32 with
ties to even, XNNPACK with multipliers of 21 bits and ties upward, so that results near a tie differ by one step. That
is rare, but there are many results: on ShuffleNet V1 it changed one answer in a hundred.

With ratios m/D of small integers and an *odd* D, every exact result is a multiple of 1/D, and the nearest one to a tie
is 1/(2·D) away: further than either runtime's own error. Then all of them give the correctly rounded integer. A scale
moves by less than a thousandth for that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.quantize.affine import Affine
from edgekit.quantize.network import Network
from edgekit.quantize.points import Points

# Denominators tried. Larger ones would leave less than twice XNNPACK's error between a result and a tie: that error is
# 255 / 2**20, of two products of a uint8 with a multiplier half a unit of 2**-20 off (src/microparams-init.c,
# xnn_init_qs8_add_minmax_*_params: the larger multiplier lies in [2**20, 2**21)).
_DENOMINATORS = tuple(range(201, 512, 2))
_LARGEST_RATIO = 2.0


def align(network: Network, points: Points, affine: Mapping[str, Affine]) -> dict[str, Affine]:
    """``affine`` (group → quantization) with the scales of Adds' inputs moved onto small ratios to their results'.

    From the last Add to the first, because an Add's input is often another Add's result. Scales that an operator
    dictates stay, and so does an input that an Add further on has moved.
    """
    found = dict(affine)
    settled = set(points.fixed)
    for op in reversed(network.ops):
        if op.kind != "Add" or op.name in points.float_ops:
            continue
        result = points.group[network.result(op)]
        inputs = [points.group[name] for name in op.inputs]
        if settled.intersection(inputs) or result in inputs or len(inputs) != 2:
            continue
        ratios = np.array([found[group].scale / found[result].scale for group in inputs])
        if ratios.max() >= _LARGEST_RATIO:
            continue
        for group, ratio in zip(inputs, nearest_ratios(ratios), strict=True):
            found[group] = Affine(float(np.float32(ratio * found[result].scale)), found[group].zero_point)
        settled.update(inputs)
    return found


def nearest_ratios(ratios: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    """Fractions with one odd denominator, as near to ``ratios`` as the worst of them can be."""
    best, chosen = np.inf, ratios
    for denominator in _DENOMINATORS:
        rounded = np.maximum(np.rint(ratios * denominator), 1) / denominator
        error = float(np.abs(rounded / ratios - 1).max())
        if error < best:
            best, chosen = error, rounded
    return [float(ratio) for ratio in chosen]
