"""Intervals against published worked examples, and properties that any interval must have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.evaluate.statistics import SignalToNoise, paired_drop, ranks, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), p. 857, table I, method 3 (Wilson's score)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_what_newcombe_tabulates(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_proportion_and_stays_inside(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    assert low < high
    mirrored = wilson(n - hits, n)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_paired_drop_is_agresti_and_mins_formula_on_their_example() -> None:
    # Agresti and Min (2005), the crossover data of Jones and Kenward: 53 of 86 pairs concordant, 25 against 8.
    low, high = paired_drop(25, 8, 86)
    a, b, n = 25.5, 8.5, 88
    assert (low + high) / 2 == pytest.approx((a - b) / n)
    assert (high - low) / 2 == pytest.approx(1.959964 * math.sqrt((a + b) - (a - b) ** 2 / n) / n)


@given(st.integers(1, 2000), st.data())
def test_paired_drop_is_antisymmetric_and_narrower_than_two_separate_intervals(n: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, n))
    gained = data.draw(st.integers(0, n - lost))
    low, high = paired_drop(lost, gained, n)
    assert -1 <= low <= high <= 1
    assert paired_drop(gained, lost, n) == pytest.approx((-high, -low))


@pytest.mark.parametrize("call", [lambda: wilson(3, 2), lambda: wilson(0, 0), lambda: paired_drop(2, 2, 3)])
def test_impossible_counts_are_refused(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError):
        call()


def test_paired_interval_covers_the_true_drop_in_about_95_of_100_samples() -> None:
    rng = np.random.default_rng(7)
    n, p_lost, p_gained = 400, 0.03, 0.02
    counts = rng.multinomial(n, [p_lost, p_gained, 1 - p_lost - p_gained], size=2000)
    covered = [low <= p_lost - p_gained <= high for low, high in (paired_drop(a, b, n) for a, b, _ in counts.tolist())]
    assert 0.935 <= float(np.mean(covered)) <= 0.975


def test_signal_to_noise_in_decibels_gathered_in_parts() -> None:
    rng = np.random.default_rng(0)
    f = rng.standard_normal((100, 10)).astype(np.float32)
    q = f + 0.1 * rng.standard_normal((100, 10)).astype(np.float32)
    gathered = SignalToNoise()
    for start in range(0, 100, 7):
        gathered.add(f[start : start + 7], q[start : start + 7])
    expected = 10 * np.log10(np.sum(f.astype(float) ** 2) / np.sum((f.astype(float) - q.astype(float)) ** 2))
    assert gathered.db == pytest.approx(expected, abs=1e-9)
    assert 19 < gathered.db < 21
    same = SignalToNoise()
    same.add(f, f)
    assert same.db == math.inf


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_rank_zero_is_exactly_what_argmax_answers_even_with_ties(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (20, classes)).astype(np.float32)
    truth = rng.integers(0, classes, 20)
    found = ranks(scores, truth)
    assert np.array_equal(found == 0, scores.argmax(1) == truth)
    order = np.argsort(-scores, axis=1, kind="stable")
    assert found.tolist() == [int(np.where(row == t)[0][0]) for row, t in zip(order, truth, strict=True)]
