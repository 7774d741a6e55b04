"""A small L-BFGS: smooth, unconstrained, deterministic."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
# Armijo's sufficient decrease, and the halvings tried before giving up ("Numerical Optimization", section 3.1).
_DECREASE = 1e-4
_HALVINGS = 12
_MEMORY = 12


def minimize(function: Callable[[Vector], tuple[float, Vector]], start: Vector, steps: int) -> Vector:
    """The point that at most ``steps`` iterations from ``start`` reach.

    Args:
        function: point → (value, gradient).

    The two-loop recursion of Nocedal and Wright, "Numerical Optimization", algorithm 7.4, with backtracking.
    """
    point = start
    value, gradient = function(point)
    history: deque[tuple[Vector, Vector]] = deque(maxlen=_MEMORY)
    for _ in range(steps):
        direction = -_inverse_hessian(gradient, history)
        slope = float(gradient @ direction)
        if slope >= 0:
            history.clear()
            direction, slope = -gradient, -float(gradient @ gradient)
        # The first step has no curvature to go by: no variable moves by more than a tenth.
        length = 1.0 if history else min(1.0, 0.1 / max(float(np.abs(direction).max()), 1e-12))
        for _ in range(_HALVINGS):
            candidate = point + length * direction
            new_value, new_gradient = function(candidate)
            if new_value <= value + _DECREASE * length * slope:
                break
            length *= 0.5
        else:
            return point
        move, change = candidate - point, new_gradient - gradient
        if float(move @ change) > 1e-12 * float(change @ change):
            history.append((move, change))
        converged = abs(value - new_value) <= 1e-5 * max(abs(value), 1.0)
        point, value, gradient = candidate, new_value, new_gradient
        if converged:
            break
    return point


def _inverse_hessian(gradient: Vector, history: deque[tuple[Vector, Vector]]) -> Vector:
    vector = gradient.copy()
    weights = []
    for move, change in reversed(history):
        weight = float(move @ vector) / float(move @ change)
        vector = vector - weight * change
        weights.append(weight)
    if history:
        move, change = history[-1]
        vector = vector * (float(move @ change) / float(change @ change))
    for (move, change), weight in zip(history, reversed(weights), strict=True):
        vector = vector + (weight - float(change @ vector) / float(move @ change)) * move
    return vector
