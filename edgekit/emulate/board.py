"""A board on the desk: machine, root and edgekit put together, and programs to run on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit import bundle as bundles
from edgekit.config import Target
from edgekit.emulate import root as roots
from edgekit.emulate.machine import Machine, machine_of
from edgekit.emulate.root import Root, Say
from edgekit.emulate.run import Finished, check, run
from edgekit.errors import DeviceError
from edgekit.lock import WHEELS, locked_wheel, pins_of

# Where things appear on the emulated board.
BUNDLE, OUT, EDGEKIT = "/work", "/tmp", "/edgekit"  # noqa: S108 (a mount point inside the emulated root)


@dataclass(frozen=True, slots=True)
class Board:
    """An emulated board, ready to run Python with edgekit's base install."""

    target: Target
    machine: Machine
    root: Root
    edgekit: Path

    def python(
        self,
        arguments: Sequence[str],
        *,
        mounts: Mapping[Path, str],
        plugin: str | None = None,
        timeout_s: float = 1800,
    ) -> Finished:
        """Runs the board's Python; see ``edgekit.emulate.run.run``."""
        return run(
            self.machine,
            self.root,
            ["/usr/bin/python3", *arguments],
            mounts={self.edgekit: EDGEKIT, **mounts},
            environment={"PYTHONPATH": EDGEKIT, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            plugin=plugin,
            timeout_s=timeout_s,
        )


def board_of(
    bundle: bundles.Bundle, *, target: Target | None = None, cpu: str | None = None, say: Say | None = None
) -> Board:
    """The board that a bundle was built for, with the packages of its lock, else those that its profile pins.

    Args:
        target: another board than the bundle's own; the lock is then not for it.
        cpu: another qemu CPU model than the profile's.

    Raises:
        UsageError: the target cannot be emulated.
        DeviceError: qemu, apt, pip or the network is missing.
    """
    pins = None if target else pins_of(bundle)
    target = target or target_of(bundle)
    machine = machine_of(target, cpu)
    check(machine)  # before hundreds of megabytes are fetched
    root = roots.prepare(target, machine, pins=pins, local=bundle.path / WHEELS, say=say)
    return Board(target, machine, root, roots.application(locked_wheel(bundle)))


def target_of(bundle: bundles.Bundle) -> Target:
    """The profile that a bundle was built for."""
    return Target.from_dict(bundle.manifest.target, str(bundle.path / "manifest.json"))


def run_command(
    bundle_path: Path,
    arguments: Sequence[str],
    *,
    mounts: Mapping[Path, str] | None = None,
    cpu: str | None = None,
    say: Say | None = None,
    timeout_s: float = 1800,
) -> Finished:
    """Runs an ``edgekit`` command line on the emulated board; the bundle is at ``/work`` there.

    Raises:
        DeviceError: as for :func:`board_of`; the command's own failure is in the result's exit code.
    """
    opened = bundles.read(bundle_path)
    board = board_of(opened, cpu=cpu, say=say)
    start = "import sys; from edgekit.cli import main; sys.exit(main())"
    places = {opened.path.resolve(): BUNDLE, **{host.resolve(): there for host, there in (mounts or {}).items()}}
    return board.python(["-c", start, *arguments], mounts=places, timeout_s=timeout_s)


def explain(done: Finished, what: str, board: Board) -> str:
    """One sentence on why an emulated program ended badly, with its last words."""
    said = [line for line in done.errors.splitlines() if line.strip()]
    code = done.code if done.code >= 0 else 128 - done.code
    how = {132: "an instruction that the core lacks (SIGILL)", 139: "a memory fault (SIGSEGV)", 137: "a kill (SIGKILL)"}
    ended = how.get(code, f"exit code {code}")
    return f"{what} on an emulated {board.machine.cpu} ended by {ended}: {said[-1] if said else 'it said nothing'}"


def require(done: Finished, what: str, board: Board) -> None:
    """Raises:
    DeviceError: the program did not end well.
    """
    if done.code != 0:
        raise DeviceError(f"emulation: {explain(done, what, board)}", hint="run with --debug to see all that it said")
