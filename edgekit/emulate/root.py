"""The root file system of an emulated board: prepared once, cached, never changed afterwards.

Debian's packages for Python and the C++ libraries, and in Python's own site directory the wheels that pip would
install on the board. What went in is recorded with hashes in ``edgekit-root.json``. Everything is unpacked, nothing is
executed, so that preparing needs no root rights. edgekit itself is not in it: it is unpacked beside, by content, and
mounted when something runs, so that one root serves every version.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.config import Target
from edgekit.emulate import debian
from edgekit.emulate.machine import Machine
from edgekit.errors import DeviceError, StorageError
from edgekit.lock import wheels
from edgekit.lock.wheels import Pin, Platform

RECORD = "edgekit-root.json"
# Raised when roots are made differently: older ones are then prepared again.
_LAYOUT = 2
_BASE_PACKAGES = ("python3", "libgomp1", "libstdc++6")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Root:
    """A prepared root: where it is and what is in it (``record``: debs and wheels with versions and sha256)."""

    path: Path
    record: dict[str, Any]


def cache_directory() -> Path:
    """Where roots are kept: ``$EDGEKIT_CACHE``, else ``edgekit`` in the user's cache directory."""
    if own := os.environ.get("EDGEKIT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit"


def prepare(
    target: Target,
    machine: Machine,
    *,
    pins: tuple[Pin, ...] | None = None,
    local: Path | None = None,
    say: Say | None = None,
) -> Root:
    """The root for a target: from the cache, or made now (needs a network; about a minute and 700 MB).

    Args:
        pins: exactly these wheels (a bundle's lock); None takes the newest that the profile's pins allow, once.
        local: a directory of wheels to take before asking pip's index.
        say: told each step.

    Raises:
        DeviceError: apt, pip or the network is missing.
        StorageError: the disk is full.
    """
    wanted = wheels.requirements(target)
    path = cache_directory() / "roots" / _name(machine, wheels.platform_of(target), pins or wanted)
    with _locked(path):
        record = _read_record(path)
        if record is None:
            record = _make(path, target, machine, pins, local, say or (lambda text: None))
    return Root(path, record)


def application(content: bytes | None = None) -> Path:
    """A directory with an edgekit wheel unpacked, from the cache or made now; named by its content.

    Args:
        content: the wheel; None takes this very edgekit.
    """
    content = content or wheels.edgekit_wheel()[1]
    path = cache_directory() / "applications" / hashlib.sha256(content).hexdigest()[:16]
    with _locked(path):
        if not path.is_dir():
            with _fresh(path) as fresh:
                wheel = fresh / "edgekit.whl"
                wheel.write_bytes(content)
                wheels.install(fresh, fresh)
                wheel.unlink()
    return path


def _name(machine: Machine, platform: Platform, chosen: tuple[Pin, ...] | tuple[str, ...]) -> str:
    content = [_LAYOUT, _BASE_PACKAGES, platform.tags, [str(item) for item in chosen]]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return f"{machine.debian}-python{machine.python}-{digest[:12]}"


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((path / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record


def _make(
    path: Path, target: Target, machine: Machine, pins: tuple[Pin, ...] | None, local: Path | None, say: Say
) -> dict[str, Any]:
    # OpenCV comes with some 150 packages on 32-bit ARM; the engines and goldens do without it, `run` needs it.
    packages = (*_BASE_PACKAGES, *wheels.debian_packages(target))
    try:
        with _fresh(path) as fresh:
            say(f"fetching Debian packages for {machine.debian}")
            debs = debian.unpack(packages, machine.debian, fresh)
            python = fresh / "usr" / "bin" / f"python{machine.python}"
            if not python.exists():
                raise DeviceError(
                    f"emulation: this machine's Debian sources bring no Python {machine.python} for {machine.debian}",
                    hint="run this on the Debian release that the target profile names",
                )
            if pins is None:
                say("asking pip which wheels the target takes")
                pins = wheels.resolve(target)
            with tempfile.TemporaryDirectory(prefix="edgekit-wheels-") as scratch:
                say(f"fetching {len(pins)} wheels")
                wheels.download(pins, wheels.platform_of(target), Path(scratch), local)
                site = fresh / "usr" / "local" / "lib" / f"python{machine.python}" / "dist-packages"
                site.mkdir(parents=True, exist_ok=True)
                wheels.install(Path(scratch), site)
            _furnish(fresh, machine)
            record = {
                "machine": {"isa": machine.isa, "debian": machine.debian, "python": machine.python},
                "debs": [asdict(deb) for deb in debs],
                "wheels": [asdict(pin) for pin in pins],
            }
            (fresh / RECORD).write_text(json.dumps(record, indent=1), "utf-8")
    except OSError as error:
        raise StorageError(
            f"{path}: the emulated root cannot be written: {error.strerror or error}",
            hint="free about 1 GB, or point EDGEKIT_CACHE at another disk",
        ) from error
    say(f"prepared {path}")
    return record


def _furnish(root: Path, machine: Machine) -> None:
    """What a running system has and no package brings. The engines' CPU detection reads the two files under /sys."""
    cpus = root / "sys" / "devices" / "system" / "cpu"
    for folder in (cpus, *(root / name for name in ("proc", "dev", "tmp", "work", "qemu", "edgekit", "root", "mnt"))):
        folder.mkdir(parents=True, exist_ok=True)
    for name in ("present", "possible", "online"):
        (cpus / name).write_text(f"0-{machine.cores - 1}\n")
    for name in ("null", "zero", "urandom", "random"):
        (root / "dev" / name).touch()
    # What Debian's alternatives system would link, had the packages' scripts run.
    for library in (*root.glob("usr/lib/*/blas/libblas.so.3"), *root.glob("usr/lib/*/lapack/liblapack.so.3")):
        link = library.parent.parent / library.name
        if not link.exists():
            link.symlink_to(Path(library.parent.name) / library.name)


@contextlib.contextmanager
def _fresh(path: Path) -> Iterator[Path]:
    """A directory that becomes ``path`` at the end, or goes away if that is not reached."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield fresh
        fresh.chmod(0o755)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        fresh.rename(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time prepares one thing; the others wait for it and then find it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path.parent / f".{path.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(
            f"{path.parent}: cannot be written: {error.strerror}", hint="point EDGEKIT_CACHE at a directory of yours"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
