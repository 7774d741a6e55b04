"""What install, status and uninstall ask of systemctl, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import DeviceError, StorageError
from edgekit.runtime.service import Host, Unit, install, status, uninstall


def unit(**changes: Any) -> Unit:
    given: dict[str, Any] = {"program": Path(sys.executable), "bundle": Path("/srv/build/rpi4"), "user": "root"}
    return Unit(**{**given, **changes})


class Recorder:
    """Stands in for systemctl."""

    def __init__(self, **answers: tuple[int, str]) -> None:
        self.commands: list[str] = []
        self._answers = answers

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.commands.append(" ".join(command))
        code, text = self._answers.get(command[1].replace("-", "_"), (0, ""))
        return subprocess.CompletedProcess(list(command), code, text if not code else "", text if code else "")


def host(tmp_path: Path, *, systemd: bool = True, is_root: bool = True, **answers: tuple[int, str]) -> Host:
    if systemd:
        (tmp_path / "run/systemd/system").mkdir(parents=True, exist_ok=True)
    return Host(root=tmp_path, run=Recorder(**answers), is_root=is_root)


def commands(host: Host) -> list[str]:
    assert isinstance(host.run, Recorder)
    return host.run.commands


def test_install_writes_and_starts(tmp_path: Path) -> None:
    there = host(tmp_path)
    path = install(unit(), host=there)
    assert path == tmp_path / "etc/systemd/system/edgekit.service"
    assert path.read_text() == unit().text() and path.stat().st_mode & 0o777 == 0o640
    assert commands(there) == [
        "systemctl daemon-reload",
        "systemctl enable edgekit.service",
        "systemctl restart edgekit.service",
    ]
    install(unit(camera="1"), host=there)
    assert "--camera 1" in path.read_text(), "ours is replaced"
    assert [item.name for item in path.parent.iterdir()] == ["edgekit.service"]


def test_nothing_is_written_without_rights_or_systemd(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="only root may change services"):
        install(unit(), host=host(tmp_path, is_root=False))
    with pytest.raises(DeviceError, match="not run by systemd"):
        install(unit(), host=host(tmp_path / "other", systemd=False))
    assert not (tmp_path / "etc").exists()


def test_somebody_elses_unit_is_left_alone(tmp_path: Path) -> None:
    there = host(tmp_path)
    there.units.mkdir(parents=True)
    path = there.units / "edgekit.service"
    path.write_text("[Service]\nExecStart=/bin/true\n")
    for change in (lambda: install(unit(), host=there), lambda: uninstall(host=there)):
        with pytest.raises(DeviceError, match="not written by edgekit"):
            change()
    assert path.read_text().startswith("[Service]") and commands(there) == []


def test_a_failing_systemctl_is_an_error_with_its_words(tmp_path: Path) -> None:
    there = host(tmp_path, restart=(1, "Job for edgekit.service failed\nmore"))
    with pytest.raises(
        DeviceError, match=r"systemctl restart edgekit.service failed: Job for edgekit.service failed"
    ) as e:
        install(unit(), host=there)
    assert e.value.hint == "journalctl -u edgekit.service -n 50" and e.value.exit_code == 3


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    there = host(tmp_path)
    (tmp_path / "etc").write_text("a file in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        install(unit(), host=there)


def test_uninstall(tmp_path: Path) -> None:
    there = host(tmp_path, reset_failed=(1, "not loaded"))
    path = install(unit(name="front-door"), host=there)
    commands(there).clear()
    assert uninstall("front-door", host=there) == path and not path.exists()
    assert commands(there) == [
        "systemctl disable --now front-door.service",
        "systemctl daemon-reload",
        "systemctl reset-failed front-door.service",
    ]
    with pytest.raises(DeviceError, match="no service 'front-door' is installed"):
        uninstall("front-door", host=there)


RUNNING = """LoadState=loaded
UnitFileState=enabled
ActiveState=active
SubState=running
StatusText=812 frames, 14.9 fps, stop, age 41 ms
MainPID=4321
NRestarts=2
Result=success
ExecMainStatus=0
ActiveEnterTimestamp=Fri 2031-05-09 10:00:00 UTC
MemoryCurrent=94371840
"""


def test_status_of_a_running_service(tmp_path: Path) -> None:
    got = status(host=host(tmp_path, is_root=False, show=(0, RUNNING)))
    assert (got.installed, got.enabled, got.state, got.main_pid, got.restarts) == (
        True,
        True,
        "active (running)",
        4321,
        2,
    )
    assert got.summary().splitlines() == [
        "edgekit: active (running)",
        "  812 frames, 14.9 fps, stop, age 41 ms",
        "  process 4321, 90 MB, since Fri 2031-05-09 10:00:00 UTC",
        "  restarted 2 times; journalctl -u edgekit says why",
    ]
    assert got.to_dict()["memory_bytes"] == 94371840


def test_status_of_one_that_failed_and_of_none(tmp_path: Path) -> None:
    failed = RUNNING.replace("active\n", "failed\n", 1).replace("Result=success", "Result=watchdog")
    failed = failed.replace("MainPID=4321", "MainPID=0").replace("94371840", "[not set]")
    got = status("edgekit.service", host=host(tmp_path, show=(0, failed)))
    assert got.state == "failed (watchdog)" and got.main_pid == 0 and got.memory_bytes is None
    none = status(host=host(tmp_path, show=(0, "LoadState=not-found\nActiveState=inactive\nSubState=dead\n")))
    assert not none.installed and none.summary().startswith("edgekit: not installed")
    with pytest.raises(DeviceError, match="not run by systemd"):
        status(host=host(tmp_path / "x", systemd=False))
