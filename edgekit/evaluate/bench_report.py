"""What a benchmark measured: rows, figures, a table for people, an object for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.evaluate.workers import Configuration


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """Time that one kind of operator takes in one inference, ms, over ``count`` nodes; ``share`` is its part of all."""

    operator: str
    count: int
    ms: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        return {"operator": self.operator, "count": self.count, "ms": round(self.ms, 5), "share": round(self.share, 4)}


@dataclass(frozen=True)
class Measured:
    """One configuration's figures. Times in ms, memory in MB (10^6 bytes).

    ``ms`` holds every counted inference, ``cpu_ms`` the processor time of each (all threads). ``load_ms`` includes the
    runtime's import, as a cold start does; ``first_ms`` is the first inference after loading; ``peak_mb`` the process's
    largest resident size, of which ``base_mb`` was there before the runtime was imported. With ``error`` set nothing
    else means anything.
    """

    configuration: Configuration
    version: str = ""
    ms: tuple[float, ...] = field(default=(), repr=False)
    load_ms: float = 0.0
    first_ms: float = 0.0
    base_mb: float = 0.0
    peak_mb: float = 0.0
    error: str | None = None
    cpu_ms: tuple[float, ...] = field(default=(), repr=False)

    def percentile(self, p: float) -> float:
        """The p-th percentile of the inferences, ms (linear between neighbours)."""
        return float(np.percentile(self.ms, p))

    @property
    def p50(self) -> float:
        return self.percentile(50)

    @property
    def cpu(self) -> float:
        """Median processor time of an inference, ms."""
        return float(np.median(self.cpu_ms or self.ms))

    @property
    def cost(self) -> float:
        """What ratios are made of, ms: one thread's processor time, else the median.

        On one thread, processor time is the latency on a machine that does nothing else; it holds where the median is
        mostly the time that others took.
        """
        return self.cpu if self.configuration.threads == 1 else self.p50

    @property
    def images_per_second(self) -> float:
        """Images through one engine that never waits: batch / mean time."""
        return self.configuration.batch * 1e3 / float(np.mean(self.ms))

    def to_dict(self) -> dict[str, Any]:
        c = self.configuration
        said: dict[str, Any] = {
            "model": c.name or c.model.name,
            "role": c.role,
            "format": c.model.suffix.lstrip("."),
            "precision": c.precision,
            "engine": c.engine,
            "version": self.version,
            "threads": c.threads,
            "batch": c.batch,
        }
        if self.error is not None:
            return {**said, "error": self.error}
        return {
            **said,
            "n": len(self.ms),
            "latency_ms": {f"p{p}": round(self.percentile(p), 4) for p in (50, 90, 99)},
            "cpu_ms": round(self.cpu, 4),
            "images_per_s": round(self.images_per_second, 2),
            "first_ms": round(self.first_ms, 3),
            "load_ms": round(self.load_ms, 2),
            "peak_mb": round(self.peak_mb, 1),
            "runtime_mb": round(self.peak_mb - self.base_mb, 1),
        }


@dataclass(frozen=True)
class BenchReport:
    """All rows, in the order of measurement, with what is known of the machine."""

    rows: tuple[Measured, ...]
    operators: tuple[tuple[Configuration, tuple[OperatorTime, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    machine: Mapping[str, str | int] = field(default_factory=dict)

    def floor_of(self, row: Measured) -> Measured | None:
        """The floor that was measured under the same engine, threads and batch."""
        own = row.configuration
        return next(
            (
                other
                for other in self.rows
                if other.configuration.role == "floor"
                and other.error is None
                and (other.configuration.engine, other.configuration.threads, other.configuration.batch)
                == (own.engine, own.threads, own.batch)
            ),
            None,
        )

    def crowded(self) -> bool:
        """Whether other programs took so much of the machine that the latencies say more of them than of the models."""
        single = [row for row in self.rows if row.error is None and row.configuration.threads == 1]
        return any(row.p50 > 1.25 * row.cpu for row in single)

    def times_floor(self, row: Measured) -> float | None:
        """Cost over the floor's cost; None for a floor, an error, a reference, or where no floor was measured."""
        floor = self.floor_of(row)
        if floor is None or row.error is not None or row.configuration.role in ("floor", "reference"):
            return None
        return row.cost / floor.cost

    def best(self) -> Measured | None:
        """The bundle's fastest row for single images."""
        own = [
            r for r in self.rows if r.error is None and r.configuration.role == "model" and r.configuration.batch == 1
        ]
        return min(own, key=lambda row: row.cost, default=None)

    def to_dict(self) -> dict[str, Any]:
        rows = []
        for row in self.rows:
            said = row.to_dict()
            if (ratio := self.times_floor(row)) is not None:
                said["times_floor"] = round(ratio, 4)
            rows.append(said)
        found: dict[str, Any] = {"machine": dict(self.machine), "rows": rows}
        if self.operators:
            found["operators"] = [
                {
                    "model": c.name or c.model.name,
                    "engine": c.engine,
                    "threads": c.threads,
                    "operators": [time.to_dict() for time in times],
                }
                for c, times in self.operators
            ]
        if self.notes:
            found["notes"] = list(self.notes)
        return found

    def text(self) -> str:
        """A table for a terminal: fastest first, and ratios to it, within each batch size and thread count."""
        lines = [*_table(self)]
        if self.crowded():
            lines.append("This machine was busy with other work: latencies are too long; ratios are of processor time.")
        for configuration, times in self.operators:
            lines += ["", f"{configuration.name or configuration.model.name} in {configuration.engine}, per operator:"]
            own = [(t.operator, str(t.count), f"{t.ms:.3f}", f"{100 * t.share:.1f}") for t in times]
            lines += columns([("operator", "nodes", "ms", "%"), *own], left=1)
        lines += ["", *self.notes] if self.notes else []
        return "\n".join(lines)


