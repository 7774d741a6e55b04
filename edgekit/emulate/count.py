"""``edgekit bench --emulate``: instructions and memory accesses of one inference on the target's core.

No time: caches, pipelines and threads are left out. It is a fair ratio between two graphs or two engines on one core,
and repeats to a fraction of a percent on any machine, so that a regression on ARM shows without a board.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit import bundle as bundles
from edgekit.emulate.board import BUNDLE, OUT, Board, board_of, require
from edgekit.emulate.root import Say
from edgekit.emulate.run import emulator
from edgekit.engines import ENGINES
from edgekit.errors import DeviceError

_SOURCE = Path(__file__).with_name("insn.c")
# The cost of one inference is the difference between so many and one, so that loading and the first run cancel out.
_FEW, _MANY = 1, 6


@dataclass(frozen=True, slots=True)
class Count:
    """One inference of one engine on one core, in millions; batch 1, one thread."""

    engine: str
    version: str
    model: str
    cpu: str
    instructions: float
    memory: float  # loads and stores

    def to_dict(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "version": self.version,
            "model": self.model,
            "cpu": self.cpu,
            "instructions_m": round(self.instructions, 2),
            "memory_m": round(self.memory, 2),
        }


@dataclass(frozen=True, slots=True)
class CountReport:
    """Every engine of a target, counted."""

    bundle: Path
    counts: tuple[Count, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"bundle": str(self.bundle), "emulated": [count.to_dict() for count in self.counts]}

    def text(self) -> str:
        lines = [f"{'engine':<16}{'model':<14}{'core':<12}{'M instructions':>15}{'M loads + stores':>18}"]
        for one in self.counts:
            lines.append(f"{one.engine:<16}{one.model:<14}{one.cpu:<12}{one.instructions:>15.1f}{one.memory:>18.1f}")
        return "\n".join(lines)


def count(
    bundle_path: Path,
    *,
    engines: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    cpu: str | None = None,
    say: Say | None = None,
) -> CountReport:
    """Counts one inference of every engine that the bundle's target names.

    Args:
        models: names of model files in the bundle; None takes each engine's own (``float.onnx`` is another choice).
        cpu: another qemu CPU model than the profile's.

    Raises:
        BundleError, VerifyFailed, UsageError: no whole bundle, or its target cannot be emulated.
        DeviceError: qemu, a C compiler, apt, pip or the network is missing, or an engine failed.
    """
    opened = bundles.read(bundle_path)
    board = board_of(opened, cpu=cpu, say=say)
    plugin = build_plugin(board)
    jobs = []
    for name in engines if engines is not None else board.target.engines():
        for model in models or [ENGINES[name].model]:
            if opened.has(model) and Path(model).suffix == ENGINES[name].suffix:
                jobs.append((name, model))
    with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        counts = pool.map(lambda job: _count_one(board, opened, job[0], job[1], plugin), jobs)
        return CountReport(opened.path, tuple(counts))


def build_plugin(board: Board) -> str:
    """Compiles the counter once per qemu, and returns its path on the emulated board.

    Raises:
        DeviceError: no C compiler, or it failed.
    """
    qemu = emulator(board.machine)
    name = f"insn-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}.so"
    built = qemu.path / name
    if not built.exists():
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise DeviceError("emulation: counting needs a C compiler", hint="apt install gcc libc6-dev")
        fresh = built.with_suffix(f".{os.getpid()}")
        line = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", str(fresh), str(_SOURCE)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise DeviceError(f"emulation: the counter does not compile: {done.stderr.strip().splitlines()[-1]}")
        fresh.replace(built)
    return qemu.plugin(name)


def _count_one(board: Board, opened: bundles.Bundle, name: str, model: str, plugin: str) -> Count:
    few = _execute(board, opened, name, model, plugin, _FEW)
    many = _execute(board, opened, name, model, plugin, _MANY)
    instructions, memory = ((b - a) / (_MANY - _FEW) / 1e6 for a, b in zip(few, many, strict=True))
    version = board.target.engine.versions.of(ENGINES[name].name) or ""  # type: ignore[arg-type]
    return Count(name, version, model, board.machine.cpu, instructions, memory)


def _execute(board: Board, opened: bundles.Bundle, name: str, model: str, plugin: str, times: int) -> list[int]:
    with tempfile.TemporaryDirectory(prefix="edgekit-count-") as scratch:
        done = board.python(
            ["-m", "edgekit.emulate.inside", "invoke", f"{BUNDLE}/{model}", name, str(times)],
            mounts={opened.path.resolve(): BUNDLE, Path(scratch): OUT},
            plugin=f"{plugin},out={OUT}/counts",
        )
        require(done, name, board)
        try:
            return [int(text) for text in (Path(scratch) / "counts").read_text().split()]
        except (OSError, ValueError):
            raise DeviceError(
                "emulation: qemu did not load the instruction counter",
                hint="it is written for the plugin interface of qemu 6 to 8",
            ) from None
