"""The committed network knows the pictograms: rendered scenes it never saw, and the clip."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from edgekit import demo
from edgekit.contracts import ImageContract
from edgekit.demo import pictograms, render
from edgekit.demo.clip import SEGMENT, Clip
from edgekit.demo.dataset import HELD_OUT_SEED
from edgekit.preprocess import Preprocessor

torch = pytest.importorskip("torch", reason="the reference network needs the build extra")


@pytest.fixture(scope="module")
def model():
    from edgekit.demo.train import ARCHITECTURE
    from edgekit.models import build

    return build(ARCHITECTURE, torch.load(demo.checkpoint(), weights_only=True))


def answers(model, frames: list[np.ndarray]) -> list[str]:
    from edgekit.demo.train import normalized

    preprocess = Preprocessor(ImageContract())
    images = np.stack([preprocess.image(frame) for frame in frames])
    with torch.no_grad():
        return [render.LABELS[i] for i in model(normalized(images)).argmax(1)]


def test_checkpoint_is_small_and_plain() -> None:
    assert demo.checkpoint().stat().st_size <= 2_000_000
    weights = torch.load(demo.checkpoint(), weights_only=True)
    assert tuple(weights["fc.weight"].shape) == (len(render.LABELS), 1024)
    assert tuple(weights["stage4.3.branch2.5.weight"].shape) == (96, 96, 1, 1)
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_held_out_scenes(model) -> None:
    """A sample of the set that `edgekit.demo.heldout` writes; 98.9 % of the whole of it are right."""
    labels = [render.LABELS[i % 13] for i in range(208)]
    scenes = [render.scene(label, np.random.default_rng((HELD_OUT_SEED, i))) for i, label in enumerate(labels)]
    right = np.mean([a == b for a, b in zip(answers(model, scenes), labels, strict=True)])
    assert right >= 0.97


def test_every_segment_of_the_clip(model) -> None:
    clip = Clip()
    for segment, label in enumerate(clip.labels):
        indices = [i for i in range(segment * SEGMENT, (segment + 1) * SEGMENT, 3) if clip.label(i) == label]
        found = Counter(answers(model, [clip.frame(i) for i in indices]))
        assert found.most_common(1)[0][0] == label, (label, found)
        assert found[label] >= 0.8 * len(indices), (label, found)


@pytest.mark.parametrize("name", pictograms.NAMES)
def test_a_scan_of_the_drawing_itself(model, name: str) -> None:
    """Black on white, upright, without a word or a camera's faults, and mirrored as previews are."""
    paper = np.full((480, 640), 240, np.uint8)
    paper[110:370, 190:450] -= (pictograms.draw(name, 260) * 0.85).astype(np.uint8)
    frame = cv2.GaussianBlur(paper, (0, 0), 1)
    assert answers(model, [frame, frame[:, ::-1]]) == [name, name]
