"""Accuracy gate, layers in float and calibration hygiene through the command line, on a tiny network."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
onnx = pytest.importorskip("onnx")

Run = Callable[..., Any]
_LAYERS = ["conv5.0", "fc", "stage2.0.branch1.2", "stage3.1.branch2.3"]


@pytest.fixture(scope="module")
def build(edgekit: Run, tiny_checkpoint: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Builds the tiny network for a profile with these settings, into ``output``; what ``build --json`` ended with."""

    def run(output: Path, gate: str, keep_float: str = "[]", *more: object, calibration: Path = pictures) -> Any:
        profile = tmp_path_factory.mktemp("profile") / "board.yaml"
        profile.write_text(
            f"extends: rpi4\ngate: {{ max_drop_pp: null, min_agreement: null, {gate} }}\n"
            f"quantization: {{ keep_float: {keep_float} }}\n"
            "input: { height: 64, width: 64, resize: 72 }\n"
        )
        words = ("--target", profile, "--checkpoint", tiny_checkpoint, "--calibration", calibration)
        return edgekit("build", *words, "--output", output, "--json", *more)

    return run


def float_layers_of_onnx(path: Path) -> set[str]:
    """Names of the layers with float weights, and how many layers there are."""
    graph = onnx.load(str(path)).graph
    constants = {constant.name for constant in graph.initializer}
    return {node.name for node in graph.node if node.op_type in ("Conv", "Gemm") and node.input[1] in constants}


def float_layers_of_tflite(path: Path) -> set[str]:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0)).subgraphs[0]
    names = set()
    for op in graph.operators:
        weights = [graph.tensors[i] for i in op.inputs if i >= 0 and graph.tensors[i].name.endswith(b"_weights")]
        names |= {tensor.name.decode().removesuffix("_weights") for tensor in weights if tensor.type == 0}
    return names


def test_a_missed_gate_leaves_a_report_and_no_bundle(build: Run, tmp_path: Path) -> None:
    done = build(tmp_path, "min_sqnr_db: 119")
    assert done.code == 1
    said = done.json
    assert said["bundle"] is None and said["sha256"] is None and said["artifacts"] == []
    assert said["accuracy"]["gate"]["passed"] is False and said["parity"]["onnx_tflite"]["equal_outputs"] > 50
    assert [path.name for path in tmp_path.iterdir()] == ["board.report.html"]
    assert said["report"] == str(tmp_path / "board.report.html")
    assert "Do not ship" in (tmp_path / "board.report.html").read_text()
    assert "misses the gate" in done.err and "no bundle was written" in done.err and "try:" in done.err


def test_an_older_bundle_stays_whole_and_is_named(build: Run, tmp_path: Path) -> None:
    (tmp_path / "board.report.html").write_text("of a build that failed before")
    first = build(tmp_path, "min_sqnr_db: 1")
    assert first.code == 0, first.err
    assert {path.name for path in tmp_path.iterdir()} == {"board"}, "a stale report would speak of another build"
    before = {path.name: path.read_bytes() for path in (tmp_path / "board").iterdir()}
    done = build(tmp_path, "min_sqnr_db: 119")
    assert done.code == 1 and done.json["bundle"] is None
    assert "still is the bundle of an earlier build" in done.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "board").iterdir()} == before
    again = build(tmp_path / "again", "min_sqnr_db: 1")
    assert again.json["sha256"] == first.json["sha256"], "the same build has the same hash"


def test_both_formats_keep_the_same_layers_in_float(build: Run, tmp_path: Path) -> None:
    done = build(tmp_path, "min_sqnr_db: 1", f"[{', '.join(_LAYERS)}]")
    assert done.code == 0, done.err
    assert float_layers_of_onnx(tmp_path / "board" / "model.onnx") == set(_LAYERS)
    assert float_layers_of_tflite(tmp_path / "board" / "model.tflite") == set(_LAYERS)
    told = done.json["keep_float"]
    assert [row["layers"] for row in told["each"]] == [[name] for name in _LAYERS]
    assert told["together"]["layers"] == _LAYERS
    for row in (told["together"], *told["each"]):
        assert row["gain_sqnr_db"].keys() == row["gain_agreement_pp"].keys() == {"onnx", "tflite"}
        assert row["cost_ms"].keys() == row["times"].keys() and row["cost_ms"]
    page = (tmp_path / "board" / "report.html").read_text()
    assert "Kept in float" in page and "all 4 layers together" in page
    # Scores in float are compared as such, and the two formats agree to float rounding of what went before.
    assert done.json["parity"]["onnx_tflite"]["top1_equal"] > 90


