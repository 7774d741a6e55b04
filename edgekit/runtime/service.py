"""``edgekit service install|status|uninstall``: the camera loop as a systemd service."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgekit.errors import DeviceError, StorageError
from edgekit.runtime.unit import MARK, Unit
from edgekit.runtime.unit_plan import plan

__all__ = ["Host", "Status", "Unit", "install", "plan", "status", "uninstall", "verify"]

_SHOWN = (
    "LoadState", "UnitFileState", "ActiveState", "SubState", "StatusText", "MainPID", "NRestarts", "Result",
    "ExecMainStatus", "ActiveEnterTimestamp", "MemoryCurrent",
)  # fmt: skip


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(command), capture_output=True, text=True, check=False, timeout=120)  # noqa: S603


@dataclass(frozen=True)
class Host:
    """The machine that gets the service; tests pass another ``root``, a recorder for ``run`` and a user."""

    root: Path = Path("/")
    run: Callable[[Sequence[str]], subprocess.CompletedProcess[str]] = _run
    is_root: bool = field(default_factory=lambda: os.geteuid() == 0)

    @property
    def units(self) -> Path:
        return self.root / "etc" / "systemd" / "system"

    @property
    def has_systemd(self) -> bool:
        """Whether systemd runs this machine, as sd_booted(3) finds out."""
        return (self.root / "run" / "systemd" / "system").is_dir()


@dataclass(frozen=True, slots=True)
class Status:
    """How a service is doing. ``text`` is its own last word, ``main_pid`` 0 where it does not run."""

    name: str
    installed: bool
    enabled: bool
    state: str  # active (running), activating (start), failed (watchdog), inactive (dead), …
    text: str = ""
    main_pid: int = 0
    restarts: int = 0
    exit_status: int = 0
    since: str = ""
    memory_bytes: int | None = None

    @property
    def running(self) -> bool:
        return self.state.startswith("active")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def summary(self) -> str:
        """A few lines for a terminal."""
        if not self.installed:
            return f"{self.name}: not installed\n  try: edgekit service install"
        lines = [f"{self.name}: {self.state}" + ("" if self.enabled else ", not started at boot")]
        if self.text:
            lines.append(f"  {self.text}")
        if self.main_pid:
            memory = f", {self.memory_bytes / 1024**2:.0f} MB" if self.memory_bytes else ""
            lines.append(f"  process {self.main_pid}{memory}, since {self.since}")
        if self.restarts:
            lines.append(f"  restarted {self.restarts} times; journalctl -u {self.name} says why")
        return "\n".join(lines)


def install(unit: Unit, *, host: Host | None = None, start: bool = True) -> Path:
    """Writes the unit, has systemd read it, and starts it now and at every boot; an older one is replaced.

    Returns:
        The unit file.

    Raises:
        DeviceError: not root, no systemd, a unit of that name which is not ours, or systemctl fails.
        StorageError: the file cannot be written.
    """
    host = host or Host()
    path = host.units / unit.file_name
    _may_change(host, path)
    # 0640: the command line may hold a camera's password. (Whoever may look at processes sees it all the same.)
    _write(path, unit.text(), 0o640)
    _systemctl(host, "daemon-reload")
    if start:
        _systemctl(host, "enable", unit.file_name)
        _systemctl(host, "restart", unit.file_name)
    return path


def uninstall(name: str = "edgekit", *, host: Host | None = None) -> Path:
    """Stops the service and removes its unit; its state folder stays.

    Raises:
        DeviceError: not root, no such service, one that is not ours, or systemctl fails.
    """
    host = host or Host()
    path = host.units / f"{name.removesuffix('.service')}.service"
    if not path.exists():
        raise DeviceError(f"no service {path.stem!r} is installed", hint="edgekit service status")
    _may_change(host, path)
    _systemctl(host, "disable", "--now", path.name)
    try:
        path.unlink()
    except OSError as error:
        raise StorageError(f"{path}: cannot be removed: {error.strerror}") from error
    _systemctl(host, "daemon-reload")
    host.run(["systemctl", "reset-failed", path.name])  # fails where it had not failed: nothing to mend
    return path


def status(name: str = "edgekit", *, host: Host | None = None) -> Status:
    """How the service is doing; needs no rights.

    Raises:
        DeviceError: no systemd here.
    """
    host = host or Host()
    _need_systemd(host)
    unit = f"{name.removesuffix('.service')}.service"
    done = host.run(["systemctl", "show", unit, f"--property={','.join(_SHOWN)}"])
    if done.returncode:
        raise DeviceError(f"systemctl show {unit} failed: {done.stderr.strip()}")
    values = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    state, sub = values.get("ActiveState", "unknown"), values.get("SubState", "")
    detail = values.get("Result", "") if state == "failed" else sub
    return Status(
        name=unit.removesuffix(".service"),
        installed=values.get("LoadState") == "loaded",
        enabled=values.get("UnitFileState") == "enabled",
        state=f"{state} ({detail})" if detail else state,
        text=values.get("StatusText", ""),
        main_pid=_number(values.get("MainPID")) or 0,
        restarts=_number(values.get("NRestarts")) or 0,
        exit_status=_number(values.get("ExecMainStatus")) or 0,
        since=values.get("ActiveEnterTimestamp", ""),
        memory_bytes=_number(values.get("MemoryCurrent")),
    )


def verify(unit: Unit) -> list[str] | None:
    """What ``systemd-analyze verify`` says about the unit, nothing if all is well; None where it is not installed."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / unit.file_name
        path.write_text(unit.text(), "utf-8")
        done = _run([program, "verify", "--recursive-errors=no", "--man=no", str(path)])
    lines = [line.replace(f"{folder}/", "") for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode and not lines:
        lines = [f"systemd-analyze verify failed with exit code {done.returncode}"]
    return lines


def _need_systemd(host: Host) -> None:
    if not host.has_systemd:
        raise DeviceError(
            "this machine is not run by systemd", hint="run `edgekit run` under the supervisor that you use"
        )


def _may_change(host: Host, path: Path) -> None:
    _need_systemd(host)
    if not host.is_root:
        command = re.sub(r"^.*/", "", sys.argv[0]) or "edgekit"
        raise DeviceError(f"{path}: only root may change services", hint=f"sudo {command} service …, or --dry-run")
    if path.exists():
        try:
            ours = path.read_text("utf-8", "replace").startswith(MARK)
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
        if not ours:
            raise DeviceError(f"{path}: not written by edgekit, so it is left alone", hint="--name ANOTHER")


def _write(path: Path, text: str, mode: int) -> None:
    """Beside, flushed to the disk, then moved into place: after a power cut there is the old unit or the new one."""
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def _systemctl(host: Host, *arguments: str) -> None:
    done = host.run(["systemctl", *arguments])
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        what = said[0] if said else f"exit code {done.returncode}"
        unit = arguments[-1] if len(arguments) > 1 else ""
        raise DeviceError(
            f"systemctl {' '.join(arguments)} failed: {what}", hint=f"journalctl -u {unit} -n 50" if unit else None
        )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and int(text) < 2**63 else None
