"""The instruction counter: a plugin of a few dozen lines, compiled on demand for the qemu that is here."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgekit.emulate.board import OUT, Board
from edgekit.emulate.machine import Machine
from edgekit.emulate.run import emulator
from edgekit.errors import DeviceError

_SOURCE = Path(__file__).with_name("insn.c")
_SHARED_COUNTERS, _OWN_COUNTERS = 1, 2  # plugin interface versions of qemu 6 to 8, and of 9 and later
_OWN_COUNTERS_SINCE = 9
# What qemu answers to a plugin of another version (plugins/loader.c), older and newer wording alike.
_WANTS = re.compile(r"supports only (?:a minimum version of|up to version) (\d+)")
_INSTALL = "apt install qemu-user on Debian 12 or Ubuntu 24.04, or build qemu with --enable-plugins"


def prepare(board: Board) -> str:
    """Compiles the counter once per qemu, tries it, and returns its path on the emulated board.

    Raises:
        DeviceError: no C compiler, this qemu takes no plugins, or not this one; the message has qemu's own words.
    """
    check(board.machine)
    qemu, name = emulator(board.machine), _name()
    if (qemu.path / name).exists():
        return qemu.plugin(name)
    interface, tried = interface_of(qemu.version), set()
    fresh = qemu.path / f".{name}.{os.getpid()}"
    try:
        while True:
            tried.add(interface)
            compile_to(fresh, interface)
            problem = _try(board, qemu.plugin(fresh.name))
            if problem is None:
                fresh.replace(qemu.path / name)
                return qemu.plugin(name)
            other = _other(interface, problem)
            if other is None or other in tried:
                raise DeviceError(f"emulation: {qemu.version} did not take the counter: {problem}", hint=_INSTALL)
            interface = other
    finally:
        fresh.unlink(missing_ok=True)


def check(machine: Machine) -> None:
    """Whether anything can be counted here.

    Raises:
        DeviceError: qemu or its plugins, or a C compiler, are missing.
    """
    qemu = emulator(machine)
    if not qemu.plugins:
        raise DeviceError(
            f"emulation: {qemu.version} is built without plugins, so that it cannot count; "
            "verify --emulate works with it",
            hint=f"static builds take none (Debian 13's is one): {_INSTALL}",
        )
    if not (qemu.path / _name()).exists():
        _compiler()


def interface_of(version: str) -> int:
    """The plugin interface to ask for first, from what ``qemu-aarch64 --version`` says."""
    found = re.search(r"version (\d+)\.", version)
    return _OWN_COUNTERS if found and int(found[1]) >= _OWN_COUNTERS_SINCE else _SHARED_COUNTERS


def _other(interface: int, problem: str) -> int | None:
    """The interface to try after a refusal: the one that qemu names, or the other kind where it lacks a function."""
    if wanted := _WANTS.search(problem):
        return int(wanted[1])
    if "undefined symbol" in problem:
        return _OWN_COUNTERS if interface < _OWN_COUNTERS else _SHARED_COUNTERS
    return None


def compile_to(output: Path, interface: int) -> None:
    """Raises:
    DeviceError: there is no C compiler, or it failed.
    """
    flags = ["-shared", "-fPIC", "-O2", "-Wall", f"-DPLUGIN_API={interface}"]
    line = [_compiler(), *flags, "-o", str(output), str(_SOURCE)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        said = [text for text in done.stderr.splitlines() if text.strip()] or [f"exit code {done.returncode}"]
        raise DeviceError(f"emulation: the counter does not compile: {said[-1]}", hint="apt install gcc libc6-dev")


def _name() -> str:
    return f"insn-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}.so"


def _compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        raise DeviceError("emulation: counting needs a C compiler", hint="apt install gcc libc6-dev")
    return found


def _try(board: Board, plugin: str) -> str | None:
    """Counts a program of no length; None if that worked, else what was said."""
    with tempfile.TemporaryDirectory(prefix="edgekit-count-") as scratch:
        done = board.python(["--version"], mounts={Path(scratch): OUT}, plugin=f"{plugin},out={OUT}/counts")
        if done.code == 0 and (Path(scratch) / "counts").is_file():
            return None
    said = [line for line in done.errors.splitlines() if line.strip()]
    told = next((line for line in said if "plugin" in line.lower()), said[-1] if said else None)
    return told or f"no counts were written, exit code {done.code}"
