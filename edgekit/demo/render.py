"""Renders a pictogram as a camera would see it: printed, held in some room at some angle, lit and photographed.

A printed page is described in the pictogram's own units: the pictogram fills the square from -1 to 1, and a card cut
from the sheet reaches to ±``CELL``. :class:`Pose` says how the page stands before the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edgekit.demo import pictograms, scenery

NOTHING = "nothing"
# Sorted, as every folder-per-class data set is, so that index and folder agree in other people's tools too.
LABELS: tuple[str, ...] = tuple(sorted((*pictograms.NAMES, NOTHING)))

# Half the side of a card, in half pictograms: the sheet leaves this much paper around each.
CELL = 1.6
# The short side that the default image contract resizes to, at 4:3.
HEIGHT, WIDTH = 256, 341
_VIEW = 224  # what its crop keeps


@dataclass(frozen=True)
class Pose:
    """Where the page is. ``centre`` and ``side`` (of the pictogram, seen from the front) in pixels, angles in radians.

    ``depth`` is half the pictogram's side over its distance: how strong the perspective is.
    """

    centre: tuple[float, float]
    side: float
    roll: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0
    depth: float = 0.2

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points on the page ``[n, 2]`` in pictogram units to pixels ``[n, 2]``."""
        (cr, cp, cy), (sr, sp, sy) = (
            np.cos([self.roll, self.pitch, self.yaw]),
            np.sin([self.roll, self.pitch, self.yaw]),
        )
        x = cr * points[:, 0] - sr * points[:, 1]
        y = sr * points[:, 0] + cr * points[:, 1]
        y, z = cp * y, sp * y
        x, z = cy * x + sy * z, cy * z - sy * x
        scale = self.side / 2 / np.maximum(1 + self.depth * z, 0.2)
        return np.stack([self.centre[0] + x * scale, self.centre[1] + y * scale], axis=1)


@dataclass(frozen=True)
class Page:
    """A printed page: ``ink`` uint8 ``[n, n]``, 0–255, over the square ±``reach`` in pictogram units."""

    ink: NDArray[np.uint8]
    reach: float

    def place(self, pose: Pose, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """How much paper and how much ink covers each pixel, two float32 ``[height, width]`` in 0–1."""
        size = len(self.ink)
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
        source = ((corners + 1) * size / 2 - 0.5).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(source, pose.project(corners * self.reach).astype(np.float32))
        both = np.empty((size, size, 2), np.uint8)
        both[..., 0], both[..., 1] = 255, self.ink
        seen = cv2.warpPerspective(both, matrix, (width, height), flags=cv2.INTER_LINEAR)
        covered = seen.astype(np.float32) / np.float32(255)
        return covered[..., 0], covered[..., 1]


@cache
def _ink(name: str) -> NDArray[np.uint8]:
    return pictograms.draw(name, 256)


def card(name: str, side: float) -> Page:
    """A cut-out card whose pictogram is about ``side`` pixels large on the page, for poses of that size."""
    page = _blank(side, CELL)
    _print(page, name, (0, 0), caption=name)
    return page


def _blank(side: float, reach: float) -> Page:
    size = max(16, round(side * reach))
    return Page(np.zeros((size, size), np.uint8), reach)


def _print(page: Page, name: str, at: tuple[float, float], caption: str) -> None:
    """Adds a pictogram, centred on ``at`` in pictogram units, and a word below it."""
    unit = len(page.ink) / (2 * page.reach)
    side = max(8, round(2 * unit))
    ink = cv2.resize(_ink(name), (side, side), interpolation=cv2.INTER_AREA)
    left, top = (round((c + page.reach - 1) * unit) for c in at)
    y0, x0 = max(top, 0), max(left, 0)
    target = page.ink[y0 : top + side, x0 : left + side]
    target[...] = ink[y0 - top : y0 - top + target.shape[0], x0 - left : x0 - left + target.shape[1]]
    scale = unit * 0.25 / 22  # a capital of cv2's plain font is 22 pixels high at scale 1
    face, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(scale * 2))
    (text_width, _), _ = cv2.getTextSize(caption, face, scale, thickness)
    origin = round(left + side / 2 - text_width / 2), round(top + side + 0.42 * unit)
    cv2.putText(page.ink, caption, origin, face, scale, 255, thickness, cv2.LINE_AA)


