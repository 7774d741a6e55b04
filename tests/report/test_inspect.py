"""What is said of model files and bundles, against files whose content is known."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from edgekit.config import load_target
from edgekit.errors import BundleError, GraphError, VerifyFailed
from edgekit.report.inspect import describe_model
from edgekit.report.names import network_name

SUPPORT = Path(__file__).parent.parent / "support"
ONNX, TFLITE = SUPPORT / "models" / "tiny.onnx", SUPPORT / "models" / "tiny.tflite"


@pytest.fixture(scope="module")
def tinybundle():  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("report_tinybundle", SUPPORT / "tinybundle.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_an_onnx_file() -> None:
    found = describe_model(ONNX).to_dict()
    json.dumps(found, allow_nan=False)
    assert (found["kind"], found["precision"], found["bytes"]) == ("onnx", "int8", ONNX.stat().st_size)
    assert found["inputs"] == [{"name": "image", "dtype": "uint8", "shape": [-1, 16, 16, 3]}]
    assert found["outputs"][0]["scale"] == pytest.approx(0.11) and found["outputs"][0]["zero_point"] == 120
    assert found["ops"]["Conv"] == 1 and found["ops"]["Gemm"] == 1
    assert found["metadata"]["edgekit.labels"].split() == ["red", "green", "blue", "grey", "none"]
    assert found["opset"] == "ai.onnx 18"


def test_a_tflite_file_tells_the_same_network() -> None:
    onnx, tflite = describe_model(ONNX).to_dict(), describe_model(TFLITE).to_dict()
    json.dumps(tflite, allow_nan=False)
    assert tflite["inputs"] == [
        {"name": "image", "dtype": "uint8", "shape": [-1, 16, 16, 3], "scale": 1.0, "zero_point": 0}
    ]
    assert tflite["outputs"][0]["zero_point"] == -8 and tflite["outputs"][0]["scale"] == pytest.approx(0.11)
    assert {"CONV_2D", "FULLY_CONNECTED"} <= set(tflite["ops"])
    assert tflite["cost"]["macs"] == onnx["cost"]["macs"] > 0
    assert tflite["cost"]["params"] == onnx["cost"]["params"] > 0


def test_a_targets_roofline_and_peers_are_told_on_request() -> None:
    assert describe_model(ONNX).to_dict()["cost"]["floors"] == []
    found = describe_model(ONNX, load_target("rpi4"), "shufflenet_v2_x1.0")
    assert {floor["cores"] for floor in found.to_dict()["cost"]["floors"]} == {1, 4}
    said = found.text()
    assert "floor on rpi4" in said and "published: ncnn fp32, 1 thread: 41.6 ms" in said
    assert "real = 0.11 × (integer -120)" in said and "5 lines: red, green" in said


def test_a_bundle(tinybundle, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from edgekit import bundle

    made = bundle.write(tmp_path / "b", tinybundle.parts("litert", "onnxruntime"))
    found = describe_model(made.path).to_dict()
    json.dumps(found, allow_nan=False)
    assert (found["kind"], found["target"], found["classes"], found["sha256"]) == ("bundle", "host", 5, made.sha256)
    assert [model["kind"] for model in found["models"]] == ["onnx", "tflite"]
    assert {file["name"] for file in found["files"]} >= {"model.onnx", "model.tflite", "labels.txt"}
    said = describe_model(made.path).text()
    assert "model.tflite" in said and "CONV_2D" in said


def test_a_bundle_on_a_device_without_onnx(tinybundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    from edgekit import bundle

    made = bundle.write(tmp_path / "b", tinybundle.parts("litert"))
    monkeypatch.setitem(sys.modules, "onnx", None)
    onnx, tflite = describe_model(made.path).to_dict()["models"]
    assert onnx["kind"] == "onnx" and onnx["precision"] == "int8" and onnx["cost"] is None
    assert tflite["cost"]["macs"] > 0


def test_damaged_and_foreign_files(tinybundle, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BundleError, match="no such file"):
        describe_model(tmp_path / "absent.onnx")
    for name, content in {"empty": b"", "text": b"hello world", "cut": ONNX.read_bytes()[:200]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(GraphError, match="neither an ONNX nor a TFLite model"):
            describe_model(tmp_path / name)
    data = TFLITE.read_bytes()
    for length in range(8, len(data) - 1, 97):
        (tmp_path / "cut.tflite").write_bytes(data[:length])
        try:
            describe_model(tmp_path / "cut.tflite")
        except GraphError as error:
            assert "damaged" in error.message
    from edgekit import bundle

    made = bundle.write(tmp_path / "b", tinybundle.parts("litert"))
    (made.path / "labels.txt").write_text("changed")
    with pytest.raises(VerifyFailed):
        describe_model(made.path)


@pytest.mark.parametrize(
    ("version", "channels", "groups", "name"),
    [
        (2, (116, 232, 464), 1, "shufflenet_v2_x1.0"),
        (2, (48, 96, 192), 1, "shufflenet_v2_x0.5"),
        (2, (40, 80, 160), 1, ""),
        (1, (240, 480, 960), 3, "shufflenet_v1_x1.0"),
        (1, (120, 240, 480), 3, "shufflenet_v1_x0.5"),
        (1, (384, 768, 1536), 8, "shufflenet_v1_x1.0_g8"),
        (1, (7, 8, 9), 3, ""),
        (1, (7, 8, 9), 5, ""),
    ],
)
def test_published_names(version: int, channels: tuple[int, ...], groups: int, name: str) -> None:
    assert network_name(version, channels, groups) == name


def test_a_bundles_checkpoint_picture_and_accuracy_in_a_line_each(tinybundle, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from edgekit import bundle

    accuracy = {"n": 40, "drop_pp": {"onnx": 0.25}, "agreement": {"onnx": 99.5}}
    checkpoint = {"file": "a.pth", "architecture": "ShuffleNet V2 x1.0", "family": "torchvision", "sha256": "0" * 64}
    parts = tinybundle.parts("litert", accuracy=accuracy, checkpoint=checkpoint)
    lines = [
        line.split(maxsplit=1)
        for line in describe_model(bundle.write(tmp_path / "b", parts).path).text().splitlines()
        if line
    ]
    said = {line[0]: line[1] for line in reversed(lines) if len(line) == 2}
    assert said["checkpoint"] == "a.pth, ShuffleNet V2 x1.0, torchvision"
    assert said["image"] == "short side to 16 (antialias), centre 16×16, uint8 RGB"
    assert said["accuracy"] == "top-1 drop onnx +0.25 pp; agreement onnx 99.50 % on 40 pictures"
