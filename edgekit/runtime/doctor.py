"""``edgekit doctor``: what this machine can run, why not, and what to type about it.

Nothing that could crash is imported here: each engine, NumPy and OpenCV are tried in child processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.config.machine import Machine
from edgekit.runtime.checkup import cameras, fit, software, system
from edgekit.runtime.checkup.finding import Finding, Level
from edgekit.runtime.checkup.runtimes import RUNTIMES
from edgekit.runtime.checkup.world import World

__all__ = ["Finding", "Findings", "World", "examine"]

_SIGNS: dict[Level, str] = {"ok": "ok", "note": "note", "warning": "warn", "problem": "FAIL"}
_VITAL = ("architecture", "libc", "python", "numpy", "opencv")  # without one of these nothing runs


@dataclass(frozen=True, slots=True)
class Findings:
    """All findings of one examination, in the order in which they were made."""

    findings: tuple[Finding, ...]

    @property
    def engines(self) -> tuple[str, ...]:
        """Engines that work here."""
        return tuple(f.check for f in self.findings if f.check in RUNTIMES and f.level == "ok")

    @property
    def can_run(self) -> bool:
        """Whether `edgekit run` can work at all: an engine, and everything that every engine needs.

        An unlisted Python or C library is no proof that nothing runs: if an engine and OpenCV work, they do.
        """
        broken = {finding.check for finding in self.findings if finding.level == "problem"}
        return bool(self.engines) and not broken & {"numpy", "opencv"}

    @property
    def exit_code(self) -> int:
        """0 if something can run, 3 (a device problem) if nothing can."""
        return 0 if self.can_run else 3

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.can_run:
            worst = [f for f in self.findings if f.level in ("problem", "warning")]
            rest = f"; {len(worst)} thing{'s' if len(worst) > 1 else ''} to mend" if worst else ""
            return f"this machine can run edgekit with {' and '.join(self.engines)}{rest}"
        causes = [f.check for f in self.findings if f.level == "problem" and f.check in _VITAL]
        reasons = [] if self.engines else ["no engine works"]
        reasons += [f"see {' and '.join(causes)}"] if causes else []
        return f"this machine cannot run edgekit: {', '.join(reasons)}"

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "can_run": self.can_run,
            "verdict": self.verdict,
            "engines": list(self.engines),
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def text(self) -> str:
        """For a terminal: a line each, what to do below it, the verdict last."""
        width = max((len(finding.check) for finding in self.findings), default=0)
        lines = []
        for finding in self.findings:
            lines.append(f"{_SIGNS[finding.level]:<5}{finding.check:<{width}}  {finding.says}")
            if finding.mend:
                lines.append(f"{'':<{width + 7}}try: {finding.mend}")
        return "\n".join([*lines, "", self.verdict])


def examine(*, root: str | Path = "/", bundle: str | Path | None = None, world: World | None = None) -> Findings:
    """Looks at the machine.

    Args:
        root: where ``/proc``, ``/sys``, ``/dev`` and ``/etc`` are.
        bundle: also say whether this bundle fits the machine, and run its model once in each engine.
        world: everything else that is looked at, for tests; ``root`` is then not used.
    """
    if world is None:
        world = World(root=Path(root), machine=Machine(Path(root)))
    found = [*system.check(world), *software.check(world, Path(bundle) if bundle else None)]
    if bundle:
        found += fit.check(world, Path(bundle))
    return Findings((*found, *cameras.check(world)))
