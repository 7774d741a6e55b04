"""What a target profile means to qemu, apt and pip, without any of them."""

from __future__ import annotations

import pytest

from edgekit.config import load_target
from edgekit.emulate.machine import cpuinfo, machine_of
from edgekit.emulate.proof import family_of
from edgekit.emulate.run import cpu_of
from edgekit.errors import UsageError
from edgekit.lock import wheels


@pytest.mark.parametrize(
    ("name", "cpu", "family", "debian"),
    [
        ("rpi3", "cortex-a53", "aarch64", "arm64"),
        ("rpi4", "cortex-a72", "aarch64", "arm64"),
        ("rpi5", "cortex-a76", "aarch64+dotprod", "arm64"),
        ("rpi-zero2w", "cortex-a53", "aarch64", "arm64"),
        ("armv7", "cortex-a7", "armv7l", "armhf"),
    ],
)
def test_every_arm_profile_is_a_machine(name: str, cpu: str, family: str, debian: str) -> None:
    machine = machine_of(load_target(name))
    assert (machine.cpu, machine.debian, family_of(machine)) == (cpu, debian, family)


def test_another_core_may_be_asked_for() -> None:
    machine = machine_of(load_target("rpi4"), cpu="max")
    assert machine.cpu == "max"
    assert "CPU part" not in machine.cpuinfo
    assert family_of(machine) == "aarch64+dotprod"


@pytest.mark.parametrize(
    ("target", "cpu", "version", "told"),
    [
        ("rpi4", "max", "qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg)", "max,sme=off"),
        ("rpi4", "max", "qemu-aarch64 version 10.0.2", "max"),
        ("rpi4", "max", "qemu-aarch64 version 6.2.0", "max"),
        ("rpi4", None, "qemu-aarch64 version 7.2.22", "cortex-a72"),
        ("armv7", "max", "qemu-arm version 7.2.22", "max"),
    ],
)
def test_max_leaves_out_what_old_qemus_compute_wrongly(target: str, cpu: str | None, version: str, told: str) -> None:
    assert cpu_of(machine_of(load_target(target), cpu), version) == told


def test_a_desk_is_not_emulated() -> None:
    with pytest.raises(UsageError, match="target host: cannot be emulated"):
        machine_of(load_target("host"))


def test_cpuinfo_names_the_core_as_linux_does() -> None:
    text = cpuinfo("aarch64", "cortex-a72", 4)
    assert text.count("processor\t:") == 4
    assert "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\n" in text
    assert "asimddp" not in text
    assert "CPU architecture: 7" in cpuinfo("armv7", "cortex-a7", 1)


def test_wheels_of_every_older_glibc_are_taken_newest_first() -> None:
    platform = wheels.platform_of(load_target("rpi4"))
    assert platform.python == "3.11"
    assert platform.tags[0] == "manylinux_2_36_aarch64"
    assert platform.tags[-3:] == ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64")
    assert wheels.platform_of(load_target("armv7")).tags[-1] == "linux_armv7l"


def test_a_device_installs_the_base_and_its_engines_as_pinned() -> None:
    target = load_target("rpi4")
    wanted = wheels.requirements(target)
    assert f"ai-edge-litert=={target.engine.versions.litert}" in wanted
    assert f"onnxruntime=={target.engine.versions.onnxruntime}" in wanted
    assert f"numpy=={target.engine.versions.numpy}" in wanted
    assert any(text.startswith("typer") for text in wanted)
    assert not any(text.startswith(("torch", "onnx=", "tflite-runtime")) for text in wanted)
    assert wheels.debian_packages(target) == ()


def test_32_bit_arm_takes_numpy_and_opencv_from_debian() -> None:
    target = load_target("armv7")
    names = {text.partition("=")[0].partition(">")[0].lower() for text in wheels.requirements(target)}
    assert "tflite-runtime" in names
    assert not names & {"numpy", "opencv-python-headless", "pyyaml", "ai-edge-litert"}
    assert "python3-numpy" in wheels.debian_packages(target)
