"""The wheel, installed as on a device: base packages only, neither torch nor onnx anywhere; and with tflite-runtime."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.network, pytest.mark.slow]

BUILD_PACKAGES = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "safetensors")


def call(*words: object, **options: object) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, env=environment, timeout=900, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, project_root)
    return next(folder.glob("edgekit-*.whl"))


@pytest.fixture(scope="module")
def bundle(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    call(sys.executable, "-m", "edgekit", "build", "--target", "rpi4", "--output", folder, cwd=project_root)
    return folder / "rpi4"


def environment(folder: Path, requirement: str) -> Path:
    """A fresh virtual environment with ``requirement`` and nothing else; returns its bin folder."""
    call(sys.executable, "-m", "venv", folder)
    call(folder / "bin" / "python", "-m", "pip", "install", "-q", requirement)
    return folder / "bin"


def test_device_environment_runs_without_the_build_side(wheel: Path, bundle: Path, tmp_path: Path) -> None:
    where = environment(tmp_path / "device", str(wheel))
    probe = (
        "import importlib.util as u, sys, edgekit, edgekit.runtime, edgekit.runtime.loop, edgekit.cli.app;"
        f"names = {BUILD_PACKAGES!r};"
        "print([n for n in names if n in sys.modules or u.find_spec(n)])"
    )
    assert call(where / "python", "-c", probe, cwd=tmp_path).strip() == "[]"
    lines = call(
        where / "edgekit", "run", "--camera", "demo", "--bundle", bundle, "--max-frames", 20, "--json", cwd=tmp_path
    ).splitlines()
    assert len(lines) == 21 and json.loads(lines[-1])["summary"]["engine"] == "litert"
    call(where / "edgekit", "verify", bundle, cwd=tmp_path)
    call(where / "edgekit", "doctor", cwd=tmp_path)
    call(where / "edgekit", "targets", "check", cwd=tmp_path)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime has no wheels for Python 3.12 and newer")
def test_tflite_runtime_gives_litert_s_answers(wheel: Path, bundle: Path, tmp_path: Path) -> None:
    where = environment(tmp_path / "tflite", f"{wheel}[tflite]")
    answers = {}
    for engine in ("tflite-runtime", "litert"):
        lines = call(
            where / "edgekit", "run", "--camera", "demo", "--bundle", bundle, "--engine", engine,
            "--max-frames", 20, "--json", "--no-verify", cwd=tmp_path,
        ).splitlines()  # fmt: skip
        assert json.loads(lines[-1])["summary"]["engine"] == engine
        answers[engine] = [json.loads(line)["top"][0]["index"] for line in lines[:-1]]
    assert answers["tflite-runtime"] == answers["litert"]
    call(where / "edgekit", "verify", bundle, cwd=tmp_path)
