"""The doctor's view of NumPy, OpenCV, engines and bundles, broken in every way that is known."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rt_board
from rt_board import OPENCV, children, one, packages

from edgekit.config.machine import Machine
from edgekit.engines import ENGINES
from edgekit.runtime.checkup import probe
from edgekit.runtime.checkup.probe import Outcome
from edgekit.runtime.checkup.runtimes import RUNTIMES
from edgekit.runtime.doctor import Finding, World, examine


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the checked-in tree, to be altered."""
    return Path(shutil.copytree(rt_board.TREE, tmp_path / "pi", symlinks=True))


@pytest.fixture
def pi(tree: Path) -> World:
    """A healthy Raspberry Pi 4 with LiteRT and a webcam."""
    return rt_board.healthy(tree)


@pytest.mark.parametrize(
    ("code", "errors", "says", "mend"),
    [
        (-4, "", "is killed by an illegal instruction: the wheel uses some that this processor lacks", "older"),
        (-11, "", "is killed by SIGSEGV", "older"),
        (-9, "", "is killed by the system, most likely for want of memory", "free -h"),
        (None, "", "did not end within 60 s", None),
        (
            1,
            "ImportError: libatlas.so.3: cannot open shared object file: No such file or directory",
            "fails: the system library libatlas.so.3 is missing",
            "sudo apt install libatlas3-base",
        ),
        (
            1,
            "ImportError: /lib/libc.so.6: version `GLIBC_2.34' not found (required by /x.so)",
            "fails: this system's C library is older than GLIBC_2.34",
            "newer release",
        ),
        (1, "ImportError: x.so: wrong ELF class: ELFCLASS32", "is for another processor", "--force-reinstall"),
        (
            1,
            "A module that was compiled using NumPy 1.x cannot be run\nImportError: x",
            "compiled for NumPy 1",
            "numpy<2",
        ),
        (1, "Traceback\nImportError: something odd", "fails: ImportError: something odd", "--force-reinstall"),
        (3, "", "fails: exit code 3", "--force-reinstall"),
    ],
)
def test_a_broken_engine_becomes_a_sentence(
    pi: World, code: int | None, errors: str, says: str, mend: str | None
) -> None:
    broken = replace(pi, try_code=children(ai_edge_litert=Outcome(code, "", errors)))
    findings = examine(world=broken)
    finding = one(findings, "litert")
    assert finding.level == "problem" and finding.says.startswith("importing litert 2.3.0 ") and says in finding.says
    assert mend is None or mend in (finding.mend or "")
    assert findings.exit_code == 3 and findings.verdict == "this machine cannot run edgekit: no engine works"


def test_a_broken_engine_beside_one_that_works_is_a_warning(pi: World) -> None:
    world = replace(
        pi, installed=packages(onnxruntime="1.31.1"), try_code=children(**{"import onnxruntime": Outcome(-4)})
    )
    findings = examine(world=world)
    assert one(findings, "onnxruntime").level == "warning"
    assert findings.exit_code == 0
    assert findings.verdict == "this machine can run edgekit with litert; 1 thing to mend"


def test_no_engine_installed(pi: World) -> None:
    findings = examine(world=replace(pi, installed=packages(ai_edge_litert="")))
    assert findings.exit_code == 3
    assert one(findings, "litert").mend == "pip install ai-edge-litert"
    assert one(findings, "tflite-runtime").level == "problem"


def test_an_engine_that_cannot_exist_here_is_not_recommended(pi: World, tree: Path) -> None:
    world = replace(pi, machine=Machine(tree, "armv7l", 32), installed=packages(ai_edge_litert=""), python=(3, 13))
    findings = examine(world=world)
    assert one(findings, "litert").says == "not installed, and there is no wheel of it for armv7"
    assert one(findings, "litert").mend is None
    assert one(findings, "tflite-runtime").says == "not installed, and its last release ends at Python 3.11"
    old = examine(world=replace(world, python=(3, 11), libc=("glibc", "2.31")))
    assert one(old, "tflite-runtime").says == "not installed, and its wheel needs glibc 2.34"


def test_numpy_2_under_tflite_runtime_is_found_before_it_fails(pi: World) -> None:
    """It imports, and only its first use breaks: so the versions decide."""
    world = replace(pi, installed=packages(tflite_runtime="2.14.0", ai_edge_litert=""))
    finding = one(examine(world=world), "tflite-runtime")
    assert finding.level == "problem"
    assert finding.says == "tflite-runtime 2.14.0 was compiled for NumPy 1, and this environment has 2.4.6"
    fine = replace(world, installed=packages(tflite_runtime="2.14.0", ai_edge_litert="", numpy="1.26.4"))
    assert one(examine(world=fine), "tflite-runtime").level == "ok"


