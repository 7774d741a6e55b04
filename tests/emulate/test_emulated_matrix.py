"""The embedded demo, built here and proven on every ARM target; tests/emulate/matrix.py does the real checkpoints."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("emulation_matrix", Path(__file__).with_name("matrix.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules["emulation_matrix"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_names_what_was_refused(matrix: ModuleType) -> None:
    from edgekit.evaluate.verify_report import EngineCheck

    good = EngineCheck("litert", "2.3.0", "aarch64", goldens=32, same_top1=32, tolerance=2.0)
    bad = EngineCheck("litert", "2.3.0", "aarch64", problems=("litert: golden 3 is 9 steps away",))
    text = matrix.table([matrix.Cell("demo", "rpi4", "cortex-a72", check) for check in (good, bad)])
    assert "| demo | rpi4 (cortex-a72) | litert 2.3.0 | 32 | 32 | 0 | 2 | proven |" in text
    assert "refused: litert: golden 3 is 9 steps away" in text


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-user is not installed (apt install qemu-user)")
def test_the_demo_is_proven_on_every_arm_target(matrix: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (family,) = matrix.families(None)
    cells = matrix.prove(family, matrix.build(family, tmp_path), matrix.TARGETS)
    assert all(cell.check.passed for cell in cells), matrix.table(cells)
    assert {(cell.target, cell.check.engine) for cell in cells} == {
        *((name, engine) for name in ("rpi-zero2w", "rpi4", "rpi5") for engine in ("litert", "onnxruntime")),
        ("armv7", "tflite-runtime"),
    }
    for cell in cells:
        assert cell.check.goldens >= 32
        assert cell.check.clear_held == cell.check.clear > 0
