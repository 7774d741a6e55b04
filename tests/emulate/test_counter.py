"""The instruction counter is compiled for the qemu that is here, and who cannot count is told why."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgekit.config import load_target
from edgekit.emulate import Board, check_counting, counter, machine_of
from edgekit.emulate.root import Root
from edgekit.emulate.run import Emulator
from edgekit.errors import DeviceError

TARGET = load_target("rpi4")
MACHINE = machine_of(TARGET)
# qemu's own words to a plugin of another interface; 10.0 says the last before it can say the first.
TOO_OLD = (
    "Could not load plugin x.so: plugin requires API version 1, but this QEMU supports only a minimum version of 2"
)
TOO_NEW = "TCG plugin /qemu/x.so requires API version 2, but this QEMU supports only up to version 1"
UNLINKED = "Could not load plugin /qemu/x.so: undefined symbol: qemu_plugin_register_vcpu_tb_exec_inline"


@pytest.mark.parametrize(
    ("said", "interface"),
    [
        ("qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", 1),
        ("qemu-aarch64 version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)", 1),
        ("qemu-aarch64 version 9.0.0", 2),
        ("qemu-aarch64 version 10.0.13", 2),
        ("something else", 1),
    ],
)
def test_the_interface_follows_from_qemus_version(said: str, interface: int) -> None:
    assert counter.interface_of(said) == interface


@pytest.fixture
def board(tmp_path: Path, monkeypatch: Any) -> Board:
    qemu = tmp_path / "qemu"
    qemu.mkdir()
    monkeypatch.setattr(counter, "emulator", lambda machine: Emulator(qemu, "qemu-aarch64 version 7.2.22", ()))
    return Board(TARGET, MACHINE, Root(tmp_path, {}), tmp_path)


@pytest.mark.parametrize(
    ("answers", "compiled"),
    [
        ({1: None}, [1]),
        ({1: TOO_OLD, 2: None}, [1, 2]),
        ({1: UNLINKED, 2: None}, [1, 2]),
        ({1: UNLINKED, 2: TOO_OLD.replace("minimum version of 2", "minimum version of 5"), 5: None}, [1, 2, 5]),
    ],
)
def test_what_one_qemu_refuses_is_compiled_as_it_asks(
    board: Board, monkeypatch: Any, answers: dict[int, str | None], compiled: list[int]
) -> None:
    asked: list[int] = []

    def compile_to(output: Path, interface: int) -> None:
        asked.append(interface)
        output.write_text(str(interface))

    monkeypatch.setattr(counter, "compile_to", compile_to)
    monkeypatch.setattr(counter, "_try", lambda *_: answers[asked[-1]])
    first = counter.prepare(board)
    assert asked == compiled
    (kept,) = (board.root.path / "qemu").iterdir()
    assert first == f"/qemu/{kept.name}" and kept.read_text() == str(compiled[-1])
    assert counter.prepare(board) == first and asked == compiled


def test_who_takes_no_interface_is_quoted_and_nothing_stays(board: Board, monkeypatch: Any) -> None:
    monkeypatch.setattr(counter, "compile_to", lambda output, interface: output.write_text(""))
    monkeypatch.setattr(counter, "_try", lambda *_: TOO_NEW)
    with pytest.raises(DeviceError, match="supports only up to version 1"):
        counter.prepare(board)
    assert list((board.root.path / "qemu").iterdir()) == []


def test_a_static_qemu_cannot_count_and_is_told_that_it_can_prove(tmp_path: Path, monkeypatch: Any) -> None:
    said = "qemu-aarch64 version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1)"
    monkeypatch.setattr(counter, "emulator", lambda machine: Emulator(tmp_path, said, (), plugins=False))
    with pytest.raises(DeviceError, match=r"built without plugins.*verify --emulate works") as caught:
        check_counting(MACHINE)
    assert "Debian 13" in (caught.value.hint or "")


def test_without_a_compiler(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(counter, "emulator", lambda machine: Emulator(tmp_path, "qemu-aarch64 version 7.2", ()))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DeviceError, match="needs a C compiler") as caught:
        check_counting(MACHINE)
    assert caught.value.hint == "apt install gcc libc6-dev"


@pytest.mark.skipif(shutil.which("cc") is None or shutil.which("nm") is None, reason="no C compiler here")
@pytest.mark.parametrize(
    ("interface", "wanted", "unwanted"),
    [
        (1, "qemu_plugin_register_vcpu_tb_exec_inline\n", "qemu_plugin_scoreboard_new"),
        (2, "qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu\n", "qemu_plugin_register_vcpu_mem_inline\n"),
    ],
)
def test_the_counter_compiles_for_both_kinds_of_qemu(
    tmp_path: Path, interface: int, wanted: str, unwanted: str
) -> None:
    """qemu 9 took the first kind's functions away: a plugin that names them is not even linked there."""
    counter.compile_to(tmp_path / "insn.so", interface)
    names = subprocess.run(["nm", "-D", tmp_path / "insn.so"], capture_output=True, text=True, check=True).stdout
    assert wanted in names and unwanted not in names
    assert "qemu_plugin_version" in names and "qemu_plugin_install" in names


@pytest.mark.parametrize(
    ("cpu", "precision", "most"),
    [
        ("cortex-a72", "int8", 8),
        ("cortex-a76", "int8", 16),
        ("cortex-a72", "fp16", 4),
        ("cortex-a76", "fp16", 8),
        ("cortex-a53", "fp32", 4),
        ("max", "int8", None),
    ],
)
def test_the_most_that_one_instruction_does(cpu: str, precision: str, most: int | None) -> None:
    assert machine_of(TARGET, cpu).macs_per_instruction(precision) == most
