"""Runs a program of an emulated board: qemu-user in a root of its own, in user and mount namespaces.

Learned by trying: qemu-user's ``-L`` prefix crashes with these wheels and a change of root does not; one process needs
no binfmt registration, but then it cannot start others; only the dynamically linked qemu takes plugins, so its host
libraries come along; without ``/proc`` the engines miss the core's features and take kernels that execute twice the
instructions.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.emulate.machine import Machine
from edgekit.emulate.root import Root, cache_directory
from edgekit.errors import DeviceError

# Inside a fresh mount namespace, as its root user: $1 is the new root, $2 the board's cpuinfo, then pairs of host path
# and path in the root up to "--", then the program. Bind mounts vanish with the namespace.
_ENTER = """
set -e
root=$1 cpuinfo=$2; shift 2
mount --rbind /proc "$root/proc"
mount --bind "$cpuinfo" "$root/proc/cpuinfo"
for device in null zero urandom random; do mount --bind "/dev/$device" "$root/dev/$device"; done
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done
shift
exec chroot "$root" "$@"
"""


@dataclass(frozen=True, slots=True)
class Emulator:
    """qemu-user with its libraries in one directory, mounted at ``/qemu`` in every root."""

    path: Path
    version: str
    command: tuple[str, ...]  # how to start it inside the root
    plugins: bool = True  # whether it takes any

    def plugin(self, name: str) -> str:
        return f"/qemu/{name}"


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended: its exit code (negative: by that signal) and what it said."""

    code: int
    output: str
    errors: str


def emulator(machine: Machine) -> Emulator:
    """The host's qemu-user for a machine.

    Raises:
        DeviceError: it is not installed, or does not know the CPU model.
    """
    found = shutil.which(machine.qemu)
    if found is None:
        raise DeviceError(f"emulation: {machine.qemu} is not installed", hint="apt install qemu-user")
    binary = Path(found).resolve()
    version = _output([found, "--version"]).partition("\n")[0]
    known = _output([found, "-cpu", "help"]).split()
    if machine.cpu not in known:
        raise DeviceError(
            f"emulation: {version} has no CPU model {machine.cpu}", hint="install a newer qemu-user, or try --cpu max"
        )
    libraries = _libraries(binary)
    digest = hashlib.sha256(repr((version, binary.stat().st_size, libraries)).encode()).hexdigest()[:12]
    path = cache_directory() / "qemu" / f"{machine.qemu}-{digest}"
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".qemu-", dir=path.parent))
        shutil.copy(binary, fresh / machine.qemu)
        for library in libraries:
            shutil.copy(library, fresh / Path(library).name)
        fresh.chmod(0o755)
        try:
            fresh.rename(path)
        except OSError:  # another process was faster
            shutil.rmtree(fresh, ignore_errors=True)
    loader = next((Path(name).name for name in libraries if "ld-linux" in name), None)
    start = (f"/qemu/{loader}", "--library-path", "/qemu") if loader else ()
    plugins = "-plugin" in _output([found, "-h"])
    return Emulator(path, version, (*start, f"/qemu/{machine.qemu}"), plugins)


def cpu_of(machine: Machine, version: str) -> str:
    """What ``-cpu`` is told. Under qemu 7.2 LiteRT's kernels for the matrix extension (SME) answer wrongly, and rightly
    under 10.0; no profile's core has it, and only ``max`` shows it."""
    found = re.search(r"version (\d+)\.(\d+)", version)
    has_it_wrong = found is not None and (7, 1) <= (int(found[1]), int(found[2])) < (10, 0)
    return "max,sme=off" if machine.isa == "aarch64" and machine.cpu == "max" and has_it_wrong else machine.cpu


def qemu_version(machine: Machine) -> str:
    """Such as ``7.2.22``; raises as :func:`emulator`."""
    found = re.search(r"version (\S+)", emulator(machine).version)
    return found[1] if found else ""


def check(machine: Machine) -> None:
    """Whether programs of a machine can run here; makes nothing that takes time.

    Raises:
        DeviceError: as for :func:`emulator`, or this system forbids namespaces.
    """
    emulator(machine)
    _namespaces()


def run(
    machine: Machine,
    root: Root,
    program: Sequence[str],
    *,
    mounts: Mapping[Path, str] | None = None,
    environment: Mapping[str, str] | None = None,
    plugin: str | None = None,
    timeout_s: float = 1800,
) -> Finished:
    """Runs one program of the root to its end.

    Args:
        program: its path in the root and arguments.
        mounts: host directory → directory in the root that it appears at; it must exist there (``/edgekit``, ``/work``,
            ``/mnt``, ``/tmp`` do).
        environment: the program's whole environment, but for PATH and HOME.
        plugin: a qemu plugin in the emulator's directory.
        timeout_s: after that many seconds it is killed.

    Raises:
        DeviceError: qemu is missing, this system forbids namespaces, or the time was up.
    """
    qemu = emulator(machine)
    variables = {
        "HOME": "/root",
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0",
        **(environment or {}),
    }
    with tempfile.NamedTemporaryFile("w", prefix="edgekit-cpuinfo-", suffix=".txt") as cpuinfo:
        cpuinfo.write(machine.cpuinfo)
        cpuinfo.flush()
        binds = [part for host, there in {qemu.path: "/qemu", **(mounts or {})}.items() for part in (str(host), there)]
        # Whoever kills this process, a closed terminal or a scheduler, ends the emulation too.
        die = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [
            *die,
            *_namespaces(),
            "sh",
            "-c",
            _ENTER,
            "sh",
            str(root.path),
            cpuinfo.name,
            *binds,
            "--",
            *qemu.command,
        ]
        command += ["-cpu", cpu_of(machine, qemu.version)]
        command += [part for name, value in variables.items() for part in ("-E", f"{name}={value}")]
        command += ["-plugin", f"file={plugin}"] if plugin else []
        try:
            done = subprocess.run(  # noqa: S603
                [*command, *program],
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DeviceError(
                f"emulation: {program[0]} on {machine.cpu} did not end within {timeout_s:.0f} s",
                hint="emulation is 50 to 100 times slower than this machine; give it a quieter one",
            ) from None
    return Finished(done.returncode, done.stdout, done.stderr)


@functools.cache
def _namespaces() -> tuple[str, ...]:
    """The command that enters a private mount namespace as its root; in a user namespace only where that is needed."""
    if shutil.which("unshare") is None:
        raise DeviceError("emulation: unshare is not on this machine", hint="apt install util-linux; Linux only")
    tried = ""
    for flags in (("--mount",), ("--map-root-user", "--mount")):
        if flags == ("--mount",) and os.geteuid() != 0:
            continue
        command = ("unshare", *flags, "--fork", "--kill-child")
        done = subprocess.run(  # noqa: S603
            [*command, "sh", "-c", "mount --rbind /proc /mnt"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return command
        tried = done.stderr.strip()
    raise DeviceError(
        f"emulation: this system lets nobody mount in a namespace of his own: {tried}",
        hint="allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or on Ubuntu "
        "kernel.apparmor_restrict_unprivileged_userns=0), or run as root",
    )


def _libraries(binary: Path) -> tuple[str, ...]:
    """Host libraries that a program needs, its loader included; none for a static one."""
    done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return tuple(sorted(set(re.findall(r"(/\S+)", done.stdout)))) if done.returncode == 0 else ()


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
