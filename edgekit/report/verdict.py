"""A build in one honest line: what int8 loses, how much faster and smaller it is, and whether to use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekit.evaluate.bench_report import Measured
from edgekit.evaluate.gate import GateResult
from edgekit.report.record import BuildRecord

Tone = Literal["good", "warn", "bad"]

# A difference in speed below this is not worth anybody's accuracy.
_NOT_FASTER = 1.05
_ASKED = {
    "drop_pp": "top-1 drop at most {:g} pp",
    "agreement": "agreement at least {:g} %",
    "SQNR": "score SQNR at least {:g} dB",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One headline figure: ``value`` and its unit, what it is, and what it rests on."""

    value: str
    unit: str
    name: str
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``headline`` is the line itself, ``because`` the figures' footing or the reason for a no."""

    tone: Tone
    headline: str
    because: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Speedup:
    """Best own model and best float model at the same threads and batch 1, on the machine that built.

    Compared by ``Measured.cost``: on one thread, processor time.
    """

    own: Measured
    reference: Measured

    @property
    def ratio(self) -> float:
        return self.reference.cost / self.own.cost


def judge(record: BuildRecord) -> Verdict:
    """The verdict of a build. Only what was measured is said."""
    clauses = [clause for clause in (_accuracy(record), _speed(record), _size(record)) if clause]
    name = record.precision
    said = f"{name} {_and(clauses)}" if clauses else f"{name} model built; neither accuracy nor speed was measured"
    gate = record.gate
    if gate is not None and not gate.passed:
        return Verdict("bad", f"Do not ship: {said}", f"{gate.sentence}.", facts(record))
    faster = speedup(record)
    if faster is not None and faster.ratio < _NOT_FASTER and record.precision == "int8":
        return Verdict(
            "warn", said, "It is no faster than float on this machine: measure on the target.", facts(record)
        )
    if gate is None or not gate.judged:
        return Verdict("warn", said, "No accuracy gate was judged: give labelled pictures.", facts(record))
    return Verdict("good", said, _passed(gate), facts(record))


def main_format(record: BuildRecord) -> str:
    """The format that the target's first engine runs, if it was measured, else the other one."""
    first = "onnx" if record.target.engine.preferred == "onnxruntime" else "tflite"
    if record.accuracy is None or first in record.accuracy.engines:
        return first
    return "onnx" if first == "tflite" else "tflite"


def speedup(record: BuildRecord) -> Speedup | None:
    """How much faster the build's best model is than the best float model that was measured beside it."""
    if record.speed is None or record.precision == "fp32":
        return None
    single = [row for row in record.speed.rows if row.error is None and row.configuration.batch == 1]
    own = [r for r in single if r.configuration.role == "model" and r.configuration.precision == record.precision]
    if not own:
        return None
    best = min(own, key=lambda row: row.cost)
    floats = [
        row
        for row in single
        if row.configuration.precision == "fp32" and row.configuration.threads == best.configuration.threads
    ]
    return Speedup(best, min(floats, key=lambda row: row.cost)) if floats else None


def size_ratio(record: BuildRecord) -> float | None:
    """Bytes of the float model over those of the main model."""
    own = next((a for a in record.artifacts if a.format == main_format(record)), None)
    return record.float_bytes / own.bytes if own is not None and own.bytes and record.float_bytes else None


def facts(record: BuildRecord) -> tuple[Fact, ...]:
    """The figures for the top of a report, as far as they were measured."""
    found: list[Fact] = []
    form = main_format(record)
    accuracy = record.accuracy
    if accuracy is not None and form in accuracy.drop_pp:
        low, high = accuracy.drop_ci95[form]
        top1 = accuracy.models[form].top1
        basis = f"{top1:.2f} % top-1 on {accuracy.n} pictures, 95 %: {low:.2f} to {high:.2f}"
        found.append(Fact(f"{accuracy.drop_pp[form]:.2f}", "pp", "top-1 lost against float", basis))
    if accuracy is not None and form in accuracy.agreement:
        noise = accuracy.sqnr_db.get(form)
        basis = "scores are equal" if noise == float("inf") else "" if noise is None else f"score SQNR {noise:.1f} dB"
        found.append(Fact(f"{accuracy.agreement[form]:.2f}", "%", "same answer as float", basis))
    faster = speedup(record)
    if faster is not None:
        c = faster.own.configuration
        cpu = str(record.speed.machine.get("cpu", "")) if record.speed is not None else ""
        where = f"the build machine ({cpu})" if cpu else "the build machine"
        threads = "1 thread" if c.threads == 1 else f"{c.threads} threads"
        basis = f"{faster.own.cost:.2f} ms in {c.engine}, {threads}, on {where}"
        found.append(Fact(f"{faster.ratio:.2f}", "×", "faster than float", basis))
    ratio = size_ratio(record)
    own = next((a for a in record.artifacts if a.format == form), None)
    if ratio is not None and own is not None:
        found.append(Fact(f"{ratio:.2f}", "×", "smaller than float", f"{own.bytes / 1e6:.2f} MB {own.name}"))
    if record.cost is not None:
        floors = [f for f in record.cost.floors if f.precision == record.precision]
        if floors:
            basis = ", ".join(f"{f.floor_ms:.1f} ms on {f.cores} core{'s' if f.cores > 1 else ''}" for f in floors)
            found.append(Fact(f"{floors[-1].floor_ms:.1f}", "ms", f"floor on {record.target.name}", basis))
    return tuple(found)


def _passed(gate: GateResult) -> str:
    asked = dict.fromkeys(_ASKED[c.name].format(c.limit) for c in gate.judged)
    formats = dict.fromkeys(c.model for c in gate.judged)
    return f"Passes its accuracy gate in {' and '.join(formats)}: {', '.join(asked)}."


def _accuracy(record: BuildRecord) -> str:
    form, accuracy = main_format(record), record.accuracy
    if accuracy is None:
        return ""
    if form in accuracy.drop_pp:
        drop, (low, high) = accuracy.drop_pp[form], accuracy.drop_ci95[form]
        verb = "gains" if drop < 0 else "loses"
        return f"{verb} {abs(drop):.1f} ± {(high - low) / 2:.1f} pp"
    if form in accuracy.agreement:
        return f"answers as float on {accuracy.agreement[form]:.1f} % of {accuracy.n} pictures"
    return ""


def _speed(record: BuildRecord) -> str:
    found = speedup(record)
    if found is None:
        return ""
    if found.ratio >= _NOT_FASTER:
        return f"is {found.ratio:.1f} × faster"
    return "is as fast" if found.ratio > 1 / _NOT_FASTER else f"is {1 / found.ratio:.1f} × slower"


def _size(record: BuildRecord) -> str:
    ratio = size_ratio(record)
    return "" if ratio is None or record.precision == "fp32" else f"{ratio:.1f} × smaller"


def _and(clauses: list[str]) -> str:
    """``loses …, is 2.6 × faster, 3.6 × smaller``; a size without a speed before it needs its own verb."""
    if clauses[-1].endswith("smaller") and not any(clause.startswith("is ") for clause in clauses):
        clauses = [*clauses[:-1], f"is {clauses[-1]}"]
    return ", ".join(clauses)
