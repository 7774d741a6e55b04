"""The doctor against a checked-in tree of a Raspberry Pi 4, altered one thing at a time."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit.config.machine import Machine
from edgekit.runtime.checkup import probe
from edgekit.runtime.checkup.probe import Outcome
from edgekit.runtime.doctor import Finding, Findings, World, examine

TREE = Path(__file__).parent / "machines" / "rpi4"

NUMPY = Outcome(0, '{"version": "2.4.6", "sum": 28}\n')
OPENCV = Outcome(0, '{"version": "5.0.0", "gstreamer": false, "ffmpeg": true, "v4l2": true, "window": false}\n')
MISSING = Outcome(1, "", "Traceback …\nModuleNotFoundError: No module named 'picamera2'\n")


def children(**answers: Outcome) -> Callable[[str], Outcome]:
    """A stand-in for child processes: the first answer whose name occurs in the code."""
    known = {"numpy": NUMPY, "cv2": OPENCV, "picamera2": MISSING, **answers}

    def run(code: str) -> Outcome:
        return next((outcome for word, outcome in known.items() if word in code), Outcome(0))

    return run


def packages(**versions: str) -> Callable[[str], str | None]:
    known = {"numpy": "2.4.6", "opencv-python-headless": "5.0.0.93", "ai-edge-litert": "2.3.0"}
    known |= {name.replace("_", "-"): version for name, version in versions.items()}
    return lambda name: known.get(name) or None


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TREE, tmp_path / "pi", symlinks=True))


@pytest.fixture
def pi(tree: Path) -> World:
    """A healthy Raspberry Pi 4 with LiteRT and a webcam."""
    return World(
        root=tree,
        machine=Machine(tree, "aarch64", 64),
        python=(3, 11),
        libc=("glibc", "2.36"),
        installed=packages(),
        try_code=children(),
        groups=frozenset({"pi", "video"}),
        user="pi",
        may_use=lambda path: True,
        free_bytes=lambda path: 20 * 1024**3,
        folder=Path("/home/pi"),
        in_virtualenv=True,
    )


def one(findings: Findings, check: str) -> Finding:
    (found,) = [finding for finding in findings.findings if finding.check == check]
    return found


def test_a_healthy_board(pi: World, tree: Path) -> None:
    findings = examine(world=pi)
    assert findings.exit_code == 0 and findings.engines == ("litert",)
    assert [f.check for f in findings.findings if f.level in ("warning", "problem")] == []
    device = tree / "dev" / "video0"
    link = tree / "dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920_1A2B3C4D-video-index0"
    assert findings.text().replace("  ", " ").splitlines() == [
        line.replace("  ", " ")
        for line in [
            "ok   architecture    4 x cortex-a72, aarch64, Raspberry Pi 4 Model B Rev 1.5",
            "note instructions    no 8-bit dot products: int8 saves memory traffic here more than arithmetic",
            "ok   libc            glibc 2.36",
            "ok   python          Python 3.11",
            "ok   temperature     48 °C",
            "ok   power           no under-voltage and no throttling since the last start",
            "ok   memory          3332 MB of 3793 MB available",
            "ok   disk            20.0 GB free in /home/pi",
            "ok   numpy           NumPy 2.4.6",
            "ok   opencv          OpenCV 5.0.0 (built without GStreamer)",
            "ok   litert          litert 2.3.0 can be imported",
            "note onnxruntime     not installed",
            "note tflite-runtime  not installed",
            f"ok   camera          HD Pro Webcam C920 ({device}): --camera {link}",
            "",
            "this machine can run edgekit with litert",
        ]
    ]


def cpu(tree: Path, old: str, new: str) -> None:
    path = tree / "proc" / "cpuinfo"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("machine", "level", "says"),
    [
        (("aarch64", 32), "warning", "a 32-bit system on a 64-bit processor, for which only tflite-runtime exists"),
        (("armv7l", 32), "warning", "a 32-bit system, for which only tflite-runtime exists"),
        (("armv6l", 32), "problem", "no engine exists for Armv6"),
        (("riscv64", 64), "problem", "no engine exists for it"),
    ],
)
def test_architectures(pi: World, tree: Path, machine: tuple[str, int], level: str, says: str) -> None:
    finding = one(examine(world=replace(pi, machine=Machine(tree, *machine))), "architecture")
    assert finding.level == level and says in finding.says and finding.mend


def test_dot_products_are_seen(pi: World, tree: Path) -> None:
    cpu(tree, "crc32 cpuid", "crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp")
    cpu(tree, "0xd08", "0xd0b")
    findings = examine(world=pi)
    assert one(findings, "instructions").says == "8-bit dot products and half-precision arithmetic"
    assert "4 x cortex-a76" in one(findings, "architecture").says


def test_instructions_of_other_processors(pi: World, tree: Path) -> None:
    cpu(tree, "fp asimd evtstrm crc32 cpuid", "half thumb fastmult vfp edsp vfpv3 tls vfpv4")
    thirty_two = replace(pi, machine=Machine(tree, "armv7l", 32))
    assert one(examine(world=thirty_two), "instructions").says == "no NEON: the engines crash on this processor"
    cpu(tree, "half thumb fastmult vfp edsp vfpv3 tls vfpv4", "")
    assert "lists no processor features" in one(examine(world=replace(pi, machine=Machine(tree))), "instructions").says
    for flags, word in {"sse4_2 avx": "AVX2", "avx avx2": "VNNI", "avx2 avx512_vnni": "8-bit dot products"}.items():
        (tree / "proc" / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu {flags}\n")
        finding = one(examine(world=replace(pi, machine=Machine(tree, "x86_64"))), "instructions")
        assert word in finding.says, flags


@pytest.mark.parametrize(
    ("libc", "level"),
    [(("glibc", "2.41"), "ok"), (("glibc", "2.27"), "warning"), (("glibc", "2.24"), "problem"), (("", ""), "problem")],
)
def test_c_libraries(pi: World, libc: tuple[str, str], level: str) -> None:
    assert one(examine(world=replace(pi, libc=libc)), "libc").level == level


@pytest.mark.parametrize(("python", "level"), [((3, 10), "problem"), ((3, 13), "ok"), ((3, 14), "problem")])
def test_pythons(pi: World, python: tuple[int, int], level: str) -> None:
    assert one(examine(world=replace(pi, python=python)), "python").level == level


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


@pytest.mark.parametrize(
    ("temp", "level", "says"),
    [
        ("62000", "ok", "62 °C"),
        ("75300", "note", "75 °C, 5 below throttling"),
        ("84000", "warning", "slows itself down"),
    ],
)
def test_heat(pi: World, tree: Path, temp: str, level: str, says: str) -> None:
    (tree / "sys/class/thermal/thermal_zone0/temp").write_text(temp)
    finding = one(examine(world=pi), "temperature")
    assert finding.level == level and says in finding.says


@pytest.mark.parametrize(
    ("word", "level", "says", "mend"),
    [
        ("50005", "warning", "slowed down right now: under-voltage, throttled", "power supply"),
        ("80008", "warning", "slowed down right now: soft temperature limit", "cool the board"),
        ("50000", "note", "since the last start there was under-voltage, throttling", "power supply"),
        ("40000", "note", "since the last start there was throttling", "cool the board"),
    ],
)
def test_power(pi: World, tree: Path, word: str, level: str, says: str, mend: str) -> None:
    (tree / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text(f"{word}\n")
    finding = one(examine(world=pi), "power")
    assert (finding.level, finding.says) == (level, says) and mend in (finding.mend or "")


def test_low_clock_memory_and_disk(pi: World, tree: Path) -> None:
    (tree / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").write_text("powersave\n")
    (tree / "proc/meminfo").write_text("MemTotal: 437252 kB\nMemAvailable: 92160 kB\n")
    findings = examine(world=replace(pi, free_bytes=lambda path: 3 * 1024**2))
    assert "lowest clock" in one(findings, "clock").says
    assert one(findings, "memory").says == "90 MB of 427 MB available; `edgekit run` may take 120 MB"
    assert one(findings, "disk").says.startswith("3 MB free in /home/pi")
    assert {one(findings, check).level for check in ("clock", "memory", "disk")} == {"warning"}


def test_a_camera_that_may_not_be_opened(pi: World) -> None:
    findings = examine(world=replace(pi, may_use=lambda path: False, groups=frozenset({"pi"})))
    assert one(findings, "camera").says.endswith("user pi may not open it")
    assert one(findings, "camera").mend == "sudo usermod -aG video pi, then log out and in"
    assert one(findings, "permissions").level == "warning"


def test_outside_the_group_but_with_access_is_only_noted(pi: World) -> None:
    findings = examine(world=replace(pi, groups=frozenset({"pi"})))
    assert one(findings, "camera").level == "ok" and one(findings, "permissions").level == "note"
    assert "permissions" not in {f.check for f in examine(world=replace(pi, user="root", groups=frozenset())).findings}


def test_a_camera_in_use_names_the_program(pi: World, tree: Path) -> None:
    (tree / "proc/1234/fd/5").symlink_to("/dev/video0")
    finding = one(examine(world=pi), "camera")
    assert "in use by motion (process 1234)" in finding.says and finding.facts["used_by"] == [1234]


def test_a_camera_without_its_device_file(pi: World, tree: Path) -> None:
    (tree / "dev/video0").unlink()
    finding = one(examine(world=pi), "camera")
    assert (
        finding.level == "problem" and "device file is missing" in finding.says and "--device" in (finding.mend or "")
    )


def test_no_camera(pi: World, tree: Path) -> None:
    shutil.rmtree(tree / "sys/class/video4linux")
    assert one(examine(world=pi), "camera").says == "no camera found"


def test_a_csi_camera_without_picamera2(pi: World, tree: Path) -> None:
    (tree / "sys/class/video4linux/video0/name").write_text("unicam-image\n")
    finding = one(examine(world=pi), "csi")
    assert finding.level == "warning" and "--system-site-packages" in (finding.mend or "")
    present = replace(pi, try_code=children(picamera2=Outcome(0)))
    assert "finds no camera module" in one(examine(world=present), "csi").says


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
    assert "8-bit dot products, and this one has none" in _bundle_says(pi, bundle(tmp_path / "a"))
    assert "was made for x86_64, and this is aarch64" in _bundle_says(pi, bundle(tmp_path / "b", isa="x86_64"))
    assert _bundle_says(pi, bundle(tmp_path / "c", dot_product=False)).endswith("made for this kind of processor")
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


def test_the_dict_is_json_and_complete(pi: World) -> None:
    findings = examine(world=pi)
    data = json.loads(json.dumps(findings.to_dict()))
    assert data["can_run"] is True and data["engines"] == ["litert"]
    assert [f["check"] for f in data["findings"]] == [f.check for f in findings.findings]


def test_an_empty_machine_is_no_crash(tmp_path: Path, pi: World) -> None:
    world = replace(pi, root=tmp_path, machine=Machine(tmp_path), free_bytes=lambda path: None)
    assert {f.check for f in examine(world=world).findings} >= {"architecture", "numpy", "camera"}


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


def test_this_machine(tmp_path: Path) -> None:
    """The real thing, whatever it is: no crash, every sentence in place, and an engine, since tests need one."""
    findings = examine()
    assert findings.exit_code == 0, findings.text()
    assert all(finding.says for finding in findings.findings)
