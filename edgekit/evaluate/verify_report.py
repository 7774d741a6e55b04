"""What ``edgekit verify`` found, as frozen values; ``text()`` for people, ``to_dict()`` for ``--json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import VerifyFailed


@dataclass(frozen=True, slots=True)
class Check:
    """One thing about the bundle itself: "manifest", "files" or "labels"."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A short measurement of one engine; ``judged`` tells whether the machine is the kind that the budget is for."""

    p50_ms: float
    p95_ms: float
    peak_mb: float
    threads: int
    judged: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {
            "latency_ms": {"p50": round(self.p50_ms, 3), "p95": round(self.p95_ms, 3)},
            "peak_mb": round(self.peak_mb, 1),
            "threads": self.threads,
            "judged": self.judged,
        }


@dataclass(frozen=True, slots=True)
class EngineCheck:
    """One engine on the goldens. Differences are in steps (``edgekit.bundle.tolerance``).

    ``clear`` goldens have a recorded lead of more than ``tolerance``; on ``clear_held`` of them the best class is the
    recorded one.
    """

    engine: str
    version: str
    family: str
    compared_with: str = ""
    goldens: int = 0
    tolerance: float = 0.0
    worst: float = 0.0
    mean: float = 0.0
    same_top1: int = 0
    clear: int = 0
    clear_held: int = 0
    sample: Sample | None = None
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "version": self.version,
            "family": self.family,
            "compared_with": self.compared_with,
            "passed": self.passed,
            "goldens": self.goldens,
            "tolerance_steps": self.tolerance,
            "worst_steps": round(self.worst, 3),
            "mean_steps": round(self.mean, 4),
            "same_top1": self.same_top1,
            "clear_margin": self.clear,
            "clear_margin_same_top1": self.clear_held,
            "sample": None if self.sample is None else self.sample.to_dict(),
            "problems": list(self.problems),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EngineCheck:
        """Reads back :meth:`to_dict`, as it comes from an emulated machine; a sample is never taken there."""
        return cls(
            engine=data["engine"],
            version=data["version"],
            family=data["family"],
            compared_with=data["compared_with"],
            goldens=data["goldens"],
            tolerance=data["tolerance_steps"],
            worst=data["worst_steps"],
            mean=data["mean_steps"],
            same_top1=data["same_top1"],
            clear=data["clear_margin"],
            clear_held=data["clear_margin_same_top1"],
            problems=tuple(data["problems"]),
        )

    def text(self) -> str:
        if not self.goldens:
            return f"{self.engine} {self.version} on {self.family}: not compared"
        said = (
            f"{self.engine} {self.version} on {self.family}: {self.goldens} goldens, top-1 equal on {self.same_top1} "
            f"(on {self.clear_held} of the {self.clear} with a clear lead), worst difference {self.worst:g} of "
            f"{self.tolerance:g} steps (from {self.compared_with})"
        )
        if self.sample is not None:
            said += (
                f"; {self.sample.p50_ms:.2f} ms (p95 {self.sample.p95_ms:.2f}) with {self.sample.threads} threads, "
                f"{self.sample.peak_mb:.0f} MB"
            )
        return said


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The verdict: passed only if every check and every engine did, and at least one engine ran."""

    bundle: Path
    sha256: str | None
    checks: tuple[Check, ...]
    engines: tuple[EngineCheck, ...]
    emulated: str | None = None  # the CPU model, where this was not the machine at hand
    warnings: tuple[str, ...] = ()  # what is worth knowing and no reason for a no

    @property
    def passed(self) -> bool:
        return bool(self.engines) and not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """Every reason for a no."""
        of_bundle = (check.said for check in self.checks if not check.passed)
        of_engines = (problem for engine in self.engines for problem in engine.problems)
        return (*of_bundle, *of_engines)

    def to_dict(self) -> dict[str, Any]:
        return {
            "bundle": str(self.bundle),
            "sha256": self.sha256,
            "passed": self.passed,
            "emulated": self.emulated,
            "checks": [{"name": check.name, "passed": check.passed, "said": check.said} for check in self.checks],
            "engines": [engine.to_dict() for engine in self.engines],
            "problems": list(self.problems),
            "warnings": list(self.warnings),
        }

    def text(self) -> str:
        """A line per check and engine, the warnings, the problems, and the verdict last."""
        where = f" on an emulated {self.emulated}" if self.emulated else ""
        lines = [check.said for check in self.checks if check.passed]
        lines += [engine.text() for engine in self.engines]
        lines += [f"! {warning}" for warning in self.warnings]
        lines += [f"✗ {problem}" for problem in self.problems]
        lines.append(f"{self.bundle}: {'proven' if self.passed else 'REFUSED'}{where}")
        return "\n".join(lines)

    def require(self) -> None:
        """Raises:
        VerifyFailed: the verdict is no; the message holds every reason.
        """
        if not self.passed:
            raise VerifyFailed(
                "\n".join(self.problems) or f"{self.bundle}: no engine ran",
                hint="copy the bundle again, install the engine versions that it names, or build it again",
            )
