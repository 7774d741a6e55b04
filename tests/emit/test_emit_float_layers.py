"""Layers kept in float: both files hold the same ones, and both runtimes answer with the same numbers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgekit import emit, engines
from edgekit.emit import ModelMeta
from edgekit.quantize import Scheme, calibrate, quantize, rank, shield_float_layers

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")

_spec = importlib.util.spec_from_file_location(
    "quantize_graphs", Path(__file__).parents[1] / "quantize" / "conftest.py"
)
assert _spec is not None and _spec.loader is not None
graphs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(graphs)

_KEPT = {
    "a layer": ["depthwise"],
    "around a pool and a split": ["stem", "pool", "half", "narrow", "joined", "branch", "wide", "sum"],
    "a pool alone": ["pool"],
    "a concat alone": ["joined"],
    "the scores": ["fc"],
    "pooled features": ["node", "pooled", "features", "fc"],
}


def made_with(kept: list[str]) -> tuple[Any, np.ndarray]:
    random = np.random.default_rng(7)
    coarse = random.integers(0, 256, (24, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
    images = np.clip(coarse + random.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)
    model = graphs.shuffle_unit()
    names = {node.name for node in model.graph}
    scheme = Scheme(keep_float=tuple(name for name in kept if name in names), images=24)
    ranges = calibrate(model, images, scheme, threads=1)
    return quantize(model, ranges, scheme, images, threads=1), images


@pytest.mark.parametrize("kept", _KEPT.values(), ids=_KEPT)
def test_both_runtimes_answer_alike(kept: list[str], tmp_path: Path) -> None:
    made, images = made_with(kept)
    meta = ModelMeta(name="net")
    files = {"onnxruntime": tmp_path / "m.onnx", "litert": tmp_path / "m.tflite"}
    files["onnxruntime"].write_bytes(emit.onnx(shield_float_layers(made.model), meta, "int8"))
    files["litert"].write_bytes(emit.tflite(made.model, meta, "int8"))
    scores = {}
    for name, path in files.items():
        engine = engines.open(path, name, threads=1)
        rows = []
        for image in images:
            engine.input[0] = image
            rows.append(engine.scores(engine.invoke())[0])
        scores[name] = np.stack(rows)
        engine.close()
    onnx_scores, tflite_scores = scores["onnxruntime"], scores["litert"]
    step = float(made.output.scale) if made.output is not None else float(np.ptp(onnx_scores)) / 255
    assert np.abs(onnx_scores - tflite_scores).max() <= 2.01 * step
    graph = onnx.load(str(files["onnxruntime"])).graph
    constants = {constant.name for constant in graph.initializer}
    floats = {node.name for node in graph.node if node.op_type in ("Conv", "Gemm") and node.input[1] in constants}
    assert floats == {name for name in kept if name in made.kept_float} & {
        "stem", "narrow", "depthwise", "wide", "branch", "fc",
    }  # fmt: skip


def test_the_ranking_takes_along_what_a_concat_joins() -> None:
    made, images = made_with([])
    found = {suspect.value: suspect.layers for suspect in rank(graphs.shuffle_unit(), made, images, threads=1)}
    assert found["narrow.relu"] == ("narrow", "depthwise")
    joined = next(layers for layers in found.values() if "joined" in layers)
    assert {"stem", "pool", "half", "narrow", "wide", "joined", "branch", "sum"} == set(joined)