def test_opencv(pi: World) -> None:
    def opencv(outcome: Outcome, **installed: str) -> Finding:
        return one(
            examine(world=replace(pi, try_code=children(cv2=outcome), installed=packages(**installed))), "opencv"
        )

    gone = opencv(Outcome(1, "", "ModuleNotFoundError: No module named 'cv2'"))
    assert (gone.level, gone.says, gone.mend) == (
        "problem",
        "OpenCV is not installed",
        "pip install opencv-python-headless",
    )
    no_gl = opencv(Outcome(1, "", "ImportError: libGL.so.1: cannot open shared object file: No such file"))
    assert "libGL.so.1 is missing" in no_gl.says and "opencv-python-headless" in (no_gl.mend or "")
    twice = opencv(OPENCV, opencv_python="4.10.0")
    assert twice.level == "warning" and "overwrite each other's files" in twice.says
    blind = opencv(Outcome(0, OPENCV.output.replace('"ffmpeg": true', '"ffmpeg": false')))
    assert blind.level == "warning" and "video files and RTSP streams cannot be read" in blind.says


def test_without_opencv_or_numpy_nothing_runs(pi: World) -> None:
    gone = Outcome(1, "", "ModuleNotFoundError: No module named 'x'")
    assert examine(world=replace(pi, try_code=children(cv2=gone))).exit_code == 3
    findings = examine(world=replace(pi, try_code=children(numpy=gone)))
    assert findings.exit_code == 3 and findings.verdict == "this machine cannot run edgekit: see numpy"


def bundle(folder: Path, **cpu: Any) -> Path:
    folder.mkdir()
    target = {
        "name": "rpi5",
        "cpu": {"isa": "aarch64", "dot_product": True, **cpu},
        "engine": {"versions": {"litert": "2.3.0"}},
    }
    (folder / "manifest.json").write_text(json.dumps({"target": target}))
    (folder / "model.tflite").touch()
    return folder


def test_a_bundle_for_another_processor(pi: World, tmp_path: Path) -> None:
    assert "8-bit dot products (rpi5), and this one has none" in _bundle_says(pi, bundle(tmp_path / "a"))
    assert "was made for x86_64 (rpi5), and this is aarch64" in _bundle_says(pi, bundle(tmp_path / "b", isa="x86_64"))
    assert _bundle_says(pi, bundle(tmp_path / "c", dot_product=False)).endswith("made for this kind of processor")
    (tmp_path / "c" / "manifest.json").write_text('{"target": {"name": "x"}}')
    assert _bundle_says(pi, tmp_path / "c").endswith("does not say which processor it was made for")
    (tmp_path / "c" / "manifest.json").write_text("[]")
    assert _bundle_says(pi, tmp_path / "c").endswith(": not a bundle")
    old = replace(pi, installed=packages(ai_edge_litert="2.1.0"))
    assert "litert 2.1.0 is installed" in [f.says for f in examine(world=old, bundle=tmp_path / "a").findings][-2]


def _bundle_says(world: World, path: Path) -> str:
    return one(examine(world=world, bundle=path), "bundle").says


def test_with_a_bundle_the_engine_runs_its_model(pi: World, tmp_path: Path) -> None:
    """An import may succeed where the first inference meets an illegal instruction."""
    path = bundle(tmp_path / "a", dot_product=False)
    assert one(examine(world=pi, bundle=path), "litert").says == "litert 2.3.0 runs model.tflite"
    crash = replace(pi, try_code=children(engines=Outcome(-4)))
    finding = one(examine(world=crash, bundle=path), "litert")
    assert finding.says.startswith(f"running {path}/model.tflite in litert 2.3.0 is killed by an illegal instruction")


def test_real_children_die_their_own_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe.run("print('hello')") == Outcome(0, "hello\n", "")
    assert probe.run("import os, signal; os.kill(os.getpid(), signal.SIGILL)").code == -4
    assert probe.run("import time; time.sleep(30)", timeout_s=0.5).code is None
    assert "ZeroDivisionError" in probe.run("1/0").errors


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and /proc as on Linux")
def test_an_engine_that_really_crashes_at_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pi: World) -> None:
    package = tmp_path / "site" / "onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    findings = examine(world=replace(pi, try_code=probe.run, installed=packages(onnxruntime="1.20.0")))
    finding = one(findings, "onnxruntime")
    assert "importing onnxruntime 1.20.0 is killed by an illegal instruction" in finding.says


def test_a_real_bundle_runs_in_real_engines(tinybundle: ModuleType, tmp_path: Path) -> None:
    """The children's code as it is typed, with nothing stood in for."""
    tinybundle.write(tmp_path / "tiny")
    findings = examine(bundle=tmp_path / "tiny")
    assert findings.engines, findings.text()
    for name in findings.engines:
        assert " runs model." in one(findings, name).says


def test_what_the_doctor_knows_of_engines_is_what_the_engines_are() -> None:
    assert {r.name: (r.distribution, r.model, r.install) for r in RUNTIMES.values()} == {
        kind.name: (kind.distribution, kind.model, kind.install) for kind in ENGINES.values()
    }
    for runtime in RUNTIMES.values():
        assert ENGINES[runtime.name].package in runtime.importing


def test_the_doctor_itself_imports_nothing_that_could_crash(project_root: Path) -> None:
    code = "import sys, edgekit.runtime.doctor as d; d.examine(); print([m for m in sys.modules if m in %r])"
    risky = ["numpy", "cv2", "ai_edge_litert", "onnxruntime", "tflite_runtime", "picamera2", "yaml"]
    done = subprocess.run([sys.executable, "-c", code % (risky,)], cwd=project_root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
