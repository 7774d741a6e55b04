"""``edgekit bench --emulate``: instructions and memory accesses of one inference on the target's core.

No time: caches, pipelines and threads are left out. It is a fair ratio between two graphs or two engines on one core,
and repeats to a fraction of a percent on any machine, so that a regression on ARM shows without a board. The floor
beside it needs no second measurement: no program does the network's multiply-accumulates in fewer instructions than
they divided by the most that one instruction of the core does.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit import bundle as bundles
from edgekit.emulate import counter
from edgekit.emulate.board import BUNDLE, OUT, Board, board_of, require, target_of
from edgekit.emulate.machine import machine_of
from edgekit.emulate.root import Say
from edgekit.emulate.run import qemu_version
from edgekit.engines import ENGINES
from edgekit.errors import DeviceError

# The cost of one inference is the difference between so many and one, so that loading and the first run cancel out.
_FEW, _MANY = 1, 6


@dataclass(frozen=True, slots=True)
class Count:
    """One inference of one engine on one core, in millions; batch 1, one thread.

    ``macs``: the network's multiply-accumulates, in millions; ``most``: of them, in one instruction of this core at
    most. None where that is not known.
    """

    engine: str
    version: str
    model: str
    cpu: str
    instructions: float
    memory: float  # loads and stores
    macs: float | None = None
    most: int | None = None
    qemu: str = ""  # version: another one may count a few per cent otherwise

    @property
    def macs_per_instruction(self) -> float | None:
        return None if self.macs is None or self.instructions <= 0 else self.macs / self.instructions

    @property
    def floor(self) -> float | None:
        """The fewest instructions, in millions, that this core can do the multiply-accumulates in."""
        return None if self.macs is None or self.most is None else self.macs / self.most

    @property
    def times_floor(self) -> float | None:
        return None if not self.floor else self.instructions / self.floor

    def to_dict(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "version": self.version,
            "model": self.model,
            "cpu": self.cpu,
            "instructions_m": self.instructions,
            "memory_m": self.memory,
            "macs_m": self.macs,
            "most_macs_per_instruction": self.most,
            "macs_per_instruction": _rounded(self.macs_per_instruction),
            "times_floor": _rounded(self.times_floor),
            "qemu": self.qemu,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Count:
        """Reads back :meth:`to_dict`; KeyError, TypeError or ValueError where it is something else."""
        macs, most = data["macs_m"], data["most_macs_per_instruction"]
        return cls(
            str(data["engine"]),
            str(data["version"]),
            str(data["model"]),
            str(data["cpu"]),
            float(data["instructions_m"]),
            float(data["memory_m"]),
            None if macs is None else float(macs),
            None if most is None else int(most),
            str(data["qemu"]),
        )


@dataclass(frozen=True, slots=True)
class CountReport:
    """Every engine of a target, counted."""

    bundle: Path
    counts: tuple[Count, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"bundle": str(self.bundle), "emulated": [count.to_dict() for count in self.counts]}

    def text(self) -> str:
        return "\n".join(lines(self.counts))


def lines(counts: Sequence[Count]) -> list[str]:
    """A table for a terminal."""
    said = [
        f"{'engine':<16}{'model':<14}{'core':<12}{'M instructions':>15}{'M loads + stores':>18}"
        f"{'MACs/instruction':>18}{'× floor':>9}"
    ]
    for one in counts:
        per, times = one.macs_per_instruction, one.times_floor
        said.append(
            f"{one.engine:<16}{one.model:<14}{one.cpu:<12}{one.instructions:>15.1f}{one.memory:>18.1f}"
            f"{'–' if per is None else f'{per:.2f}':>18}{'–' if times is None else f'{times:.2f}':>9}"
        )
    return said


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
        DeviceError: qemu, its plugins, a C compiler, apt, pip or the network is missing, or an engine failed.
    """
    opened = bundles.read(bundle_path)
    counter.check(machine_of(target_of(opened), cpu))
    board = board_of(opened, cpu=cpu, say=say)
    plugin = counter.prepare(board)
    jobs = []
    for name in engines if engines is not None else board.target.engines():
        for model in models or [ENGINES[name].model]:
            if opened.has(model) and Path(model).suffix == ENGINES[name].suffix:
                jobs.append((name, model))
    if say:
        say(f"counting on an emulated {board.machine.cpu}")
    with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        counts = pool.map(lambda job: _count_one(board, opened, job[0], job[1], plugin), jobs)
        return CountReport(opened.path, tuple(counts))


def _count_one(board: Board, opened: bundles.Bundle, name: str, model: str, plugin: str) -> Count:
    few = _execute(board, opened, name, model, plugin, _FEW)
    many = _execute(board, opened, name, model, plugin, _MANY)
    # Rounded here and not when told, so that what is read back is what was counted.
    instructions, memory = (round((b - a) / (_MANY - _FEW) / 1e6, 4) for a, b in zip(few, many, strict=True))
    version = board.target.engine.versions.of(ENGINES[name].name) or ""  # type: ignore[arg-type]
    macs = opened.manifest.checkpoint.get("macs")
    entry = next((entry for entry in opened.manifest.models if entry.file == model), None)
    most = board.machine.macs_per_instruction("fp32" if entry is None else entry.precision)
    known = round(macs / 1e6, 4) if isinstance(macs, int | float) and macs > 0 else None
    return Count(
        name, version, model, board.machine.cpu, instructions, memory, known, most, qemu_version(board.machine)
    )


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
            raise DeviceError("emulation: qemu ended without writing the instruction counts") from None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
