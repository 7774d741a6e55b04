"""The lowered graph of each framework's own file gives that framework's own recorded answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from edgekit import checkpoints, graph

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

# file, recorded input and output, whether that input is uint8 pixels (and in which layout)
FILES = [
    ("ppcls_shufflenetv2_x0_25.pdparams", "x", "y", None),
    ("ppcls_shufflenetv2_swish.pdparams", "x", "y", None),
    ("mm_shufflenet_v1_1x_g3.pth", "x", "y", None),
    ("zoo_v1_x0.5_g3_opset3.onnx", "x", "softmax", None),
    ("zoo_v1_x0.5_g3_opset9.onnx", "x", "softmax", None),
    ("tf_v2_0.5/model.ckpt-100.index", "image_uint8", "logits", "NHWC"),
]
RECORDS = {"zoo_v1_x0.5_g3_opset3.onnx": "zoo_v1_x0.5_g3.npz", "zoo_v1_x0.5_g3_opset9.onnx": "zoo_v1_x0.5_g3.npz"}


def record_of(families: Path, name: str) -> Path:
    path = families / name
    if name in RECORDS:
        return families / RECORDS[name]
    return next(path.parent.glob("*.npz")) if path.parent != families else path.with_suffix(".npz")


@pytest.mark.parametrize(("name", "given", "expected", "pixels"), FILES, ids=[f[0] for f in FILES])
def test_lowered_graph_gives_the_recorded_answer(
    shared_data: Path, run: Any, name: str, given: str, expected: str, pixels: str | None
) -> None:
    families = shared_data / "families"
    checkpoint = checkpoints.load(families / name)
    exported = graph.export(checkpoint)
    normalization = checkpoint.normalization if pixels else None
    lowered = graph.lower(exported, normalization, checkpoint.image, softmax="keep").model
    with np.load(record_of(families, name)) as record:
        inputs, answers = record[given], record[expected]
    for x, answer in zip(inputs, answers, strict=True):
        x = x[None] if pixels else x[None].astype(np.float32)
        ours = run(lowered, x).reshape(-1)
        assert np.linalg.norm(ours - answer) <= 1e-5 * np.linalg.norm(answer)
        if not pixels:
            source = run(exported, x).reshape(-1)
            if (
                expected == "softmax"
            ):  # which turns the logits' absolute rounding into a relative one: compare before it
                ours, source = np.log(ours), np.log(source)
            assert np.linalg.norm(ours - source) <= 1e-6 * np.linalg.norm(source)