def scene(name: str, rng: Generator, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """A random picture, uint8 BGR ``[height, width, 3]``, of one of :data:`LABELS`.

    The same state of ``rng`` gives the same picture (up to rounding between versions of OpenCV and processors).
    """
    picture = scenery.background(rng, height, width)
    pose = _pose(rng, height, width)
    page = _nothing(rng, pose) if name == NOTHING else _page(name, rng, pose)
    if page is not None:
        _lay(rng, picture, _bent(rng, page), pose)
    if rng.random() < 0.35:
        scenery.fingers(rng, picture, pose.centre, pose.side / 2)
    return scenery.camera(rng, scenery.light(rng, picture))


def _pose(rng: Generator, height: int, width: int) -> Pose:
    view = _VIEW * min(height, width) / HEIGHT
    side = view * rng.uniform(0.32, 0.95)
    play = (view - side) / 2 * 0.8 + view * 0.02
    return Pose(
        centre=(width / 2 + rng.uniform(-play, play), height / 2 + rng.uniform(-play, play)),
        side=side,
        roll=float(np.clip(rng.normal(0, 0.27), -0.7, 0.7)),
        pitch=float(np.clip(rng.normal(0, 0.35), -0.85, 0.85)),
        yaw=float(np.clip(rng.normal(0, 0.35), -0.85, 0.85)),
        depth=rng.uniform(0.05, 0.35),
    )


def _page(name: str, rng: Generator, pose: Pose) -> Page:
    """A card, or the middle of a sheet; a whole sheet only from so near that its other pictograms are cut off."""
    others = [str(other) for other in rng.permutation([other for other in pictograms.NAMES if other != name])]
    # The drawing is to be learnt, not the word below it: often there is none, sometimes it is a wrong one.
    caption = name if rng.random() < 0.4 else others[-1] if rng.random() < 0.3 else ""
    near = pose.side > 0.52 * _VIEW
    page = _blank(pose.side, 3 * CELL if near and rng.random() < 0.5 else CELL)
    _print(page, name, (0, 0), caption)
    if page.reach == CELL:
        return page
    steps = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if (x, y) != (0, 0)]
    missing_x, missing_y = rng.integers(-2, 3, 2)  # beside a page's margin there are no neighbours
    for other, (x, y) in zip(others, steps, strict=False):
        if x != missing_x and y != missing_y:
            _print(page, other, (x * 2 * CELL, y * 2 * CELL), caption and other)
    return page


def _nothing(rng: Generator, pose: Pose) -> Page | None:
    """No page at all, an empty one, or one with writing or blots that are no pictogram."""
    kind = rng.random()
    if kind < 0.45:
        return None
    page = _blank(pose.side, CELL * rng.uniform(0.6, 2))
    size = len(page.ink)
    if kind > 0.55:
        for _ in range(int(rng.integers(1, 9))):
            origin = int(rng.integers(0, size)), int(rng.integers(0, size))
            scenery.write(rng, page.ink, origin, size / 400 * rng.uniform(0.5, 6), (255, 255, 255))
    if kind > 0.88:
        for _ in range(int(rng.integers(1, 4))):
            middle, reach = rng.uniform(0.2, 0.8, 2) * size, rng.uniform(0.05, 0.4) * size
            points = (middle + rng.uniform(-reach, reach, (int(rng.integers(3, 9)), 2))).astype(np.int32)
            if rng.random() < 0.5:
                cv2.fillPoly(page.ink, [points], 255, cv2.LINE_AA)
            else:
                cv2.polylines(page.ink, [points], True, 255, max(1, size // 30), cv2.LINE_AA)
    return page


def _bent(rng: Generator, page: Page) -> Page:
    """The page's ink, displaced as on paper that does not lie flat."""
    if rng.random() < 0.5:
        return page
    size = len(page.ink)
    t = np.linspace(-1, 1, size, dtype=np.float32)
    sway = rng.uniform(-0.05, 0.05, 2) * size
    bow_x, bow_y = np.cos(t * np.pi / 2 * rng.uniform(0.5, 2)), np.cos(t * np.pi / 2 * rng.uniform(0.5, 2))
    grid = np.arange(size, dtype=np.float32)
    map_x = (grid[None, :] + sway[0] * bow_y[:, None]).astype(np.float32)
    map_y = (grid[:, None] + sway[1] * bow_x[None, :]).astype(np.float32)
    return Page(np.asarray(cv2.remap(page.ink, map_x, map_y, cv2.INTER_LINEAR), np.uint8), page.reach)


def _lay(rng: Generator, picture: scenery.Picture, page: Page, pose: Pose) -> None:
    """Puts the page into the picture: white or tinted paper with a soft shadow, black or dark ink."""
    height, width = picture.shape[:2]
    paper, ink = page.place(pose, height, width)
    if rng.random() < 0.5:
        drift = np.array([[1, 0, rng.uniform(-8, 8)], [0, 1, rng.uniform(-8, 8)]], np.float32)
        shade = cv2.GaussianBlur(cv2.warpAffine(paper, drift, (width, height)), (0, 0), rng.uniform(1.5, 6))
        picture *= 1 - rng.uniform(0.2, 0.6) * shade[..., None]
    white = np.array(scenery.colour(rng, 200, 256), np.float32)
    black = np.array(scenery.colour(rng, 0, 40 if rng.random() < 0.7 else 130), np.float32)
    picture += paper[..., None] * (white - picture)
    picture += ink[..., None] * (black - picture)
