"""The real ARM wheels on emulated boards. Prepares roots in the cache: the first run takes minutes and a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgekit import bundle, emulate, lock
from edgekit.bundle import derive, proven_engines
from edgekit.config import load_target
from edgekit.emulate import root, run
from edgekit.emulate.board import BUNDLE
from edgekit.engines import installed
from edgekit.errors import DeviceError

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(
        shutil.which("qemu-aarch64") is None, reason="qemu-user is not installed (apt install qemu-user)"
    ),
]
HERE = [name for name in ("litert", "onnxruntime") if name in installed()]


def bundle_for(name: str, path: Path, tinybundle: ModuleType) -> bundle.Bundle:
    """The tiny bundle with the profile of a real target."""
    target = load_target(name).to_dict()
    parts = tinybundle.parts(*HERE, target=target)
    notes = {"tolerance": derive(parts.golden).to_dict()}
    return bundle.write(path, replace(parts, engines=proven_engines(target, installed()), golden_notes=notes))


@pytest.mark.parametrize(
    ("name", "cpu", "family", "engines"),
    [
        ("rpi4", "cortex-a72", "aarch64", {"litert", "onnxruntime"}),
        ("rpi5", "cortex-a76", "aarch64+dotprod", {"litert", "onnxruntime"}),
        ("rpi-zero2w", "cortex-a53", "aarch64", {"litert", "onnxruntime"}),
        ("armv7", "cortex-a7", "armv7l", {"tflite-runtime"}),
    ],
)
def test_every_engine_of_a_board_gives_the_recorded_answers(
    tmp_path: Path, tinybundle: ModuleType, name: str, cpu: str, family: str, engines: set[str]
) -> None:
    made = bundle_for(name, tmp_path / name, tinybundle)
    report = emulate.verify_emulated(made.path)
    assert report.passed, report.text()
    assert report.emulated == cpu
    assert {check.engine for check in report.engines} == engines
    for check in report.engines:
        assert (check.family, check.goldens, check.clear_held) == (family, 4, check.clear)
        assert check.version == made.manifest.engines[check.engine]


def test_wrong_answers_on_the_board_are_refused_and_right_ones_recorded(tmp_path: Path, tinybundle: ModuleType) -> None:
    made = bundle_for("rpi4", tmp_path / "b", tinybundle)
    report = emulate.verify_emulated(made.path, engines=["litert"], record=True)
    assert report.passed, report.text()
    recorded = bundle.read(made.path)
    assert recorded.sha256 != made.sha256
    (expected,) = (item for item in recorded.golden().of("litert") if item.family == "aarch64")
    assert recorded.manifest.notes["proven"]["cortex-a72"] == {"litert": report.engines[0].version}
    # From now on the board is held to its own kind's answers, and to a step of them.
    golden = recorded.golden()
    changed = replace(expected, raw=(expected.raw.astype(np.int16) + 3).astype(np.int8))
    bundle.add(made.path, {}, golden=golden.recording(changed))
    again = emulate.verify_emulated(made.path, engines=["litert"])
    assert not again.passed
    assert "3 steps from the recorded answer, and 1 are allowed" in again.problems[0]


def test_one_inference_is_counted(tmp_path: Path, tinybundle: ModuleType) -> None:
    if shutil.which("cc") is None:
        pytest.skip("counting needs a C compiler")
    made = bundle_for("rpi4", tmp_path / "b", tinybundle)
    (first,) = emulate.count(made.path, engines=["litert"]).counts
    assert first.cpu == "cortex-a72"
    # 7 x 7 outputs of 6 channels from 27 products each are 8 thousand multiplications: thousands of instructions.
    assert 0.002 < first.instructions < 0.2
    assert 0 < first.memory < first.instructions


def test_an_emulated_board_sees_its_own_core_and_only_device_side_code(tmp_path: Path, tinybundle: ModuleType) -> None:
    made = bundle_for("rpi5", tmp_path / "b", tinybundle)
    board = emulate.board_of(made)
    script = (
        "import platform, edgekit.cli, edgekit.classifier, edgekit.engines as e;"
        "from edgekit.bundle.golden import isa_family;"
        "import importlib.util as u;"
        "print(platform.machine(), isa_family(), sorted(e.installed()),"
        " [n for n in ('torch', 'onnx', 'onnx_ir') if u.find_spec(n)])"
    )
    done = board.python(["-c", script], mounts={})
    assert done.output == "aarch64 aarch64+dotprod ['litert', 'onnxruntime'] []\n", done.errors


def test_a_normal_users_namespaces_are_enough(tmp_path: Path, tinybundle: ModuleType, monkeypatch: Any) -> None:
    """The flags that a normal user needs, even where the test runs as root."""
    made = bundle_for("rpi4", tmp_path / "b", tinybundle)
    monkeypatch.setattr(run, "_namespaces", lambda: ("unshare", "--map-root-user", "--mount", "--fork", "--kill-child"))
    try:
        done = emulate.board_of(made).python(["-c", "import os; print(os.uname().machine)"], mounts={})
    except DeviceError as error:
        pytest.skip(str(error))
    if "unshare" in done.errors:
        pytest.skip(f"user namespaces are not allowed here: {done.errors.strip()}")
    assert done.output == "aarch64\n", done.errors


def test_a_killed_board_ends_in_a_clear_error(tmp_path: Path, tinybundle: ModuleType) -> None:
    made = bundle_for("rpi4", tmp_path / "b", tinybundle)
    board = emulate.board_of(made)
    with pytest.raises(DeviceError, match="did not end within 2 s"):
        board.python(["-c", "import time; time.sleep(60)"], mounts={}, timeout_s=2)
    done = board.python(["-c", "import os; os.kill(os.getpid(), 4)"], mounts={})
    assert "an instruction that the core lacks (SIGILL)" in emulate.board.explain(done, "litert", board)


def test_a_broken_model_on_the_board_is_a_verdict_not_a_crash(tmp_path: Path, tinybundle: ModuleType) -> None:
    parts = tinybundle.parts(*HERE, target=load_target("rpi4").to_dict())
    (onnx, _), (tflite, content) = parts.models
    models = ((onnx, content[:500]), (tflite, content))
    made = bundle.write(tmp_path / "b", replace(parts, models=models, engines={}))
    report = emulate.verify_emulated(made.path, engines=["onnxruntime"])
    assert not report.passed
    assert any("model.onnx" in problem for problem in report.problems)


def test_the_root_is_recorded_with_hashes(tmp_path: Path, tinybundle: ModuleType) -> None:
    board = emulate.board_of(bundle_for("rpi4", tmp_path / "b", tinybundle))
    wheels = {item["name"]: item for item in board.root.record["wheels"]}
    assert wheels["ai-edge-litert"]["version"] == load_target("rpi4").engine.versions.litert
    assert all(len(item["sha256"]) == 64 for item in (*wheels.values(), *board.root.record["debs"]))
    assert any(item["file"].startswith("libc6_") for item in board.root.record["debs"])
    assert os.access(root.cache_directory(), os.W_OK)


def test_the_camera_loop_on_a_board_answers_as_it_does_here(
    tmp_path: Path, tinybundle: ModuleType, project_root: Path
) -> None:
    import cv2

    made = bundle_for("rpi4", tmp_path / "b", tinybundle)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(5)
    for number in range(20):
        small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(pictures / f"{number:02}.png"), cv2.resize(small, (160, 120)))
    arguments = ["run", "--engine", "litert", "--max-frames", "20", "--json"]
    here = subprocess.run(
        [sys.executable, "-m", "edgekit", *arguments, "--bundle", str(made.path), "--camera", str(pictures)],
        cwd=project_root,
        capture_output=True,
        text=True,
    )
    assert here.returncode == 0, here.stderr
    there = emulate.run_command(
        made.path, [*arguments, "--bundle", "/work", "--camera", "/mnt"], mounts={pictures: "/mnt"}
    )
    assert there.code == 0, there.errors
    results = [[json.loads(line) for line in text.splitlines()] for text in (here.stdout, there.output)]
    assert [len(lines) for lines in results] == [21, 21]
    tops = [[line["top"] for line in lines[:-1]] for lines in results]
    assert [[one["index"] for one in top] for top in tops[0]] == [[one["index"] for one in top] for top in tops[1]]
    for one, other in zip(*tops, strict=True):
        assert one[0]["score"] == pytest.approx(other[0]["score"], abs=1e-6)


@pytest.mark.realdata
def test_a_clip_gets_the_same_answers_on_a_board(
    tmp_path: Path, tinybundle: ModuleType, project_root: Path, shared_data: Path
) -> None:
    """The decoder's pixels differ by a unit or two between x86 and ARM (docs/tolerance.md); the best class does not."""
    made = bundle_for("rpi4", tmp_path / "b", tinybundle)
    clip = shared_data / "video" / "bottle-detection.mp4"
    arguments = ["run", "--engine", "litert", "--max-frames", "20", "--json"]
    here = subprocess.run(
        [sys.executable, "-m", "edgekit", *arguments, "--bundle", str(made.path), "--camera", str(clip)],
        cwd=project_root,
        capture_output=True,
        text=True,
    )
    assert here.returncode == 0, here.stderr
    line = [*arguments, "--bundle", "/work", "--camera", f"/mnt/{clip.name}"]
    there = emulate.run_command(made.path, line, mounts={clip.parent: "/mnt"})
    assert there.code == 0, there.errors
    results = [[json.loads(text) for text in said.splitlines()[:-1]] for said in (here.stdout, there.output)]
    assert [[one["frame"] for one in said] for said in results] == [list(range(20))] * 2
    assert [one["top"][0]["index"] for one in results[0]] == [one["top"][0]["index"] for one in results[1]]


