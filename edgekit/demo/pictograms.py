"""The twelve pictograms of the demo, as shapes rather than pictures, so that they are sharp at any size.

A pictogram is drawn in a square from -1 to 1 (x to the right, y down) by a function that takes a :class:`Pen`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]

# Shapes are drawn this many times larger and averaged down; cv2's own anti-aliasing alone leaves steps at small sizes.
_OVERSAMPLE = 4
# Fractional bits of cv2's drawing coordinates.
_SHIFT = 6


class Pen:
    """Draws filled shapes in the unit square onto ``ink``, uint8 ``[size, size]``, 255 where there is ink."""

    def __init__(self, size: int) -> None:
        self.ink = np.zeros((size, size), np.uint8)
        self._scale = size / 2.0

    def _fixed(self, points: Iterable[Point]) -> NDArray[np.int32]:
        unit = np.asarray(list(points), np.float64)
        return np.rint(((unit + 1) * self._scale - 0.5) * (1 << _SHIFT)).astype(np.int32)

    def fill(self, points: Iterable[Point], ink: int = 255) -> None:
        """A polygon."""
        cv2.fillPoly(self.ink, [self._fixed(points)], ink, cv2.LINE_AA, _SHIFT)

    def disc(self, x: float, y: float, radius: float, ink: int = 255) -> None:
        centre = self._fixed([(x, y)])[0]
        fixed_radius = round(radius * self._scale * (1 << _SHIFT))
        cv2.circle(self.ink, (int(centre[0]), int(centre[1])), fixed_radius, ink, cv2.FILLED, cv2.LINE_AA, _SHIFT)

    def stroke(self, points: Iterable[Point], width: float, ink: int = 255) -> None:
        """A line with round ends and corners."""
        path = list(points)
        for a, b in pairwise(path):
            self.fill(_bar(a, b, width), ink)
        for x, y in path:
            self.disc(x, y, width / 2, ink)

    def ring(self, x: float, y: float, radius: float, width: float) -> None:
        """A circle's line; ``radius`` is that of its middle."""
        self.stroke(arc(x, y, radius, radius, 0, 360), width)


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float, steps: int = 48) -> list[Point]:
    """Points on an ellipse; degrees, 0 to the right, clockwise as seen (y points down)."""
    angles = np.radians(np.linspace(start, stop, steps + 1))
    return [(x + rx * float(np.cos(a)), y + ry * float(np.sin(a))) for a in angles]


def _bar(a: Point, b: Point, width: float) -> list[Point]:
    along = np.subtract(b, a)
    length = float(np.hypot(*along)) or 1.0
    dx, dy = -along[1] / length * width / 2, along[0] / length * width / 2
    return [(a[0] + dx, a[1] + dy), (b[0] + dx, b[1] + dy), (b[0] - dx, b[1] - dy), (a[0] - dx, a[1] - dy)]


def _anchor(pen: Pen) -> None:
    pen.ring(0, -0.72, 0.16, 0.12)
    pen.stroke([(0, -0.55), (0, 0.8)], 0.17)
    pen.stroke([(-0.4, -0.32), (0.4, -0.32)], 0.15)
    pen.stroke(arc(0, 0.12, 0.72, 0.7, 15, 165), 0.17)
    for side in (-1, 1):
        pen.fill([(side * 0.98, 0.42), (side * 0.78, -0.08), (side * 0.42, 0.38)])


def _bicycle(pen: Pen) -> None:
    for x in (-0.54, 0.54):
        pen.ring(x, 0.32, 0.36, 0.11)
    pen.stroke([(-0.54, 0.32), (-0.24, -0.28), (0.34, -0.28), (-0.04, 0.32), (-0.54, 0.32)], 0.1)
    pen.stroke([(-0.04, 0.32), (-0.3, -0.42)], 0.1)
    pen.stroke([(-0.46, -0.46), (-0.14, -0.46)], 0.13)
    pen.stroke([(0.54, 0.32), (0.3, -0.56), (0.56, -0.6)], 0.1)


def _car(pen: Pen) -> None:
    pen.fill([(-0.95, 0.05), (-0.6, -0.02), (-0.36, -0.42), (0.3, -0.42), (0.58, -0.02), (0.95, 0.08), (0.95, 0.42),
              (-0.95, 0.42)])  # fmt: skip
    pen.fill([(-0.44, -0.02), (-0.28, -0.3), (-0.06, -0.3), (-0.06, -0.02)], 0)
    pen.fill([(0.06, -0.02), (0.06, -0.3), (0.24, -0.3), (0.42, -0.02)], 0)
    for x in (-0.52, 0.52):
        pen.disc(x, 0.42, 0.29, 0)
        pen.disc(x, 0.42, 0.23)
        pen.disc(x, 0.42, 0.09, 0)