_HEAD = (
    "model",
    "engine",
    "prec",
    "thr",
    "batch",
    "p50 ms",
    "p90",
    "p99",
    "cpu",
    "img/s",
    "first",
    "load",
    "peak MB",
    "×best",
)


def _table(report: BenchReport) -> list[str]:
    with_floor = any(row.configuration.role == "floor" for row in report.rows)
    head = (*_HEAD, "×floor") if with_floor else _HEAD
    body: list[tuple[str, ...]] = []
    groups = dict.fromkeys((row.configuration.batch, row.configuration.threads) for row in report.rows)
    for group in groups:
        measured = [row for row in report.rows if row.error is None]
        rows = [row for row in measured if (row.configuration.batch, row.configuration.threads) == group]
        rows.sort(key=lambda row: row.cost)
        contenders = [row for row in rows if row.configuration.role != "floor"]
        best = contenders[0].cost if contenders else 1.0
        for row in rows:
            cells = _cells(row, best)
            if with_floor:
                ratio = report.times_floor(row)
                cells = (*cells, "" if ratio is None else f"{ratio:.2f}")
            body.append(cells)
    lines = columns([head, *body], left=3)
    for row in report.rows:
        if row.error is not None:
            c = row.configuration
            lines.append(f"{c.name or c.model.name} in {c.engine}, {c.threads} threads, batch {c.batch}: {row.error}")
    return lines


def _cells(row: Measured, best: float) -> tuple[str, ...]:
    c = row.configuration
    return (
        c.name or c.model.name,
        c.engine,
        c.precision or ("floor" if c.role == "floor" else "–"),
        str(c.threads),
        str(c.batch),
        f"{row.p50:.3f}",
        f"{row.percentile(90):.3f}",
        f"{row.percentile(99):.3f}",
        f"{row.cpu:.3f}",
        f"{row.images_per_second:.0f}",
        f"{row.first_ms:.1f}",
        f"{row.load_ms:.0f}",
        f"{row.peak_mb:.0f}",
        f"{row.cost / best:.2f}",
    )


def columns(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Rows of text as aligned lines: the first ``left`` columns flush left, the rest flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
