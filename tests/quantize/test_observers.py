import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.quantize.observers import OBSERVERS, entropy, extreme, minmax, moving_average, mse, percentile
from edgekit.quantize.statistics import BINS, TensorStatistics


def _seen(values: NDArray[np.float32], batch: int) -> TensorStatistics:
    statistics = TensorStatistics()
    for start in range(0, len(values), batch):
        statistics.update(values[start : start + batch])
    return statistics


@given(st.integers(1, 12), st.integers(0, 100), st.floats(0.01, 100))
@settings(max_examples=25, deadline=None)
def test_the_size_of_batches_does_not_matter(batch: int, seed: int, scale: float) -> None:
    values = (np.random.default_rng(seed).normal(size=(12, 3, 5, 5)) * scale).astype(np.float32)
    whole, parts = _seen(values, 12), _seen(values, batch)
    assert minmax(whole) == minmax(parts) == (values.min(), values.max())
    assert parts.average == pytest.approx(whole.average)
    assert parts.histogram.sum() == whole.histogram.sum()
    np.testing.assert_array_equal(parts.channel_high, values.max((0, 2, 3)))


def test_memory_does_not_grow_and_a_larger_value_later_keeps_the_counts() -> None:
    statistics = TensorStatistics()
    statistics.update(np.full((4, 1, 2, 2), 0.5, np.float32))
    statistics.update(np.full((4, 1, 2, 2), 1000.0, np.float32))
    assert statistics.histogram.shape == (BINS,)
    assert statistics.limit >= 1000
    low_half = statistics.histogram[statistics.centers < 500].sum()
    assert low_half == statistics.histogram.sum() / 2


def test_clipping_observers_ignore_one_outlier_and_minmax_does_not() -> None:
    random = np.random.default_rng(0)
    values = np.abs(random.normal(size=(64, 4, 16, 16))).astype(np.float32)
    values[3, 1, 2, 2] = 400.0
    seen = _seen(values, 8)
    assert minmax(seen)[1] == 400
    assert percentile(seen)[1] < 10
    assert entropy(seen)[1] < 100
    assert moving_average(seen)[1] < 100


def test_mse_takes_the_range_with_the_least_squared_error() -> None:
    random = np.random.default_rng(1)
    values = random.laplace(size=(16, 4, 32, 32)).astype(np.float32)
    seen = _seen(values, 4)

    def error(low: float, high: float) -> float:
        step = (high - low) / 255
        return float(np.square(np.clip(np.rint((values - low) / step), 0, 255) * step + low - values).mean())

    chosen = mse(seen)
    assert error(*chosen) < error(*minmax(seen))


def test_extreme_reaches_further_only_while_images_are_few() -> None:
    random = np.random.default_rng(2)
    values = np.maximum(random.normal(size=(400, 2, 8, 8)), 0).astype(np.float32)
    few, many = _seen(values[:16], 16), _seen(values, 16)
    assert extreme(few)[1] > minmax(few)[1] * 1.05
    assert extreme(few)[0] == 0  # every picture touches the ReLU's zero
    assert extreme(many) == minmax(many)


@pytest.mark.parametrize("name", sorted(OBSERVERS))
def test_a_tensor_that_is_constant_zero_has_a_range(name: str) -> None:
    low, high = OBSERVERS[name](_seen(np.zeros((3, 2, 4, 4), np.float32), 2))
    assert low <= high
    assert np.isfinite([low, high]).all()
