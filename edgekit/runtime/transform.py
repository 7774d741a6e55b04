"""Turning, mirroring and cutting a frame before the model sees it."""

from __future__ import annotations

import numpy as np

from edgekit.errors import UsageError
from edgekit.runtime.frames import Image
from edgekit.runtime.options import Flip, Roi


class Transform:
    """Rotates clockwise, then flips, then cuts out the region of interest.

    The region is in coordinates of the picture a person sees, after rotation and flip. It is mapped back and cut first,
    so that only its pixels are turned. Buffers are reused; a region alone costs nothing, being a view.
    """

    def __init__(self, *, roi: Roi | None = None, rotate: int = 0, flip: Flip = "none") -> None:
        self._roi = roi
        self._rotate = rotate
        self._flip = flip
        self._size: tuple[int, int] | None = None
        self._window: tuple[slice, slice] = (slice(None), slice(None))
        self._turned: Image | None = None
        self._flipped: Image | None = None

    @property
    def identity(self) -> bool:
        return self._roi is None and self._rotate == 0 and self._flip == "none"

    def __call__(self, image: Image) -> Image:
        """``image`` uint8 ``[H, W, 3]`` → a view of it or a buffer that the next call overwrites.

        Raises:
            UsageError: the region lies outside this picture.
        """
        if self.identity:
            return image
        height, width = image.shape[:2]
        if self._size != (height, width):
            self._size = height, width
            self._window = self._map_back(height, width)
        image = image[self._window]
        if self._rotate:
            image = self._turned = _rotate(image, self._rotate, self._turned)
        if self._flip != "none":
            image = self._flipped = _flip(image, self._flip, self._flipped)
        return image

    def _map_back(self, height: int, width: int) -> tuple[slice, slice]:
        """The region as rows and columns of the picture as it came, of ``height`` × ``width`` pixels."""
        if self._roi is None:
            return slice(None), slice(None)
        sideways = self._rotate in (90, 270)
        upright = (width, height) if sideways else (height, width)
        left, top, right, bottom = _pixels(self._roi, *upright)
        if self._flip == "horizontal":
            left, right = upright[1] - right, upright[1] - left
        elif self._flip == "vertical":
            top, bottom = upright[0] - bottom, upright[0] - top
        if self._rotate == 90:  # column x of the turned picture was row (height − 1 − x)
            rows, columns = (height - right, height - left), (top, bottom)
        elif self._rotate == 270:
            rows, columns = (left, right), (width - bottom, width - top)
        elif self._rotate == 180:
            rows, columns = (height - bottom, height - top), (width - right, width - left)
        else:
            rows, columns = (top, bottom), (left, right)
        return slice(*rows), slice(*columns)


def _pixels(roi: Roi, height: int, width: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom), cut at the picture's edge."""
    scale_x, scale_y = (width, height) if roi.fractions else (1, 1)
    left, top = round(roi.x * scale_x), round(roi.y * scale_y)
    right = min(width, round((roi.x + roi.width) * scale_x))
    bottom = min(height, round((roi.y + roi.height) * scale_y))
    if right <= left or bottom <= top:
        raise UsageError(
            f"--roi {roi.x:g},{roi.y:g},{roi.width:g},{roi.height:g} lies outside the picture of {width}x{height}",
            hint="fractions as in 0.25,0.0,0.5,1.0 fit every size",
        )
    return left, top, right, bottom


def _rotate(image: Image, degrees: int, buffer: Image | None) -> Image:
    import cv2

    code = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}[degrees]
    return np.asarray(cv2.rotate(image, code, buffer))


def _flip(image: Image, flip: Flip, buffer: Image | None) -> Image:
    import cv2

    return np.asarray(cv2.flip(image, 1 if flip == "horizontal" else 0, buffer))
