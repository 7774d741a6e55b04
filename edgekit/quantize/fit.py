"""One layer's integer weights, from its quantized input."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from edgekit.quantize import moments, rounding
from edgekit.quantize.affine import Affine
from edgekit.quantize.network import Op
from edgekit.quantize.scheme import Scheme
from edgekit.quantize.weights import nearest_scale, smallest_scale

# Shares of the largest weight tried as the end of the integer range.
_SHARES = (1.0, 0.97, 0.94, 0.9, 0.85, 0.8)
# Added to the second moments' diagonal, as a share of its mean: 1 % is GPTQ's own value. Moments of fewer inputs than
# there are weights in a row say nothing about most directions, and rounding would hide its errors in those: the last
# layer of a thousand classes, whose input is one vector per picture, is rounded worse than to nearest without the
# second term (V1, 128 pictures, squared error on others: nearest 6.1e-4, 1 % 7.1e-4, with this 4.1e-4).
_DAMPING = 0.01
_DAMPING_FOR_FEW = 0.25


def fit_weights(
    op: Op, zeroed: torch.Tensor, shape: tuple[int, int], source: Affine, result: Affine, scheme: Scheme
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """The layer's weight scales ``[O]`` and integers in the weight's shape.

    Args:
        zeroed: the layer's integer input on the calibration images less its zero point, as float32.
        shape: height and width of the layer's output, 1 and 1 of a Gemm.
    """
    limit, groups = scheme.weight_limit, op.group
    floor = smallest_scale(op.bias, source, result)
    weight = torch.from_numpy(op.weight.astype(np.float64)).reshape(groups, op.weight.shape[0] // groups, -1)
    floors = torch.from_numpy(floor.astype(np.float64)).reshape(weight.shape[:2])
    if scheme.rounding == "nearest":
        scale = torch.maximum(torch.from_numpy(nearest_scale(op.weight, limit).astype(np.float64)), floors.flatten())
        scale = scale.to(torch.float32).to(torch.float64)
        integers = rounding.nearest(weight, scale.reshape(weight.shape[:2]), limit)
        return _numpy(scale, integers, op)
    hessian = moments.measure(op, zeroed, *shape)
    inputs = zeroed.shape[0] * shape[0] * shape[1]
    share = _DAMPING + _DAMPING_FOR_FEW * weight.shape[-1] / inputs
    damping = torch.diagonal(hessian, dim1=1, dim2=2).mean(1) * share + 1e-12
    hessian = hessian + damping[:, None, None] * torch.eye(weight.shape[-1], dtype=torch.float64)
    shares = _SHARES if scheme.scale_search else (1.0,)
    largest = weight.abs().amax(-1) / limit
    scales = torch.stack([torch.maximum(largest * share, floors) for share in shares], 1)
    scales = scales.to(torch.float32).to(torch.float64)  # [G, shares, R]
    rows = scales.reshape(groups, -1)
    tiled = weight.repeat(1, len(shares), 1)
    integers = rounding.round_rows(tiled, hessian, rows, limit)
    error = rounding.quadratic_error(integers * rows[:, :, None] - tiled, hessian).reshape(groups, len(shares), -1)
    best = error.argmin(1, keepdim=True)
    chosen = torch.take_along_dim(integers.reshape(groups, len(shares), -1, weight.shape[-1]), best[..., None], 1)
    return _numpy(torch.take_along_dim(scales, best, 1), chosen, op)


def _numpy(scale: torch.Tensor, integers: torch.Tensor, op: Op) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    return (
        scale.flatten().to(torch.float32).numpy(),
        integers.reshape(op.weight.shape).to(torch.int8).numpy(),
    )
