from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.errors import EngineError
from edgekit.runtime import Decision
from edgekit.runtime.decide import ByteProbabilities, Decider, softmax, top_k
from edgekit.runtime.fakes import fake_model

LABELS = ("a", "b", "c")


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def play(decider: Decider, *frames: np.ndarray) -> list[str]:
    said = []
    for frame in frames:
        smooth = decider.smooth(frame)
        said.append(decider.label(smooth, top_k(smooth, LABELS, 1)[0], LABELS))
    return said


@given(hnp.arrays(np.float32, st.integers(1, 200), elements=st.floats(-50, 50, width=32)), st.integers(1, 70))
def test_top_k_is_what_a_full_sort_gives(values: np.ndarray, k: int) -> None:
    labels = [str(index) for index in range(values.size)]
    expected = sorted(range(values.size), key=lambda index: (-values[index], index))[:k]
    assert [prediction.index for prediction in top_k(values, labels, k)] == expected


@given(hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-1e4, 1e4, width=32)))
def test_softmax_gives_probabilities_in_the_same_order(values: np.ndarray) -> None:
    best = int(values.argmax())
    found = softmax(values.copy())
    assert np.isclose(found.sum(), 1.0, atol=1e-4)
    assert found[best] == found.max()


@given(
    hnp.arrays(np.uint8, st.integers(1, 40)),
    st.sampled_from([np.uint8, np.int8]),
    st.floats(1e-3, 3.0),
    st.integers(-128, 255),
)
def test_the_table_for_8_bit_outputs_is_dequantizing_and_softmax(
    bits: np.ndarray, kind: type, scale: float, zero_point: int
) -> None:
    raw = bits.view(kind)

    def real(values: np.ndarray) -> np.ndarray:
        return ((values.astype(np.float64) - zero_point) * scale).astype(np.float32)

    every = real(np.arange(256, dtype=np.uint8).view(kind))
    logits = real(raw).astype(np.float64)
    expected = np.exp(logits - logits.max())
    expected /= expected.sum()
    assert np.allclose(ByteProbabilities(every, ends_in_softmax=False)(raw), expected, rtol=1e-4, atol=1e-7)
    assert np.array_equal(ByteProbabilities(every, ends_in_softmax=True)(raw), real(raw))


def test_smoothing_is_an_exponential_moving_average() -> None:
    decider = Decider(Decision(smoothing=0.25))
    decider.smooth(scores(1, 0, 0))
    assert np.allclose(decider.smooth(scores(0, 1, 0)), (0.75, 0.25, 0))
    assert np.allclose(decider.smooth(scores(0, 1, 0)), (0.5625, 0.4375, 0))
    decider.reset()
    assert np.allclose(decider.smooth(scores(0, 1, 0)), (0, 1, 0))


def test_smoothing_does_not_write_into_the_scores_it_was_given() -> None:
    decider = Decider(Decision(smoothing=0.5))
    first, second = scores(1, 0, 0), scores(0, 1, 0)
    decider.smooth(first)
    decider.smooth(second)
    assert first.tolist() == [1, 0, 0]
    assert second.tolist() == [0, 1, 0]


def test_a_flickering_answer_holds_still_with_hysteresis() -> None:
    flicker = [scores(0.45, 0.40, 0.15), scores(0.40, 0.45, 0.15)] * 3
    assert play(Decider(Decision()), *flicker) == ["a", "b"] * 3
    assert play(Decider(Decision(hysteresis=0.1)), *flicker) == ["a"] * 6
    assert play(Decider(Decision(hysteresis=0.1)), *flicker, scores(0.2, 0.6, 0.2)) == ["a"] * 6 + ["b"]


def test_below_the_threshold_is_unknown_and_forgets_the_label() -> None:
    decider = Decider(Decision(threshold=0.5, hysteresis=0.3))
    frames = (scores(0.6, 0.3, 0.1), scores(0.4, 0.35, 0.25), scores(0.25, 0.55, 0.2))
    # The last would not beat "a" by the hysteresis, but "a" had already been given up.
    assert play(decider, *frames) == ["a", "unknown", "b"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_answer_that_is_no_number_is_the_engines_fault(bad: float) -> None:
    model = fake_model()
    with pytest.raises(EngineError, match="numbers that are none"):
        model.probabilities(np.array([[1.0, bad, 0.0]], np.float32))
