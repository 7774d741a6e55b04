"""What is missing is named, with what to install; nothing half-made stays in the cache."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgekit.config import load_target
from edgekit.emulate import Board, debian, root, run, verify_emulated
from edgekit.emulate.board import explain
from edgekit.emulate.machine import machine_of
from edgekit.emulate.root import Root
from edgekit.emulate.run import Finished
from edgekit.errors import DeviceError, StorageError, UsageError
from edgekit.lock import wheels

TARGET = load_target("rpi4")
MACHINE = machine_of(TARGET)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    run._namespaces.cache_clear()
    return tmp_path / "cache"


def hide(monkeypatch: Any, *names: str) -> None:
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, *rest: None if name in names else real(name, *rest))


def test_without_qemu(monkeypatch: Any) -> None:
    hide(monkeypatch, "qemu-aarch64")
    with pytest.raises(DeviceError, match="qemu-aarch64 is not installed") as caught:
        run.emulator(MACHINE)
    assert caught.value.hint == "apt install qemu-user"
    assert caught.value.exit_code == 3


def test_without_apt(monkeypatch: Any, tmp_path: Path) -> None:
    hide(monkeypatch, "apt-get")
    with pytest.raises(DeviceError, match="apt-get is not on this machine"):
        debian.unpack(("python3",), "arm64", tmp_path)


def test_without_a_network_nothing_stays_behind(monkeypatch: Any, cache: Path) -> None:
    hide(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    said = "E: Failed to fetch the list  Temporary failure resolving 'somewhere'\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 100, "", said))
    with pytest.raises(DeviceError, match="Temporary failure resolving") as caught:
        root.prepare(TARGET, MACHINE)
    assert "needs a network" in (caught.value.hint or "")
    assert [file.name for file in (cache / "roots").iterdir() if not file.name.endswith(".lock")] == []


def test_debian_of_another_release_is_refused(monkeypatch: Any, cache: Path) -> None:
    monkeypatch.setattr(debian, "unpack", lambda *_: ())
    with pytest.raises(DeviceError, match=r"bring no Python 3\.11 for arm64"):
        root.prepare(TARGET, MACHINE)
    assert not list((cache / "roots").glob("arm64*"))


def test_a_full_disk_is_a_storage_error(monkeypatch: Any) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(debian, "unpack", full)
    with pytest.raises(StorageError, match="No space left on device"):
        root.prepare(TARGET, MACHINE)


def make_root(monkeypatch: Any) -> list[str]:
    """Preparing without apt and pip; the list tells who was asked."""
    asked = []

    def unpack(packages: tuple[str, ...], architecture: str, into: Path) -> tuple[debian.Deb, ...]:
        asked.append("apt")
        (into / "usr" / "bin").mkdir(parents=True)
        (into / "usr" / "bin" / "python3.11").touch()
        return (debian.Deb("python3_3.11_arm64.deb", "c" * 64),)

    def resolve(target: object) -> tuple[wheels.Pin, ...]:
        asked.append("pip")
        return (wheels.Pin("numpy", "2.4.6", "numpy.whl", "d" * 64),)

    monkeypatch.setattr(debian, "unpack", unpack)
    monkeypatch.setattr(wheels, "resolve", resolve)
    monkeypatch.setattr(wheels, "download", lambda *_: None)
    return asked


def test_a_root_is_made_once_and_records_what_is_in_it(monkeypatch: Any) -> None:
    asked = make_root(monkeypatch)
    made = root.prepare(TARGET, MACHINE)
    assert root.prepare(TARGET, MACHINE) == made
    assert asked == ["apt", "pip"]
    record = json.loads((made.path / root.RECORD).read_text())
    assert record["debs"] == [{"file": "python3_3.11_arm64.deb", "sha256": "c" * 64}]
    assert record["wheels"][0]["sha256"] == "d" * 64
    assert (made.path / "sys/devices/system/cpu/present").read_text() == "0-3\n"


def test_targets_with_the_same_packages_share_a_root_and_a_lock_has_its_own(monkeypatch: Any) -> None:
    make_root(monkeypatch)
    pi5 = load_target("rpi5")
    shared = root.prepare(TARGET, MACHINE).path
    assert root.prepare(pi5, machine_of(pi5)).path == shared
    pins = (wheels.Pin("numpy", "1.0", "", "e" * 64),)
    assert root.prepare(TARGET, MACHINE, pins=pins).path != shared


def test_the_application_is_the_wheel_unpacked(cache: Path) -> None:
    content = wheels.edgekit_wheel()[1]
    path = root.application(content)
    assert (path / "edgekit" / "emulate" / "inside.py").is_file()
    assert root.application(content) == path


def test_a_system_that_forbids_namespaces(monkeypatch: Any) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "unshare: Operation not permitted")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DeviceError, match="Operation not permitted") as caught:
        run._namespaces()
    assert "unprivileged_userns_clone" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("code", "why"),
    [(132, "an instruction that the core lacks"), (-4, "an instruction that the core lacks"), (7, "exit code 7")],
)
def test_a_crash_on_the_board_is_explained(tmp_path: Path, code: int, why: str) -> None:
    board = Board(TARGET, MACHINE, Root(tmp_path, {}), tmp_path)
    said = explain(Finished(code, "", "\nqemu: uncaught target signal\n"), "litert", board)
    assert said.startswith("litert on an emulated cortex-a72 ended by " + why)
    assert said.endswith("qemu: uncaught target signal")


def test_a_bundle_for_a_desk_cannot_be_emulated(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tinybundle.write(tmp_path / "b", target=load_target("host").to_dict()).path
    with pytest.raises(UsageError, match="cannot be emulated"):
        verify_emulated(path)


def test_a_damaged_bundle_is_refused_before_anything_is_fetched(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tinybundle.write(tmp_path / "b", target=TARGET.to_dict()).path
    (path / "model.tflite").write_bytes(b"\0")
    report = verify_emulated(path)
    assert not report.passed
    assert "model.tflite" in report.problems[0]
