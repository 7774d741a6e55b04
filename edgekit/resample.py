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
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Axis = tuple[int, int, int, int]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
_Products = list[tuple[Floats, Floats, Floats]]  # weights, source, result
_Step = tuple[Pixels, Floats, _Products, Floats, Pixels]

# Result rows per matrix product. The weights of neighbouring rows overlap, so a few rows share one small dense matrix:
# fewer waste fewer multiplications on zeros, more read each pixel less often. 3 and 5 to 8 took longer.
_ROWS = 4
# Bytes of float buffers in use at a time, which should stay in the second-level cache of a small board.
_BUFFERS = 512 << 10
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
        (y0, y1), row_weights = _dense(rows, self._block)
        (x0, x1), column_weights = _dense(columns, self._block)
        height, width = row_weights.shape[1], column_weights.shape[1]
        self.window = (slice(y0, y1), slice(x0, x1))
        out_h, out_w = rows[3], columns[3]
        self._blocks = np.empty((height, width, channels), np.uint8)
        # "turned" has x before y, so that the pass over x is a product with whole rows too.
        self._turned = np.empty((width, height, channels), np.uint8)
        self._narrow = np.empty((out_w, height, channels), np.uint8)
        self._across = _Product(column_weights, self._turned, self._narrow)
        self._upright = np.empty((height, out_w, channels), np.uint8)
        self._small = np.empty((out_h, out_w, channels), np.uint8)
        self._down = _Product(row_weights, self._upright, self._small)

    @property
    def window_shape(self) -> tuple[int, int]:
        return _shape(self.window)

    def __call__(self, window: Pixels) -> Pixels:
        if self._block > 1:
            cv2.resize(window, self._blocks.shape[1::-1], self._blocks, interpolation=cv2.INTER_AREA)
            window = self._blocks
        cv2.transpose(window, self._turned)
        self._across()
        cv2.transpose(self._narrow, self._upright)
        self._down()
        return self._small


class _Product:
    """A banded matrix ``dense`` ``[rows, source rows]`` times ``source``, rounded to the nearest uint8, in ``target``.

    A few result rows at a time are one small dense product, and a stretch of such products is one call of ``matmul``,
    which asks that their source rows start at even distances. They nearly do: bands follow each other in pairs whose
    starts model the true ones, and the few weights more that this takes are zeros. Buffers hold one stretch and stay
    in the cache; every operand is a view that is made once, since slicing would cost as much as multiplying.
    """

    def __init__(self, dense: Floats, source: Pixels, target: Pixels) -> None:
        source, target = source.reshape(len(source), -1), target.reshape(len(target), -1)
        columns = source.shape[1]
        rows_per_pair = 2 * _ROWS + math.ceil(2 * _ROWS * dense.shape[1] / len(dense))
        pairs = max(1, _BUFFERS // (rows_per_pair * columns * 4))
        height = 2 * _ROWS * pairs
        stretches = [_stretch(dense[row : row + height], row) for row in range(0, len(dense), height)]
        # Zeros at first: where a stretch reaches over the last source row, zero weights must meet numbers.
        floats = np.zeros((max(s.reach for s in stretches), columns), np.float32)
        sums = np.empty((height, columns), np.float32)
        self._steps: list[_Step] = []  # source rows, them as floats, products, their results, result rows
        for s in stretches:
            stop = min(s.start + s.reach, dense.shape[1])
            rows_out = slice(s.row, min(s.row + height, len(dense)))
            self._steps.append(
                (
                    source[s.start : stop],
                    floats[: stop - s.start],
                    s.products(floats, sums),
                    sums[: rows_out.stop - rows_out.start],
                    target[rows_out],
                )
            )

    def __call__(self) -> None:
        for source, floats, products, sums, target in self._steps:
            np.copyto(floats, source)
            for weights, panel, result in products:
                np.matmul(weights, panel, result)
            cv2.convertScaleAbs(sums, target)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Pairs of bands, from result row ``row`` on.

    Attributes:
        weights: float32 ``[pairs, 2, rows, taps]``. start: the source row of the first weight.
        step, half: source rows from one pair to the next, and from a pair's first band to its second.
    """

    row: int
    start: int
    step: int
    half: int
    weights: Floats

    @property
    def reach(self) -> int:
        """How many source rows from ``start`` on the weights cover."""
        return (len(self.weights) - 1) * self.step + self.half + int(self.weights.shape[3])

    def products(self, floats: Floats, sums: Floats) -> _Products:
        """(weights, source, sums) for ``matmul``: views of the two buffers, in panels of columns."""
        pairs, _, rows, taps = self.weights.shape
        width = max(1, _PRODUCT // (rows * taps))
        found = []
        for left in range(0, floats.shape[1], width):
            panel = floats[:, left : left + width]
            down, along = panel.strides
            source = as_strided(
                panel, (pairs, 2, taps, panel.shape[1]), (self.step * down, self.half * down, down, along)
            )
            target = sums[: pairs * 2 * rows].reshape(pairs, 2, rows, -1)[..., left : left + width]
            found.append((self.weights, source, target))
        return found


def _stretch(dense: Floats, row: int) -> _Stretch:
    """``dense``, the weights of the result rows from ``row`` on, as bands of ``_ROWS`` on the tightest even grid."""
    used = [np.flatnonzero(dense[top : top + _ROWS].any(axis=0)) for top in range(0, len(dense), _ROWS)]
    low, high = np.array([span[0] for span in used]), np.array([span[-1] + 1 for span in used])
    number = np.arange(len(used))
    advance = float(low[-1] - low[0]) / max(1, len(used) - 1)
    best: tuple[int, int, int, int] | None = None
    for step in {math.floor(2 * advance), math.ceil(2 * advance)}:
        for half in {math.floor(advance), math.ceil(advance)}:
            grid = number // 2 * step + number % 2 * half
            start = int((low - grid).min())
            taps = int((high - grid).max()) - start
            if start >= 0 and (best is None or taps < best[0]):
                best = taps, start, step, half
    if best is None:  # every grid starts before the first source row; bands that all start together always fit
        best = int(high.max() - low.min()), int(low.min()), 0, 0
    taps, start, step, half = best
    weights = np.zeros((-(-len(used) // 2) * 2, _ROWS, taps), np.float32)
    for band in number.tolist():
        first = start + band // 2 * step + band % 2 * half
        own = dense[band * _ROWS : (band + 1) * _ROWS, first : first + taps]
        weights[band, : own.shape[0], : own.shape[1]] = own
    return _Stretch(row, start, step, half, weights.reshape(-1, 2, _ROWS, taps))


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


def _dense(axis: Axis, block: int) -> tuple[tuple[int, int], Floats]:
    """The weights of an axis, summed over blocks of pixels.

    Returns:
        (start, stop) of the source pixels in use; float32 ``[count, blocks]``, blocks counted from start.
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
    return (start, start + blocks * block), dense.astype(np.float32)


def _shape(window: tuple[slice, slice]) -> tuple[int, int]:
    rows, columns = window
    return rows.stop - rows.start, columns.stop - columns.start
