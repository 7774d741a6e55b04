import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgekit.quantize.affine import from_range

_reals = st.floats(-1e4, 1e4, allow_nan=False, width=32)


@given(_reals, _reals, st.lists(_reals, min_size=1, max_size=20))
def test_rounding_error_is_half_a_step_inside_the_range_and_zero_is_exact(
    a: float, b: float, values: list[float]
) -> None:
    affine = from_range(min(a, b), max(a, b))
    inside = np.clip(np.array(values, np.float32), affine.low, affine.high)
    error = np.abs(affine.dequantize(affine.quantize(inside)) - inside)
    assert error.max() <= 0.5001 * affine.scale + 1e-4 * np.abs(inside).max()
    assert affine.dequantize(affine.quantize(np.zeros(1)))[0] == 0


@given(_reals, _reals)
def test_the_range_is_covered_but_for_half_a_step(a: float, b: float) -> None:
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    affine = from_range(low, high)
    assert affine.low <= low + 0.51 * affine.scale
    assert affine.high >= high - 0.51 * affine.scale
    assert np.float32(affine.scale) == affine.scale


def test_a_range_above_zero_starts_at_zero() -> None:
    assert from_range(2.0, 5.1).zero_point == 0
    assert from_range(2.0, 5.1).scale == np.float32(5.1 / 255)
