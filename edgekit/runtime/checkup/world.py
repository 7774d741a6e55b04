"""Everything the doctor looks at, so that a test can show it another machine."""

from __future__ import annotations

import getpass
import grp
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from edgekit.config.machine import Machine
from edgekit.runtime.checkup import probe


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _free_bytes(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _groups() -> frozenset[str]:
    names = set()
    for number in {*os.getgroups(), os.getegid()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            names.add(str(number))
    return frozenset(names)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())


def _may_use(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


@dataclass(frozen=True)
class World:
    """A machine and the Python environment on it.

    ``root`` holds ``/proc``, ``/sys``, ``/dev`` and ``/etc``; ``installed`` gives a distribution's version or None;
    ``try_code`` runs Python code in a child; ``free_bytes`` is of the file system that holds a path; ``folder`` is
    where bundles and telemetry would go.
    """

    root: Path = Path("/")
    machine: Machine = field(default_factory=Machine)
    python: tuple[int, int] = sys.version_info[:2]
    libc: tuple[str, str] = field(default_factory=platform.libc_ver)
    installed: Callable[[str], str | None] = _installed
    try_code: probe.Probe = probe.run
    groups: frozenset[str] = field(default_factory=_groups)
    user: str = field(default_factory=_user)
    may_use: Callable[[Path], bool] = _may_use
    free_bytes: Callable[[Path], int | None] = _free_bytes
    folder: Path = field(default_factory=Path.cwd)
    in_virtualenv: bool = sys.prefix != sys.base_prefix


def version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``2.0.0rc1`` is (2, 0, 0)."""
    parts: list[int] = []
    for part in text.split("."):
        digits = ""
        for character in part:
            if not character.isdigit():
                break
            digits += character
        if not digits:
            break
        parts.append(int(digits))
        if digits != part:
            break
    return tuple(parts)
