"""Debian packages of another architecture: the machine's own apt sources, its state untouched."""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import DeviceError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deb:
    """One package file, as recorded in a root: ``python3.11_3.11.2-6_arm64.deb`` and its sha256."""

    file: str
    sha256: str


def unpack(packages: tuple[str, ...], architecture: str, into: Path) -> tuple[Deb, ...]:
    """Downloads packages with everything they depend on and unpacks them; no package's scripts run.

    apt works in a directory of its own (lists, cache, an empty status file), so that it needs no root rights and the
    machine's packages stay as they are. Where packages come from is what the machine's sources say.

    Raises:
        DeviceError: apt is not here, cannot reach its sources, or they lack a package for that architecture.
    """
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise DeviceError(
                f"emulation: {tool} is not on this machine, and the emulated root is made of Debian packages",
                hint="run this on Debian, Ubuntu or Raspberry Pi OS, or in a container of one",
            )
    with tempfile.TemporaryDirectory(prefix="edgekit-apt-") as scratch:
        work = Path(scratch)
        for folder in ("state/lists/partial", "cache/archives/partial", "log"):
            (work / folder).mkdir(parents=True)
        (work / "status").touch()
        try:
            _apt(work, architecture, "update")
        except DeviceError as error:
            # One list of several may be broken for a while (a mirror in the middle of its sync): whether the others
            # have the packages is for the next step to find out.
            log.warning("%s", error.message)
        _apt(work, architecture, "install", "-y", "--download-only", *packages)
        debs = []
        for file in sorted((work / "cache" / "archives").glob("*.deb")):
            debs.append(Deb(file.name, hashlib.sha256(file.read_bytes()).hexdigest()))
            _run(["dpkg", "-x", str(file), str(into)], f"unpacking {file.name}")
    return tuple(debs)


def _apt(work: Path, architecture: str, *command: str) -> None:
    options = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "0",
        "APT::Sandbox::User": "",  # as a normal user there is nobody to change to
        "APT::Update::Error-Mode": "any",  # a list that cannot be fetched is an error, not a warning
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Debug::NoLocking": "1",
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Dir::Log": work / "log",
    }
    flags = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    _run(["apt-get", "-qq", *flags, *command], f"fetching Debian packages for {architecture}")


def _run(command: list[str], doing: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    if done.returncode != 0:
        said = [
            line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg"))
        ] or done.stderr.splitlines()
        raise DeviceError(
            f"emulation: {doing} failed: {said[0] if said else f'exit code {done.returncode}'}",
            hint="the first preparation needs a network, and apt sources with Debian's ARM packages",
        )