def _cup(pen: Pen) -> None:
    pen.stroke(arc(0.42, 0.24, 0.36, 0.28, -100, 100), 0.14)
    pen.fill([(-0.72, -0.2), (0.5, -0.2), (0.42, 0.62), (0.26, 0.78), (-0.48, 0.78), (-0.64, 0.62)])
    pen.stroke([(-0.85, 0.9), (0.63, 0.9)], 0.1)
    for x in (-0.4, -0.1, 0.2):
        wave = np.linspace(0, 1, 17)
        pen.stroke([(x + 0.07 * float(np.sin(2 * np.pi * t)), -0.85 + 0.46 * float(t)) for t in wave], 0.09)


def _fish(pen: Pen) -> None:
    body = arc(-0.18, 0.62, 1.0, 1.0, -140, -40) + arc(-0.18, -0.62, 1.0, 1.0, 40, 140)
    pen.fill([(0.9 * x - 0.05, 1.1 * y) for x, y in body])
    pen.fill([(0.3, 0.0), (0.95, -0.46), (0.8, 0.0), (0.95, 0.46)])
    pen.fill([(-0.3, -0.36), (0.02, -0.62), (0.24, -0.28)])
    pen.disc(-0.58, -0.08, 0.075, 0)
    pen.stroke(arc(-0.55, 0, 0.24, 0.3, -50, 50), 0.06, 0)


def _heart(pen: Pen) -> None:
    # The well-known curve x = 16 sin³t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, scaled into the square.
    t = np.linspace(0, 2 * np.pi, 120)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    pen.fill([(float(a) / 17.5, -float(b) / 17.5 - 0.08) for a, b in zip(x, y, strict=True)])


def _house(pen: Pen) -> None:
    pen.fill([(0.38, -0.8), (0.62, -0.8), (0.62, -0.2), (0.38, -0.4)])
    pen.fill([(0, -0.92), (0.98, 0.0), (0.84, 0.14), (0, -0.62), (-0.84, 0.14), (-0.98, 0.0)])
    pen.fill([(-0.66, 0.1), (0, -0.5), (0.66, 0.1), (0.66, 0.88), (-0.66, 0.88)])
    pen.fill([(0.1, 0.88), (0.1, 0.3), (0.44, 0.3), (0.44, 0.88)], 0)
    pen.fill([(-0.46, 0.3), (-0.12, 0.3), (-0.12, 0.6), (-0.46, 0.6)], 0)


def _key(pen: Pen) -> None:
    pen.ring(-0.58, 0, 0.3, 0.18)
    pen.stroke([(-0.24, 0), (0.86, 0)], 0.16)
    pen.fill([(0.44, 0), (0.6, 0), (0.6, 0.38), (0.44, 0.38)])
    pen.fill([(0.76, 0), (0.94, 0), (0.94, 0.46), (0.76, 0.46)])


def _lightning(pen: Pen) -> None:
    pen.fill([(0.28, -0.96), (-0.56, 0.12), (-0.06, 0.12), (-0.3, 0.96), (0.58, -0.22), (0.06, -0.22)])


def _star(pen: Pen) -> None:
    radii = [0.98, 0.41] * 5
    angles = np.radians(np.arange(10) * 36 - 90)
    pen.fill([(r * float(np.cos(a)), r * float(np.sin(a)) + 0.06) for r, a in zip(radii, angles, strict=True)])


def _tree(pen: Pen) -> None:
    pen.fill([(-0.12, 0.5), (0.12, 0.5), (0.12, 0.96), (-0.12, 0.96)])
    for top, bottom, half in ((-0.96, -0.34, 0.4), (-0.58, 0.14, 0.56), (-0.16, 0.62, 0.72)):
        pen.fill([(0, top), (half, bottom), (-half, bottom)])


def _umbrella(pen: Pen) -> None:
    pen.fill(arc(0, -0.02, 0.95, 0.82, 180, 360))
    for x in (-0.63, 0, 0.63):
        pen.fill([*arc(x, 0.02, 0.31, 0.2, 180, 360), (x, 0.1)], 0)
    pen.stroke([(0, -0.94), (0, -0.8)], 0.1)
    pen.stroke([(0, -0.3), (0, 0.68), *arc(0.18, 0.68, 0.18, 0.2, 180, 0)], 0.1)


_DRAWINGS: dict[str, Callable[[Pen], None]] = {
    "anchor": _anchor,
    "bicycle": _bicycle,
    "car": _car,
    "cup": _cup,
    "fish": _fish,
    "heart": _heart,
    "house": _house,
    "key": _key,
    "lightning": _lightning,
    "star": _star,
    "tree": _tree,
    "umbrella": _umbrella,
}

NAMES: tuple[str, ...] = tuple(_DRAWINGS)


def draw(name: str, size: int) -> NDArray[np.uint8]:
    """The ink of a pictogram, uint8 ``[size, size]``: 255 where the paper is printed, 0 where it is blank.

    Raises:
        KeyError: ``name`` is not in :data:`NAMES`.
    """
    pen = Pen(size * _OVERSAMPLE)
    _DRAWINGS[name](pen)
    return np.asarray(cv2.resize(pen.ink, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
