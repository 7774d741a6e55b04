"""The fewest candidates that pass: checked against every subset, and by the number of questions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.quantize.search import fewest


class Asked:
    """Passes where the weights of the choice add up to enough; counts the questions."""

    def __init__(self, weights: list[int], enough: int) -> None:
        self.weights, self.enough = weights, enough
        self.choices: list[tuple[int, ...]] = []

    def __call__(self, choice: tuple[int, ...]) -> bool:
        assert choice not in self.choices, "asked twice"
        self.choices.append(choice)
        return sum(self.weights[i] for i in choice) >= self.enough


@given(st.lists(st.integers(1, 20), max_size=40), st.integers(0, 300))
def test_what_is_found_passes_and_its_beginning_does_not(weights: list[int], enough: int) -> None:
    asked = Asked(weights, enough)
    found = fewest(range(len(weights)), asked)
    if found is None:
        assert sum(weights) < enough
        return
    assert sum(weights[i] for i in found) >= enough
    if found:
        assert sum(weights[: found[-1]]) < enough, "a shorter beginning would do"
    assert len(asked.choices) <= 18


def test_what_turns_out_not_to_be_needed_is_left_out() -> None:
    # The third alone is enough, and it was ranked third.
    assert fewest("abc", lambda choice: "c" in choice) == ("c",)
    assert fewest("abc", lambda choice: {"a", "c"} <= set(choice)) == ("a", "c")


@pytest.mark.parametrize("ranked", ["", "a", "abcdefg"])
def test_none_where_not_even_all_pass(ranked: str) -> None:
    assert fewest(ranked, lambda choice: False) is None
    assert fewest(ranked, lambda choice: True) == ()
