"""A clip of the pictograms, rendered as it plays: ``edgekit run --camera demo`` on a machine without a camera.

Each pictogram's card slides in, sways before the camera for a second and slides out; at the end the desk stays empty.
Cheap enough for a small board: only the card's surroundings are touched in each frame, in 8 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from edgekit.demo import pictograms, scenery
from edgekit.demo.render import NOTHING, Page, Pose, card

WIDTH, HEIGHT, FPS = 640, 480, 30
SEGMENT = 30  # frames for each pictogram
SLIDE = 5  # of these, how many to come in and how many to go
_SEED = 12
_SIDE = 230  # pixels of a pictogram's side, on average
_PAPER, _INK = 235, 28


class Clip:
    """Frames by index, 0 to ``len(clip) - 1``; the same on every machine up to OpenCV's rounding."""

    def __init__(self) -> None:
        rng = np.random.default_rng(_SEED)
        self.labels = (*pictograms.NAMES, NOTHING)
        desk = scenery.background(rng, HEIGHT, WIDTH) * 0.7 + 25
        self._desk = cv2.GaussianBlur(desk, (0, 0), 3).astype(np.uint8)
        # Sensor noise: one large field, read from another corner in each frame, as what it adds and what it takes.
        noise = np.repeat(np.rint(rng.normal(0, 3, (HEIGHT + 64, WIDTH + 64, 1))), 3, axis=2)
        self._brighter, self._darker = (np.maximum(sign * noise, 0).astype(np.uint8) for sign in (1, -1))
        self._cards = {name: _printed(card(name, _SIDE)) for name in pictograms.NAMES}
        self._reach = card(pictograms.NAMES[0], 16).reach

    def __len__(self) -> int:
        return len(self.labels) * SEGMENT

    def label(self, index: int) -> str | None:
        """What frame ``index`` shows, or None while a card slides in or out."""
        segment, step = divmod(index, SEGMENT)
        label = self.labels[segment]
        return label if label == NOTHING or SLIDE <= step < SEGMENT - SLIDE else None

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index`` as a new array, uint8 BGR ``[480, 640, 3]``."""
        segment, step = divmod(index, SEGMENT)
        frame = self._desk.copy()
        if self.labels[segment] != NOTHING:
            self._lay(frame, self._cards[self.labels[segment]], _pose(index, step))
        cv2.convertScaleAbs(frame, frame, 0.95 + 0.1 * math.sin(index / 23), 0)  # lamps flicker, cameras adjust
        y, x = (index * 37) % 64, (index * 23) % 64
        cv2.add(frame, self._brighter[y : y + HEIGHT, x : x + WIDTH], frame)
        cv2.subtract(frame, self._darker[y : y + HEIGHT, x : x + WIDTH], frame)
        return frame

    def _lay(self, frame: NDArray[np.uint8], printed: NDArray[np.uint8], pose: Pose) -> None:
        size, reach = len(printed), self._reach
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
        seen = pose.project(corners * reach)
        x0, y0 = np.maximum(np.floor(seen.min(axis=0)).astype(int) - 1, 0)
        x1, y1 = np.minimum(np.ceil(seen.max(axis=0)).astype(int) + 2, (WIDTH, HEIGHT))
        if x0 >= x1 or y0 >= y1:
            return
        source = ((corners + 1) * size / 2 - 0.5).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(source, (seen - (x0, y0)).astype(np.float32))
        place = frame[y0:y1, x0:x1]
        warped = cv2.warpPerspective(printed, matrix, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
        cv2.copyTo(warped, cv2.cvtColor(warped, cv2.COLOR_BGR2GRAY), place)
        cv2.GaussianBlur(place, (3, 3), 0, place)


def frames() -> Iterator[NDArray[np.uint8]]:
    """The clip's frames in order, once: uint8 BGR ``[480, 640, 3]``, meant for 30 a second; each is a new array."""
    clip = Clip()
    return (clip.frame(index) for index in range(len(clip)))


def _printed(page: Page) -> NDArray[np.uint8]:
    """A card as BGR pixels; black (0) is left for "no card here"."""
    ink = page.ink[..., None].astype(np.float32) / 255
    paper = np.array([_PAPER - 8, _PAPER, _PAPER], np.float32)
    return np.asarray(np.rint(paper + ink * (_INK - paper)), np.uint8)


def _pose(index: int, step: int) -> Pose:
    """Where the card is: smooth, and different for each pictogram because the swaying never stops."""
    t = index / FPS
    out = max(SLIDE - step, 0) - max(step - (SEGMENT - 1 - SLIDE), 0)
    slide = math.copysign((out / SLIDE) ** 2, out) * WIDTH
    return Pose(
        centre=(WIDTH / 2 + slide + 30 * math.sin(1.7 * t), HEIGHT / 2 + 22 * math.sin(2.3 * t + 1)),
        side=_SIDE + 55 * math.sin(1.1 * t),
        roll=0.3 * math.sin(1.3 * t),
        pitch=0.4 * math.sin(1.9 * t + 2),
        yaw=0.45 * math.sin(1.5 * t + 4),
        depth=0.2,
    )
