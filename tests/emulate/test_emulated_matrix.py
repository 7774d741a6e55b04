"""The embedded demo, built here and proven on every ARM target; tests/emulate/matrix.py does the real checkpoints."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgekit import bundle, emulate
from edgekit.errors import DeviceError
from edgekit.evaluate.verify_report import EngineCheck, VerifyReport


@pytest.fixture(scope="module")
def matrix(project_root: Path) -> Iterator[ModuleType]:
    sys.path.insert(0, str(project_root))
    spec = importlib.util.spec_from_file_location("emulation_matrix", Path(__file__).with_name("matrix.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules["emulation_matrix"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(project_root))


def test_a_failure_is_a_row_and_the_rest_goes_on(matrix: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    """One family that cannot be built, one board that cannot be emulated, one engine that answers otherwise."""
    broken, good = matrix.Family("broken"), matrix.Family("good")

    def build(family: Any, output: Path) -> Path:
        if family is broken:
            raise ValueError("no such checkpoint\nsecond line")
        return output

    def verify(bundle: Path, *, target: Any, say: Any) -> VerifyReport:
        if target.name == "rpi5":
            raise DeviceError("emulation: qemu-aarch64 is not installed")
        checks = (
            EngineCheck("litert", "2.3.0", "aarch64", goldens=32, same_top1=32, tolerance=2.0),
            EngineCheck("onnxruntime", "1.31.1", "aarch64", problems=("onnxruntime: golden 3 is 9 steps away",)),
        )
        return VerifyReport(bundle, "", (), checks, emulated="cortex-a72")

    monkeypatch.setattr(matrix, "build", build)
    monkeypatch.setattr(matrix.emulate, "verify_emulated", verify)
    rows = list(matrix.rows([broken, good], ("rpi4", "rpi5"), tmp_path))
    assert [(row.network, row.target, row.engine, row.verdict) for row in rows] == [
        ("broken", "rpi4 (cortex-a72)", "litert", "failed: no such checkpoint"),
        ("broken", "rpi4 (cortex-a72)", "onnxruntime", "failed: no such checkpoint"),
        ("broken", "rpi5 (cortex-a76)", "litert", "failed: no such checkpoint"),
        ("broken", "rpi5 (cortex-a76)", "onnxruntime", "failed: no such checkpoint"),
        ("good", "rpi4 (cortex-a72)", "litert 2.3.0", "proven"),
        ("good", "rpi4 (cortex-a72)", "onnxruntime 1.31.1", "refused: onnxruntime: golden 3 is 9 steps away"),
        ("good", "rpi5 (cortex-a76)", "litert", "failed: emulation: qemu-aarch64 is not installed"),
        ("good", "rpi5 (cortex-a76)", "onnxruntime", "failed: emulation: qemu-aarch64 is not installed"),
    ]


@pytest.mark.realdata
def test_every_family_has_its_files(matrix: ModuleType, shared_data: Path) -> None:
    chosen = matrix.families(shared_data)
    assert len({family.title for family in chosen}) == len(chosen) > 10
    for family in chosen:
        for path in (family.checkpoint, family.calibration, family.labels):
            assert path is None or path.exists(), family.title


@pytest.mark.realdata
def test_a_network_of_eight_groups_is_made(
    shared_data: Path, tmp_path: Path, project_root: Path, monkeypatch: Any
) -> None:
    monkeypatch.syspath_prepend(str(project_root))
    from edgekit import checkpoints
    from tests.emulate import random_network

    made = random_network.write(tmp_path / "g8.pth", shared_data / "photos" / "imagenette" / "calibration", count=4)
    loaded = checkpoints.load(made)
    assert loaded.architecture is not None
    assert (loaded.architecture.groups, loaded.architecture.stage_channels) == (8, (192, 384, 768))


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-user is not installed (apt install qemu-user)")
def test_the_demo_is_proven_on_every_arm_target(matrix: ModuleType, tmp_path: Path, project_root: Path) -> None:
    pytest.importorskip("torch")
    (family,) = matrix.families(None)
    built = subprocess.run(
        [sys.executable, "-m", "edgekit", "build", "--target", "rpi4", "--emulate", "--json", "--output", tmp_path],
        cwd=project_root,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    made = tmp_path / "rpi4"
    check_report(made, json.loads(built.stdout)["emulated"])
    rows = list(matrix.prove(family, made, matrix.TARGETS))
    assert [row.verdict for row in rows] == ["proven"] * len(rows), rows
    assert {(row.target.partition(" ")[0], row.engine.partition(" ")[0]) for row in rows} == {
        *((name, engine) for name in ("rpi-zero2w", "rpi4", "rpi5") for engine in ("litert", "onnxruntime")),
        ("armv7", "tflite-runtime"),
    }
    assert all(int(row.goldens) >= 32 and row.same_top1 == row.goldens for row in rows)


def check_report(made: Path, said: dict[str, Any]) -> None:
    """``build --emulate``: this core's answers in the goldens, and its proof and counts in JSON, bundle and report.

    Measured with qemu 7.2: 4.18 (LiteRT) and 4.99 (ONNX Runtime) times the floor of 8 products an instruction. More
    than the limits is a regression on ARM, of the graphs that are emitted or of an engine.
    """
    limits = {"litert": 4.5, "onnxruntime": 5.4}
    assert said["passed"] and {proof["engine"] for proof in said["proofs"]} == set(limits)
    opened = bundle.read(made, every_file=True)
    assert emulate.Emulated.of(opened).to_dict() == said
    assert {item.engine for item in opened.golden().expected if item.family == "aarch64"} == set(limits)
    page = (made / "report.html").read_text()
    if not said["counts"]:
        assert "Not counted" in page
        return
    for one in said["counts"]:
        assert one["most_macs_per_instruction"] == 8
        assert 1 < one["times_floor"] < limits[one["engine"]], one
        assert f"{one['instructions_m']:.1f}" in page and f"{one['times_floor']:.2f}" in page
