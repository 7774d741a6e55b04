from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.runtime import Roi
from edgekit.runtime.options import Flip
from edgekit.runtime.transform import Transform

PICTURE = np.arange(7 * 11 * 3, dtype=np.uint8).reshape(7, 11, 3)


def by_hand(image: np.ndarray, rotate: int, flip: str) -> np.ndarray:
    image = np.rot90(image, -rotate // 90)
    return {"none": image, "horizontal": image[:, ::-1], "vertical": image[::-1]}[flip]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical"])
@given(x=st.integers(0, 6), y=st.integers(0, 6), width=st.integers(1, 12), height=st.integers(1, 12))
def test_the_region_is_of_the_turned_picture(rotate: int, flip: Flip, x: int, y: int, width: int, height: int) -> None:
    whole = by_hand(PICTURE, rotate, flip)
    expected = whole[y : y + height, x : x + width]
    found = Transform(roi=Roi(x, y, width, height, False), rotate=rotate, flip=flip)(PICTURE)
    assert np.array_equal(found, expected)


def test_fractions_follow_a_change_of_resolution() -> None:
    transform = Transform(roi=Roi.parse("0.5,0.0,0.5,1.0"))
    assert transform(np.zeros((10, 20, 3), np.uint8)).shape == (10, 10, 3)
    assert transform(np.zeros((40, 80, 3), np.uint8)).shape == (40, 40, 3)


def test_a_region_outside_the_picture_is_said() -> None:
    with pytest.raises(UsageError, match="outside the picture of 11x7"):
        Transform(roi=Roi.parse("20,0,5,5"))(PICTURE)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "a,b,c,d", "0,0,0,5", "-1,0,5,5", "0.5,0.0,0.6,1.0", "nan,0,1,1", "0,0,inf,1.0"]
)
def test_what_is_no_rectangle_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--roi"):
        Roi.parse(text)


def test_buffers_are_reused() -> None:
    transform = Transform(rotate=90, flip="horizontal")
    assert transform(PICTURE).base is None
    assert transform(PICTURE) is transform(PICTURE)
