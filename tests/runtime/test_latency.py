from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from edgekit.runtime.latency import Durations


@given(st.lists(st.floats(min_value=1e-3, max_value=1e6), min_size=1, max_size=300))
def test_percentiles_are_within_one_percent_of_the_nearest_rank(values: list[float]) -> None:
    durations = Durations()
    for value in values:
        durations.add(value)
    figures = durations.percentiles()
    ordered = sorted(values)
    for share, found in ((0.5, figures.p50), (0.9, figures.p90), (0.95, figures.p95), (0.99, figures.p99)):
        exact = ordered[max(0, math.ceil(share * len(ordered)) - 1)]
        assert math.isclose(found, exact, rel_tol=0.0101)
    assert figures.max == ordered[-1]


def test_nothing_measured_is_all_zero() -> None:
    assert set(Durations().percentiles().to_dict().values()) == {0.0}


def test_a_clock_that_stepped_back_and_absurd_values_do_no_harm() -> None:
    durations = Durations()
    for value in (-5.0, 0.0, 1e30):
        durations.add(value)
    assert durations.percentiles().p50 == 0.0
    assert durations.percentiles().max == 1e30