@pytest.mark.network
def test_a_boards_own_pip_installs_the_lock_without_an_index_and_verify_runs_from_it(
    tmp_path: Path, tinybundle: ModuleType
) -> None:
    """As on a Pi without a network: the bundle's wheelhouse, hashes required, then the installed edgekit's verify."""
    made = bundle_for("rpi4", tmp_path / "b", tinybundle)
    lock.lock(made.path, with_wheels=True)
    board = emulate.board_of(bundle.read(made.path))
    pip, site = tmp_path / "pip", tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(pip), "pip"], check=True)
    site.mkdir()
    (wheel,) = pip.iterdir()
    flags = ["--no-cache-dir", "--disable-pip-version-check", "--no-compile", "--target", "/tmp/site"]
    install = [f"/mnt/{wheel.name}/pip", "install", *flags, "--require-hashes", "-r", f"{BUNDLE}/requirements.txt"]
    done = board.python(install, mounts={made.path: "/work", pip: "/mnt", site: "/tmp"})
    assert done.code == 0, done.errors
    # Without the command line's latency sample: one emulated process cannot start another.
    script = (
        "import sys; sys.path.insert(0, '/tmp/site');"
        "from edgekit.evaluate import verify as v; print(v.__file__); r = v.verify('/work'); print(r.passed, r.text())"
    )
    bare = replace(board, edgekit=pip)  # nothing of this checkout is to be found there
    done = bare.python(["-c", script], mounts={made.path: "/work", site: "/tmp"})
    where, said, *_ = done.output.splitlines() or ["", done.errors]
    assert where.startswith("/tmp/site/edgekit/")
    assert said.startswith("True "), done.output + done.errors
