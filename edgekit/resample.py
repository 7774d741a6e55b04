"""Resampling of the part of a frame that a crop needs, on exactly the grid that resizing the whole frame would use.

An axis is described by four integers ``(size, resized, first, count)``: ``size`` pixels are resized to ``resized``, of
which only ``count`` from ``first`` on are wanted. Pixel i of the result is centred on ``(i + 0.5) * size / resized``
in the source, whose pixel j spans ``[j, j + 1)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

Axis = tuple[int, int, int, int]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Output rows per matrix product. The weights of neighbouring rows overlap, so they share one small dense matrix;
# 8 wastes few multiplications on zeros and is what BLAS kernels are wide.
_BAND = 8
# Bands whose source rows become floats at once: all of them at once took 1.6 times as long on a busy machine.
_GROUP = 2
# Multiplications per matrix product: below the 2^18 where OpenBLAS starts threads (interface/gemm.c), whose hand-over
# costs more than so small a product.
_PRODUCT = 200_000
# From this reduction on, whole blocks of pixels are averaged first (see TriangleResampler).
_BLOCK_FROM = 4.0


class Resampler(Protocol):
    """Resamples frames of one size. ``window`` cuts the part that is read, of ``window_shape``, out of a frame."""

    window: tuple[slice, slice]

    @property
    def window_shape(self) -> tuple[int, int]: ...

    def __call__(self, window: Pixels) -> Pixels:
        """uint8 ``[h, w, C]`` (or ``[h, w]``) to uint8 ``[rows, columns, C]``, which the next call overwrites."""
        ...


class CvResampler:
    """OpenCV's ``INTER_LINEAR`` or ``INTER_AREA`` on a window of the frame.

    OpenCV resizes from a window's corner, so the window must begin where a whole number of result pixels does: its
    start is moved outwards until the two grids agree to 1/256 of a pixel, at worst to the frame's own corner.
    """

    def __init__(self, rows: Axis, columns: Axis, channels: int, interpolation: Literal["linear", "area"]) -> None:
        (y0, y1), top, height, scale_y = _cv_window(rows)
        (x0, x1), left, width, scale_x = _cv_window(columns)
        self.window = (slice(y0, y1), slice(x0, x1))
        self._scale = {"fx": 1 / scale_x, "fy": 1 / scale_y}
        self._crop = (slice(top, top + rows[3]), slice(left, left + columns[3]))
        # INTER_AREA has no meaning for enlarging; OpenCV would give nearest-like blocks.
        area = interpolation == "area" and min(scale_x, scale_y) > 1
        self._interpolation = cv2.INTER_AREA if area else cv2.INTER_LINEAR
        self._resized = np.empty((height, width, channels), np.uint8)

    @property
    def window_shape(self) -> tuple[int, int]:
        return _shape(self.window)

    def __call__(self, window: Pixels) -> Pixels:
        cv2.resize(window, None, self._resized, interpolation=self._interpolation, **self._scale)
        return self._resized[self._crop]


def _cv_window(axis: Axis) -> tuple[tuple[int, int], int, int, float]:
    """(start, stop) in the source, the offset of the wanted pixels in the resized window, its length, the scale."""
    size, resized, first, count = axis
    scale = size / resized
    for extra in range(first + 1):
        start = round((first - extra) * scale)
        aligned = abs((first - extra) * scale - start) < 1 / 256
        # Not beside the frame's edge, OpenCV must not repeat the window's first pixel where the frame has another.
        if aligned and (start == 0 or (extra + 0.5) * scale >= 0.5):
            break
    stop = min(size, start + math.ceil((extra + count) * scale) + 2)
    # The length OpenCV computes from fx and fy: rounded half to even.
    return (start, stop), extra, round((stop - start) * (1 / scale)), scale


class TriangleResampler:
    """PIL's antialiased bilinear: a triangle whose half width is the reduction (or 1 when enlarging), per axis.

    The weights are those of PIL's ``Image.resize(..., BILINEAR)``: support, clipping at the edges and normalization;
    and as there the columns are resampled first and rounded to 8 bits in between. Both passes are products of small
    banded matrices with float32 panels, which every NumPy does with its BLAS.

    Where the frame is more than 4 times as large as the result, blocks of k×k pixels are averaged first
    (``INTER_AREA`` with a whole factor, which OpenCV has in SIMD) and each block gets the summed weights of its pixels.
    """

    def __init__(self, rows: Axis, columns: Axis, channels: int) -> None:
        reduction = min(rows[0] / rows[1], columns[0] / columns[1])
        self._block = int(reduction / 2) if reduction >= _BLOCK_FROM else 1
        (y0, y1), row_bands, height = _bands(rows, self._block)
        (x0, x1), column_bands, width = _bands(columns, self._block)
        self.window = (slice(y0, y1), slice(x0, x1))
        out_h, out_w = rows[3], columns[3]
        self._blocks = np.empty((height, width, channels), np.uint8)
        # "turned" has x before y, so that the pass over x is a product with whole rows too.
        self._turned = np.empty((width, height, channels), np.uint8)
        self._across = _Product(column_bands, height * channels)
        self._upright = np.empty((height, out_w, channels), np.uint8)
        self._down = _Product(row_bands, out_w * channels)
        self._narrow = np.empty((out_w, height, channels), np.uint8)
        self._small = np.empty((out_h, out_w, channels), np.uint8)

    @property
    def window_shape(self) -> tuple[int, int]:
        return _shape(self.window)

    def __call__(self, window: Pixels) -> Pixels:
        if self._block > 1:
            cv2.resize(window, self._blocks.shape[1::-1], self._blocks, interpolation=cv2.INTER_AREA)
            window = self._blocks
        cv2.transpose(window, self._turned)
        self._across(self._turned, self._narrow)
        cv2.transpose(self._narrow, self._upright)
        self._down(self._upright, self._small)
        return self._small


class _Product:
    """A banded matrix times uint8 rows, rounded to the nearest uint8.

    Few bands are done at a time, through float buffers that stay in the second-level cache; every operand of every
    small product is a view that is made once, since slicing would cost as much as multiplying.
    """

    def __init__(self, bands: list[_Band], columns: int) -> None:
        groups = [bands[i : i + _GROUP] for i in range(0, len(bands), _GROUP)]
        spans = [(group[0].start, max(band.stop for band in group)) for group in groups]
        floats = np.empty((max(stop - start for start, stop in spans), columns), np.float32)
        sums = np.empty((_GROUP * _BAND, columns), np.float32)
        self._steps: list[_Step] = []
        row = 0
        for group, (start, stop) in zip(groups, spans, strict=True):
            products, done = [], 0
            for band in group:
                count, taps = band.weights.shape
                width = max(1, _PRODUCT // band.weights.size)
                for panel in (slice(column, column + width) for column in range(0, columns, width)):
                    source = floats[band.start - start : band.start - start + taps, panel]
                    products.append((band.weights, source, sums[done : done + count, panel]))
                done += count
            rows = slice(start, stop), slice(row, row + done)
            self._steps.append(_Step(*rows, floats[: stop - start], sums[:done], products))
            row += done

    def __call__(self, source: Pixels, target: Pixels) -> None:
        source, target = source.reshape(len(source), -1), target.reshape(len(target), -1)
        for step in self._steps:
            step.floats[...] = source[step.rows_in]
            for weights, floats, sums in step.products:
                np.matmul(weights, floats, out=sums)
            cv2.convertScaleAbs(step.sums, target[step.rows_out])


@dataclass(frozen=True, slots=True)
class _Band:
    """Weights of neighbouring result rows, float32 ``[rows, stop - start]``, over source rows ``start`` to ``stop``."""

    start: int
    weights: Floats

    @property
    def stop(self) -> int:
        return self.start + int(self.weights.shape[1])


@dataclass(frozen=True, slots=True)
class _Step:
    """Source rows, result rows, and between them the buffers and the products (weights, source, sums)."""

    rows_in: slice
    rows_out: slice
    floats: Floats
    sums: Floats
    products: list[tuple[Floats, Floats, Floats]]


def triangle_weights(axis: Axis) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """PIL's bilinear coefficients: for each wanted pixel its first source pixel, and weights that sum to 1.

    From Pillow's ``precompute_coeffs`` (src/libImaging/Resample.c): support = max(scale, 1), pixels from
    ``int(centre - support + 0.5)`` to ``int(centre + support + 0.5)``, clipped to the picture.

    Returns:
        ``first`` int64 ``[count]``; ``weights`` float64 ``[count, taps]``, zero beyond a pixel's own support.
    """
    size, resized, first, count = axis
    scale = size / resized
    support = max(scale, 1.0)
    centre = (first + np.arange(count) + 0.5) * scale
    low = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + support + 0.5).astype(np.int64), size)
    taps = np.arange(int((high - low).max()))
    distance = np.abs(low[:, None] + taps - centre[:, None] + 0.5) / support
    weights = np.where(taps < (high - low)[:, None], np.clip(1 - distance, 0, None), 0.0)
    return low, weights / weights.sum(axis=1, keepdims=True)


def _bands(axis: Axis, block: int) -> tuple[tuple[int, int], list[_Band], int]:
    """The weights as small dense matrices.

    Returns:
        (start, stop) of the source pixels in use; the bands, over blocks counted from start; the number of blocks.
    """
    size, _, _, count = axis
    first, weights = triangle_weights(axis)
    start = int(first.min())
    used = int((first + (weights > 0).sum(axis=1)).max()) - start
    blocks = min(-(-used // block), (size - start) // block)
    # A last block that would reach over the frame's edge is left out; its few pixels count for their neighbours.
    index = np.minimum((first[:, None] - start + np.arange(weights.shape[1])) // block, blocks - 1)
    dense = np.zeros((count, blocks))
    np.add.at(dense, (np.arange(count)[:, None], index), weights)
    bands = []
    for row in range(0, count, _BAND):
        part = dense[row : row + _BAND]
        nonzero = np.flatnonzero(part.any(axis=0))
        low, high = int(nonzero[0]), int(nonzero[-1]) + 1
        bands.append(_Band(low, np.ascontiguousarray(part[:, low:high], np.float32)))
    return (start, start + blocks * block), bands, blocks


def _shape(window: tuple[slice, slice]) -> tuple[int, int]:
    rows, columns = window
    return rows.stop - rows.start, columns.stop - columns.start
