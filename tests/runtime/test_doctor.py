"""The doctor against a checked-in tree of a Raspberry Pi 4, altered one thing at a time."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import rt_board
from rt_board import children, one

from edgekit.config.machine import Machine
from edgekit.runtime.checkup.probe import Outcome
from edgekit.runtime.doctor import World, examine


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the checked-in tree, to be altered."""
    return Path(shutil.copytree(rt_board.TREE, tmp_path / "pi", symlinks=True))


@pytest.fixture
def pi(tree: Path) -> World:
    """A healthy Raspberry Pi 4 with LiteRT and a webcam."""
    return rt_board.healthy(tree)


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
    none = replace(pi, try_code=children(picamera2=Outcome(0, "[]\n")))
    assert "finds no camera module" in one(examine(world=none), "csi").says
    broken = replace(pi, try_code=children(picamera2=Outcome(-11)))
    assert "does not work here: importing picamera2 is killed by SIGSEGV" in one(examine(world=broken), "csi").says
    present = examine(world=replace(pi, try_code=children(picamera2=Outcome(0, '[[0, "imx708"]]\n'))))
    assert one(present, "camera").says == "imx708: --camera csi:0"
    assert "csi" not in {finding.check for finding in present.findings}


def test_the_dict_is_json_and_complete(pi: World) -> None:
    findings = examine(world=pi)
    data = json.loads(json.dumps(findings.to_dict()))
    assert data["can_run"] is True and data["engines"] == ["litert"]
    assert [f["check"] for f in data["findings"]] == [f.check for f in findings.findings]


def test_an_empty_machine_is_no_crash(tmp_path: Path, pi: World) -> None:
    world = replace(pi, root=tmp_path, machine=Machine(tmp_path), free_bytes=lambda path: None)
    assert {f.check for f in examine(world=world).findings} >= {"architecture", "numpy", "camera"}


def test_this_machine(tmp_path: Path) -> None:
    """The real thing, whatever it is: no crash, every sentence in place, and an engine, since tests need one."""
    findings = examine()
    assert findings.exit_code == 0, findings.text()
    assert all(finding.says for finding in findings.findings)
