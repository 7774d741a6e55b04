"""Padding, half turns and column pairs, as properties over every window that fits a small picture."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from edgekit.emit import pairs
from edgekit.emit.turn import turned
from edgekit.emit.window import Window, grown, plan

sizes = st.integers(1, 17)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    kernel = draw(st.integers(1, 5))
    before, after = draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1))
    window = Window(draw(sizes), kernel, draw(st.integers(1, 3)), before, after)
    assume(window.size + before + after >= kernel)
    return window


def slide(row: np.ndarray, kernel: np.ndarray, window: Window) -> np.ndarray:
    """A convolution over [size, channels] with a kernel [outputs, channels, taps], straight from the definition."""
    out = np.zeros((window.outputs, kernel.shape[0]))
    for o in range(window.outputs):
        for k in range(window.kernel):
            at = o * window.stride - window.before + k
            if 0 <= at < window.size:
                out[o] += kernel[:, :, k] @ row[at]
    return out


def tflite_slide(row: np.ndarray, kernel: np.ndarray, stride: int, same: bool) -> np.ndarray:
    """What TFLite's SAME and VALID mean (``ComputePaddingWithOffset`` of its kernels)."""
    size, taps = len(row), kernel.shape[2]
    outputs = -(-size // stride) if same else (size - taps) // stride + 1
    total = max((outputs - 1) * stride + taps - size, 0) if same else 0
    return slide(row, kernel, Window(size, taps, stride, total // 2, max(total - total // 2, 0)))[:outputs]


def operands(window: Window, channels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(window.size * 31 + window.kernel)
    return rng.normal(size=(window.size, channels)), rng.normal(size=(3, channels, window.kernel))


@given(windows())
def test_every_way_of_padding_reads_the_same_pixels(window: Window) -> None:
    row, kernel = operands(window)
    way, taps = window.way(may_grow=True)
    if way == "pad":
        row_read = np.pad(row, ((window.before, window.needed_after), (0, 0)))
        got = tflite_slide(row_read, kernel, window.stride, same=False)
    else:
        wider = np.pad(kernel, ((0, 0), (0, 0), (0, taps - window.kernel)))
        got = tflite_slide(row, wider, window.stride, same=way != "valid")
    np.testing.assert_allclose(got, slide(row, kernel, window), atol=1e-12)


@given(windows(), windows())
def test_one_way_serves_both_axes(high: Window, wide: Window) -> None:
    way, kernel = plan(high, wide, may_grow=True)
    for window, taps in zip((high, wide), kernel, strict=True):
        if way == "pad":
            assert taps == window.kernel
        elif way == "valid":
            assert window.way(False)[0] == "valid"
        else:
            assert window.same_with(taps)
    weights = np.ones((1, 1, high.kernel, wide.kernel))
    assert grown(weights, kernel).sum() == weights.sum()


@given(windows())
def test_a_turned_window_reads_the_same_pixels(window: Window) -> None:
    other = turned(window)
    row, kernel = operands(window)
    if other is None:
        last = (window.outputs - 1) * window.stride - window.before + window.kernel
        assert last < window.size, "refused only where the last pixels are never read"
        return
    assert other.outputs >= window.outputs
    got = slide(row[::-1], kernel[:, :, ::-1], other)[: window.outputs]
    np.testing.assert_allclose(got[::-1], slide(row, kernel, window), atol=1e-12)


@given(st.integers(1, 8), st.integers(2, 5), st.data())
def test_pairs_of_columns_are_the_same_convolution(half: int, taps: int, data: st.DataObject) -> None:
    before, after = data.draw(st.integers(0, taps - 1)), data.draw(st.integers(0, taps - 1))
    assume(2 * half + before + after >= taps)
    window = Window(2 * half, taps, 2, before, after)
    assert pairs.possible(window, 3)
    row, kernel = operands(window, 3)
    weights, over = pairs.paired(kernel[:, :, None, :], window)
    got = slide(row.reshape(window.size // 2, 6), weights[:, :, 0], over)[: window.outputs]
    np.testing.assert_allclose(got, slide(row, kernel, window), atol=1e-12)


def test_torch_padding_at_stride_2_needs_a_turn() -> None:
    """On even sizes torch pads before and SAME after: the reason for half turns."""
    upright = Window(56, 3, 2, 1, 1)
    assert upright.way(False)[0] == "pad"
    assert upright.way(True) == ("grow", 4)
    other = turned(upright)
    assert other is not None and other.way(False)[0] == "same"
