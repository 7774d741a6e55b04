"""Weights rounded against the second moments of what a layer really reads.

Let x be a layer's quantized input, centred because a bias takes care of means. Integers Q for the weights W should
minimize E‖(W − Q) x‖² = tr (W − Q) H (W − Q)ᵀ, which depends on calibration data only through H = E[x xᵀ].
:func:`round_columns` rounds one column at a time and moves each column's error to the columns still to come, in closed
form (Frantar and Alistarh, "Optimal Brain Compression", 2022, arXiv:2208.11580; Frantar et al., "GPTQ", 2022,
arXiv:2210.17323: the same through a Cholesky factor, any number of rows at once).

All arrays are batched over groups: weight ``[G, R, I]``, H ``[G, I, I]``; a dense layer has G = 1, a depthwise one
R = 1.
"""

from __future__ import annotations

import torch

_BLOCK = 48


def quadratic_error(change: torch.Tensor, hessian: torch.Tensor) -> torch.Tensor:
    """E(change · x)² of every row: ``[G, R]``."""
    return ((change @ hessian) * change).sum(-1)


def round_columns(weight: torch.Tensor, hessian: torch.Tensor, scale: torch.Tensor, limit: int) -> torch.Tensor:
    """Integers ``[G, R, I]`` within ±limit such that integers × scale is close to ``weight`` in the metric ``hessian``.

    Args:
        weight: real weights, float64 ``[G, R, I]``.
        hessian: positive definite (damped) second moments, float64 ``[G, I, I]``.
        scale: per row, float64 ``[G, R]``.
    """
    columns = weight.shape[-1]
    # The columns whose inputs carry most energy go first, while there are others left to take up their error.
    order = torch.argsort(torch.diagonal(hessian, dim1=1, dim2=2), dim=1, descending=True, stable=True)
    groups = torch.arange(len(weight))[:, None]
    remaining = weight.transpose(1, 2)[groups, order].transpose(1, 2).clone()
    permuted = hessian[groups[:, :, None], order[:, :, None], order[:, None, :]]
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(permuted))
    upper = torch.linalg.cholesky(inverse, upper=True)
    integers = torch.empty_like(remaining)
    for start in range(0, columns, _BLOCK):
        stop = min(start + _BLOCK, columns)
        errors = torch.empty_like(remaining[:, :, start:stop])
        for column in range(start, stop):
            here = remaining[:, :, column]
            integers[:, :, column] = torch.clamp(torch.round(here / scale), -limit, limit)
            error = (here - integers[:, :, column] * scale) / upper[:, None, column, column]
            errors[:, :, column - start] = error
            remaining[:, :, column + 1 : stop] -= error[:, :, None] * upper[:, None, column, column + 1 : stop]
        remaining[:, :, stop:] -= errors @ upper[:, start:stop, stop:]
    back = torch.argsort(order, dim=1)
    return integers.transpose(1, 2)[groups, back].transpose(1, 2)


def round_rows(weight: torch.Tensor, hessian: torch.Tensor, scale: torch.Tensor, limit: int) -> torch.Tensor:
    """:func:`round_columns`, or nearest rounding where that is closer: errors that hit the limit cannot move on."""
    columns, plain = round_columns(weight, hessian, scale, limit), nearest(weight, scale, limit)
    real = scale[:, :, None]
    better = quadratic_error(columns * real - weight, hessian) <= quadratic_error(plain * real - weight, hessian)
    return torch.where(better[:, :, None], columns, plain)


def nearest(weight: torch.Tensor, scale: torch.Tensor, limit: int) -> torch.Tensor:
    """Nearest integers, ties to even."""
    return torch.clamp(torch.round(weight / scale[:, :, None]), -limit, limit)
