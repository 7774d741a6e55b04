"""The main job through the command line, on the embedded demo: build, run, eval, verify, inspect, convert."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def test_build_json_and_bundle_keep_their_contract(demo_build: tuple[Path, Any]) -> None:
    bundle, said = demo_build
    assert {"bundle", "target", "checkpoint", "artifacts", "ops", "parity", "accuracy", "seconds"} <= said.keys()
    assert {"family", "architecture", "params", "macs"} <= said["checkpoint"].keys()
    for artifact in said["artifacts"]:
        assert {"path", "format", "precision", "bytes", "sha256"} <= artifact.keys()
        assert Path(artifact["path"]).stat().st_size == artifact["bytes"]
    names = {path.name for path in bundle.iterdir()}
    assert {"manifest.json", "model.onnx", "model.tflite", "labels.txt", "golden.npz", "report.html"} <= names
    assert said["parity"]["float"]["relative_error"] <= 1e-5
    census = said["ops"]["onnx"]
    assert census["Split"] <= 16 and census["Concat"] <= 16 and census.get("Reshape", 0) == 0
    assert census.get("Transpose", 0) <= 1
    with np.load(bundle / "golden.npz") as golden:
        assert golden["inputs"].dtype == np.uint8 and len(golden["inputs"]) >= 8


def test_demo_keeps_its_accuracy(demo_build: tuple[Path, Any]) -> None:
    accuracy = demo_build[1]["accuracy"]
    assert accuracy["models"]["float"]["top1"] >= 97
    assert max(accuracy["drop_pp"].values()) <= 1.0
    assert accuracy["agreement"]["onnx_tflite"] >= 99.5


def test_building_again_gives_the_same_models(
    edgekit: Callable[..., Any], demo_build: tuple[Path, Any], tmp_path: Path
) -> None:
    done = edgekit("build", "--target", "rpi4", "--output", tmp_path, "--json")
    assert done.code == 0, done.err
    first, second = (
        {Path(a["path"]).name: a["sha256"] for a in said["artifacts"]} for said in (demo_build[1], done.json)
    )
    for name in ("model.onnx", "model.tflite", "float.onnx", "labels.txt", "golden.npz", "ranges.json"):
        assert first[name] == second[name], name
    assert demo_build[1]["sha256"] == done.json["sha256"]


def test_run_tells_one_line_a_frame_and_a_summary(edgekit: Callable[..., Any], demo_bundle: Path) -> None:
    done = edgekit("run", "--bundle", demo_bundle, "--camera", "demo", "--max-frames", "60", "--json")
    assert done.code == 0, done.err
    *results, last = [json.loads(line) for line in done.out.splitlines()]
    assert len(results) == 60 == last["summary"]["frames"]
    for number, result in enumerate(results):
        assert result["frame"] == number or result["frame"] > number
        assert {"frame", "time", "top", "latency_ms", "frame_age_ms"} <= result.keys()
        assert {"preprocess", "inference", "postprocess", "total"} <= result["latency_ms"].keys()
        assert len(result["top"]) == 5 and {"index", "label", "score"} <= result["top"][0].keys()
    summary = last["summary"]
    wanted = {"frames", "seconds", "fps", "latency_ms", "frame_age_ms", "dropped", "reconnects", "engine", "threads"}
    assert wanted <= summary.keys() and "bundle_sha256" in summary
    assert {"p50", "p90", "p95", "p99", "max"} <= summary["latency_ms"]["inference"].keys()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_properly_when_asked(demo_bundle: Path, project_root: Path, stop: signal.Signals) -> None:
    run = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "edgekit",
            "run",
            "--bundle",
            demo_bundle,
            "--camera",
            "demo",
            "--on-end",
            "loop",
            "--json",
        ],
        stdout=subprocess.PIPE,
        cwd=project_root,
        text=True,
        env={**os.environ, "PYTHONPATH": str(project_root)},
    )
    assert run.stdout is not None
    run.stdout.readline()
    began = time.monotonic()
    run.send_signal(stop)
    rest, _ = run.communicate(timeout=30)
    assert "summary" in json.loads(rest.splitlines()[-1]) and time.monotonic() - began < 20
    assert run.returncode == (130 if stop == signal.SIGINT else 0)


def test_eval_on_held_out_scenes(edgekit: Callable[..., Any], demo_bundle: Path, tmp_path: Path) -> None:
    assert edgekit("demo", "heldout", tmp_path / "scenes", "--count", "130").code == 0
    done = edgekit("eval", "--bundle", demo_bundle, "--data", tmp_path / "scenes", "--json")
    assert done.code == 0, done.err
    said = done.json
    assert said["n"] == 130 and said["models"].keys() == {"float", "onnx", "tflite"}
    for model in said["models"].values():
        assert model["top1"] >= 90 and model["ci95"][0] <= model["top1"] <= model["ci95"][1]
    assert said["drop_pp"].keys() == {"onnx", "tflite"}


def test_verify_proves_the_bundle(edgekit: Callable[..., Any], demo_bundle: Path) -> None:
    done = edgekit("verify", demo_bundle, "--json")
    assert done.code == 0, done.out


def test_model_files_stand_alone(demo_bundle: Path) -> None:
    """Plain runtimes, no edgekit: uint8 picture in, integer scores out, the same answer, labels in the metadata."""
    ort = pytest.importorskip("onnxruntime")
    interpreter_module = pytest.importorskip("ai_edge_litert.interpreter")
    with np.load(demo_bundle / "golden.npz") as golden:
        picture = golden["inputs"][:1]
    session = ort.InferenceSession(str(demo_bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    onnx = session.run(None, {session.get_inputs()[0].name: picture})[0]
    labels = session.get_modelmeta().custom_metadata_map["edgekit.labels"].splitlines()
    interpreter = interpreter_module.Interpreter(str(demo_bundle / "model.tflite"))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    interpreter.invoke()
    tflite = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert onnx.dtype == np.uint8 and tflite.dtype == np.int8 and onnx.shape == tflite.shape == (1, len(labels))
    assert np.abs(onnx.astype(int) - (tflite.astype(int) + 128)).max() <= 4
    assert labels == (demo_bundle / "labels.txt").read_text().splitlines()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("format", ["onnx", "tflite"])
@pytest.mark.parametrize("pixels", ["uint8", "float"])
def test_convert_writes_one_file(
    edgekit: Callable[..., Any], tiny_checkpoint: Path, tmp_path: Path, precision: str, format: str, pixels: str
) -> None:
    out = tmp_path / f"net.{format}"
    done = edgekit(
        "convert", tiny_checkpoint, "--format", format, "--precision", precision, "--input", pixels, "-o", out, "--json"
    )
    assert done.code == 0, done.err
    assert done.json["bytes"] == out.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_inspect_knows_checkpoint_model_and_bundle(
    edgekit: Callable[..., Any], demo_bundle: Path, tiny_checkpoint: Path
) -> None:
    for what in (demo_bundle, demo_bundle / "model.onnx", demo_bundle / "model.tflite", tiny_checkpoint):
        done = edgekit("inspect", what, "--json")
        assert done.code == 0 and isinstance(done.json, dict), done.err
    assert done.json["family"] == "torchvision"


def test_help_is_quick_and_covers_every_command(edgekit: Callable[..., Any]) -> None:
    best = min(_timed(edgekit, "--help") for _ in range(5))
    assert best < 1.5  # 0.2 s on an idle machine; the bound only catches a heavy import
    for command in ("build", "run", "eval", "bench", "verify", "inspect", "targets", "calibrate", "convert", "doctor"):
        assert edgekit(command, "--help").code == 0


def _timed(edgekit: Callable[..., Any], *words: str) -> float:
    began = time.perf_counter()
    assert edgekit(*words).code == 0
    return time.perf_counter() - began