def test_auto_keeps_no_more_than_it_needs(build: Run, tmp_path: Path) -> None:
    plain = build(tmp_path / "plain", "min_sqnr_db: 1")
    lowest = min(plain.json["accuracy"]["sqnr_db"].values())
    done = build(tmp_path / "auto", f"min_sqnr_db: {lowest + 0.4:.2f}", "auto")
    assert done.code == 0, done.err
    told = done.json["keep_float"]
    first, *rest = told["tried"]
    assert first["layers"] == [] and not first["passed"] and rest[-1]["layers"]
    assert any(one["passed"] and one["layers"] == told["together"]["layers"] for one in rest)
    kept = set(told["together"]["layers"])
    bundle = tmp_path / "auto" / "board"
    of_onnx, of_tflite = float_layers_of_onnx(bundle / "model.onnx"), float_layers_of_tflite(bundle / "model.tflite")
    assert of_onnx == of_tflite <= kept and of_onnx
    assert told["together"]["gain_sqnr_db"]["tflite"] >= 0.3


def test_auto_that_cannot_meet_the_gate_fails_as_any_build(build: Run, tmp_path: Path) -> None:
    done = build(tmp_path, "min_sqnr_db: 119", "auto")
    assert done.code == 1 and done.json["bundle"] is None
    tried = done.json["keep_float"]["tried"]
    assert len(tried) > 2 and not any(one["passed"] for one in tried)
    assert {path.name for path in tmp_path.iterdir()} == {"board.report.html"}


def test_what_is_wrong_with_a_calibration_set_is_told(build: Run, pictures: Path, tmp_path: Path) -> None:
    """Few, unbalanced, twice the same, unreadable, and also evaluated on: each in words, in JSON and in the report."""
    files = sorted(pictures.iterdir())
    folder = tmp_path / "set"
    for name, own in {"many": files[:9], "few": files[9:11]}.items():
        (folder / name).mkdir(parents=True)
        for file in own:
            shutil.copy(file, folder / name)
    shutil.copy(files[0], folder / "many" / "again.png")
    (folder / "few" / "broken.png").write_bytes(b"no picture")
    evaluation = tmp_path / "evaluation"
    for index in range(5):
        (evaluation / str(index)).mkdir(parents=True)
        shutil.copy(files[index + 6], evaluation / str(index))
    done = build(tmp_path / "out", "min_sqnr_db: 1", "[]", "--evaluation", evaluation, calibration=folder)
    assert done.code == 0, done.err
    told = done.json["calibration"]
    assert (told["used"], told["available"], told["duplicates"], told["classes"]) == (11, 13, 1, {"few": 2, "many": 9})
    words = " ".join(told["warnings"])
    for said in ("few to calibrate on", "9 pictures of many, 2 of few", "1 picture has the content", "1 unreadable"):
        assert said in words, said
    shared = "5 of the 5 evaluation pictures were also calibrated on"
    assert any(shared in note for note in done.json["accuracy"]["notes"])
    page = (tmp_path / "out" / "board" / "report.html").read_text()
    for said in (shared, *told["warnings"]):
        assert said.split(",")[0] in page, said


def test_convert_shields_float_layers_from_onnx_runtime(
    edgekit: Run, tiny_checkpoint: Path, pictures: Path, tmp_path: Path
) -> None:
    """Its optimizer would round their weights by itself, and a Clip that changes nothing stops it."""
    profile = tmp_path / "board.yaml"
    profile.write_text(
        "extends: rpi4\ninput: { height: 64, width: 64, resize: 72 }\nquantization: { keep_float: [conv5.0, fc] }\n"
    )
    out = tmp_path / "net.onnx"
    words = ("--precision", "int8", "--target", profile, "--calibration", pictures, "-o", out, "--json")
    done = edgekit("convert", tiny_checkpoint, *words)
    assert done.code == 0, done.err
    assert float_layers_of_onnx(out) == {"conv5.0", "fc"}
    assert done.json["ops"]["Clip"] == 2
