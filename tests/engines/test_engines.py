"""The engines on one tiny model in both formats, and everything that can be wrong with a request."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit import engines
from edgekit.engines.protocol import dequantize, require_images
from edgekit.errors import BundleError, EngineError, GraphError, UsageError

MODELS = Path(__file__).parent.parent / "support" / "models"
HERE = [name for name in engines.ENGINES if name in engines.installed()]


def model_of(name: str) -> Path:
    return MODELS / ("tiny" + engines.ENGINES[name].suffix)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", HERE)
def test_one_image_at_a_time_gives_what_a_batch_gives(name: str, pixels: np.ndarray) -> None:
    engine = engines.open(model_of(name), threads=1)
    assert (engine.name, engine.threads, engine.input.shape, engine.input.dtype) == (name, 1, (1, 16, 16, 3), np.uint8)
    singles = []
    for image in pixels:
        engine.input[0] = image
        singles.append(engine.invoke()[0])  # a row of a new array: the next run must not change it
    engine.resize(3)
    engine.input[:] = pixels
    np.testing.assert_array_equal(engine.invoke(), np.stack(singles))
    engine.close()


@pytest.mark.parametrize("name", HERE)
def test_the_input_buffer_stays_the_same_array(name: str, pixels: np.ndarray) -> None:
    engine = engines.open(model_of(name), threads=1)
    kept = engine.input
    kept[0] = pixels[0]
    first = engine.invoke()
    np.testing.assert_array_equal(kept[0], pixels[0])  # a run leaves the pixels alone
    kept[0] = pixels[1]
    second = engine.invoke()
    kept[0] = pixels[0]
    np.testing.assert_array_equal(engine.invoke(), first)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", HERE)
def test_a_buffer_kept_across_a_resize_is_still_safe_to_write(name: str, pixels: np.ndarray) -> None:
    engine = engines.open(model_of(name), threads=1)
    old = engine.input
    engine.resize(3)
    engine.input[:] = pixels
    before = engine.invoke()
    old[:] = 255  # must neither crash nor reach the new buffer
    np.testing.assert_array_equal(engine.invoke(), before)


@pytest.mark.skipif(len(HERE) < 2, reason="needs two engines")
def test_engines_agree_within_one_step_and_scores_are_real_numbers(pixels: np.ndarray) -> None:
    results = {}
    for name in HERE:
        engine = engines.open(model_of(name), threads=1)
        engine.resize(3)
        engine.input[:] = pixels
        raw = engine.invoke()
        assert raw.dtype == (np.uint8 if name == "onnxruntime" else np.int8)
        results[name] = engine.scores(raw)
        assert results[name].dtype == np.float32
    step = 0.11  # the output scale of the tiny model
    one, *others = results.values()
    for other in others:
        # The tiny model rounds three times, so a difference of one step inside may become six at the output.
        assert np.abs(one - other).max() <= 8 * step
        np.testing.assert_array_equal(one.argmax(axis=1) >= 3, other.argmax(axis=1) >= 3)


def test_onnxruntime_reads_scale_and_zero_point_from_the_model() -> None:
    pytest.importorskip("onnxruntime")
    engine = engines.open(MODELS / "tiny.onnx", threads=1)
    np.testing.assert_allclose(engine.scores(np.array([[120, 121, 110]], np.uint8)), [[0.0, 0.11, -1.1]], rtol=1e-6)


def test_litert_reads_scale_and_zero_point_from_the_model() -> None:
    pytest.importorskip("ai_edge_litert")
    engine = engines.open(MODELS / "tiny.tflite", engine="litert", threads=1)
    np.testing.assert_allclose(engine.scores(np.array([[-8, -7, -18]], np.int8)), [[0.0, 0.11, -1.1]], rtol=1e-6)


def test_float_scores_pass_unchanged() -> None:
    raw = np.array([[1.5, -2.0]], np.float32)
    assert dequantize(raw, 0.5, 3) is raw


def fake_bundle(tmp_path: Path, **target: object) -> Path:
    for name in ("onnx", "tflite"):
        (tmp_path / f"model.{name}").write_bytes((MODELS / f"tiny.{name}").read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps({"target": target}))
    return tmp_path


def test_auto_follows_the_bundles_target_profile(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    profile = {"engine": {"preferred": "onnxruntime", "fallbacks": ["litert"]}, "threads": 2}
    engine = engines.open(fake_bundle(tmp_path, **profile))
    assert (engine.name, engine.threads) == ("onnxruntime", 2)


def test_auto_skips_what_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(
        engines.EngineKind,
        "installed_version",
        lambda kind: "1" if kind.name == "onnxruntime" else None,
    )
    bundle = fake_bundle(tmp_path, engine={"preferred": "tflite-runtime", "fallbacks": ["litert", "onnxruntime"]})
    assert engines.open(bundle).name == "onnxruntime"
    with pytest.raises(EngineError, match="tflite-runtime") as caught:
        engines.open(bundle, fallbacks=("tflite-runtime",))
    assert "pip install" in (caught.value.hint or "")


def test_auto_goes_on_when_an_engine_that_is_installed_does_not_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(engines.EngineKind, "installed_version", lambda kind: "1")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)  # what makes an import fail
    bundle = fake_bundle(tmp_path, engine={"preferred": "litert", "fallbacks": ["onnxruntime"]})
    with caplog.at_level(logging.WARNING):
        assert engines.open(bundle).name == "onnxruntime"
    assert "ai-edge-litert does not import here" in caplog.text
    with pytest.raises(EngineError, match="does not import"):
        engines.open(bundle, engine="litert")


def test_no_engine_at_all_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.EngineKind, "installed_version", lambda kind: None)
    with pytest.raises(EngineError, match="no inference engine") as caught:
        engines.open(MODELS / "tiny.tflite")
    assert caught.value.hint == "pip install ai-edge-litert"
    assert caught.value.exit_code == 3


def test_tflite_runtime_refuses_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit.engines import tflite_runtime

    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(EngineError, match=r"needs NumPy 1, and this environment has 2\.4\.6"):
        tflite_runtime.load(MODELS / "tiny.tflite", 1)


@pytest.mark.parametrize(
    ("path", "engine", "error", "message"),
    [
        ("absent", "auto", BundleError, "no such bundle or model file"),
        ("absent.onnx", "auto", BundleError, "no such bundle or model file"),
        ("notes.txt", "auto", BundleError, "not a bundle directory"),
        ("tiny.onnx", "litert", UsageError, "litert runs .tflite files"),
        ("tiny.onnx", "tensorrt", UsageError, "'tensorrt' is not known"),
        (".", "litert", BundleError, "holds no model.tflite"),
    ],
)
def test_bad_requests(tmp_path: Path, path: str, engine: str, error: type[Exception], message: str) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "tiny.onnx").write_bytes((MODELS / "tiny.onnx").read_bytes())
    with pytest.raises(error, match=message):
        engines.open(tmp_path / path, engine=engine)


def test_zero_threads_are_refused() -> None:
    with pytest.raises(UsageError, match="0 is not a number of threads"):
        engines.open(MODELS / "tiny.onnx", threads=0)


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("keep", [0, 100, 0.5])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, keep: float) -> None:
    content = model_of(name).read_bytes()
    damaged = tmp_path / model_of(name).name
    damaged.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(GraphError, match=damaged.name):
        engines.open(damaged, engine=name)


@pytest.mark.parametrize(
    "inputs",
    [
        [("x", [1, 3, 224, 224], "float32")],
        [("x", [1, 3, 224, 224], "uint8")],
        [("x", ["N", "H", 224, 3], "uint8")],
        [("x", [1, 8, 8, 3], "uint8"), ("y", [1], "int64")],
        [],
    ],
)
def test_only_uint8_images_are_taken(inputs: list[tuple[str, list[object], str]]) -> None:
    with pytest.raises(GraphError, match=r"not one uint8 \[N, H, W, 3\] image"):
        require_images(Path("m.onnx"), inputs)


def test_opening_an_engine_imports_no_other_engine(project_root: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    script = (
        "import sys; from edgekit import engines; engines.installed()\n"
        "heavy = {'onnxruntime', 'ai_edge_litert', 'onnx', 'torch'}\n"
        "assert heavy.isdisjoint(sys.modules)\n"
        f"engines.open({str(MODELS / 'tiny.tflite')!r}, threads=1)\n"
        "assert heavy & sys.modules.keys() == {'ai_edge_litert'}"
    )
    subprocess.run([sys.executable, "-c", script], cwd=project_root, check=True)


def test_onnxruntime_writes_a_profile_of_its_operators(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from edgekit.engines import onnxruntime as ort

    engine = ort.load(MODELS / "tiny.onnx", 1, profile=tmp_path / "trace")
    engine.invoke()
    engine.close()
    (trace,) = tmp_path.glob("trace*.json")
    assert any(event.get("cat") == "Node" for event in json.loads(trace.read_text()))


def test_the_runtimes_own_notes_stay_off_the_terminal(project_root: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    script = f"from edgekit import engines; engines.open({str(MODELS / 'tiny.tflite')!r}, threads=1).invoke()"
    done = subprocess.run([sys.executable, "-c", script], cwd=project_root, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    broken = "import os, sys; os.close(2); sys.stderr = None; " + script
    subprocess.run([sys.executable, "-c", broken], cwd=project_root, check=True)


def test_tensorflow_lites_own_kernels_round_otherwise_and_not_far(pixels: np.ndarray) -> None:
    pytest.importorskip("ai_edge_litert")
    from edgekit.engines import litert

    answers = []
    for fixed_point in (False, True):
        engine = litert.load(MODELS / "tiny.tflite", 1, fixed_point=fixed_point)
        engine.resize(3)
        engine.input[:] = pixels
        answers.append(engine.invoke().astype(int))
    assert np.abs(answers[0] - answers[1]).max() <= 8
