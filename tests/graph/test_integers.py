"""Networks that somebody else quantized are read as the real arithmetic they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime.quantization")

import onnx_ir as ir
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgekit.contracts import ImageContract
from edgekit.graph import lower


class Pictures(CalibrationDataReader):
    def __init__(self) -> None:
        random = np.random.default_rng(5)
        self.left: Iterator[np.ndarray] = iter(random.normal(0, 1, (16, 1, 3, 12, 12)).astype(np.float32))

    def get_next(self) -> dict[str, np.ndarray] | None:
        picture = next(self.left, None)
        return None if picture is None else {"x": picture}


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("format", [QuantFormat.QDQ, QuantFormat.QOperator])
@pytest.mark.parametrize("activations", [QuantType.QUInt8, QuantType.QInt8])
def test_answers_follow_the_integers(
    pen: Any, run: Any, tmp_path: Path, format: QuantFormat, per_channel: bool, activations: QuantType
) -> None:
    p = pen(seed=3)
    x = p.relu(p.conv("x", 8, kernel=3, stride=2))
    y = p.relu(p.conv(x, 8))
    y = p.conv(y, 8, kernel=3, group=8)
    x = p.relu(p.node("Add", [x, y], p.shapes[x]))
    x = p.shuffle(p.concat([x, p.relu(p.conv(x, 8))]), 2)
    source = p.model(p.head(x))
    ir.save(source, tmp_path / "float.onnx")
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", Pictures(), quant_format=format, per_channel=per_channel,
        activation_type=activations, weight_type=QuantType.QInt8,
    )  # fmt: skip
    quantized = ir.load(tmp_path / "int8.onnx")
    lowered = lower(quantized, None, ImageContract(12, 12, 12)).model
    assert not any(node.op_type.startswith(("Q", "Dequant")) for node in lowered.graph)
    pictures = np.random.default_rng(6).normal(0, 1, (8, 1, 3, 12, 12)).astype(np.float32)
    ours, theirs = (np.concatenate([run(model, one) for one in pictures]) for model in (lowered, quantized))
    noise = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    assert noise < 0.05  # a few layers of 8-bit rounding, of which ours has the weights' part only
    # It is their weights that we took: the float source is further from theirs than our reading is from it.
    weights = [v.const_value.numpy() for v in lowered.graph.initializers.values() if v.name.endswith(".weight")]
    assert all(len(np.unique(w)) <= 256 * len(w) for w in weights)
