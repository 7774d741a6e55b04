"""The clip that plays where there is no camera."""

from __future__ import annotations

import numpy as np

from edgekit.demo import pictograms
from edgekit.demo.clip import FPS, HEIGHT, SEGMENT, WIDTH, Clip, frames
from edgekit.demo.render import NOTHING


def test_frames_are_fresh_and_deterministic() -> None:
    clip, stream = Clip(), frames()
    for index in range(12):
        frame = next(stream)
        assert frame.shape == (HEIGHT, WIDTH, 3) == (480, 640, 3)
        assert frame.dtype == np.uint8
        assert np.array_equal(frame, clip.frame(index))
        frame[...] = 0  # a consumer may draw on its frame
    assert np.array_equal(next(stream), clip.frame(12))


def test_every_pictogram_has_its_second() -> None:
    clip = Clip()
    shown = [clip.label(index) for index in range(len(clip))]
    assert set(shown) == {*pictograms.NAMES, NOTHING, None}
    for name in pictograms.NAMES:
        assert shown.count(name) >= 0.6 * SEGMENT
    assert len(clip) == 13 * SEGMENT
    assert FPS == 30
    assert sum(1 for _ in frames()) == len(clip)


def test_cards_move_smoothly() -> None:
    """Between slides, the paper's centre moves a few pixels a frame and never stands still."""
    clip = Clip()
    for segment in range(12):
        centres = []
        for index in range(segment * SEGMENT + 6, (segment + 1) * SEGMENT - 6):
            rows, columns = np.nonzero(clip.frame(index).min(axis=2) > 180)
            centres.append((rows.mean(), columns.mean()))
        steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        assert steps.mean() > 0.1
        assert steps.max() < 12
