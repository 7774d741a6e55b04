"""The figures of a report as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgekit.evaluate.bench_report import columns
from edgekit.report import kept
from edgekit.report.cost import Cost
from edgekit.report.measurements import worst
from edgekit.report.record import BuildRecord
from edgekit.report.sections import decibels, number, size
from edgekit.report.verdict import judge

# Layers that are shown: those that lose most. The report has all of them.
_SHOWN_LAYERS = 8


def text(record: BuildRecord) -> str:
    """Everything that was measured, section by section; what was not is left out."""
    verdict = judge(record)
    parts: list[Sequence[str]] = [(verdict.headline, verdict.because)]
    if record.accuracy is not None:
        parts.append(("Accuracy", *record.accuracy.text().splitlines()))
    if record.parity:
        parts.append(("Parity", *_parity(record)))
    if record.kept_float is not None:
        parts.append(("Kept in float", *kept.lines(record.kept_float)))
    if record.ablations:
        rows = [
            (
                a.method,
                *(number(v, f) or "–" for v, f in ((a.drop_pp, "+.2f"), (a.agreement, ".2f"), (a.sqnr_db, ".1f"))),
            )
            for a in record.ablations
        ]
        head = ("method", "drop pp", "agrees %", "SQNR dB")
        parts.append(("What each method is worth, the worse of both formats", *columns([head, *rows], left=1)))
    if record.layers:
        parts.append(("Where int8 loses signal", *_layers(record)))
    if record.speed is not None and record.speed.rows:
        parts.append(("Speed on this machine", *record.speed.text().splitlines()))
    if record.ops:
        parts.append(("Operators", *_operators(record)))
    if record.cost is not None:
        parts.append(("Cost", *cost_lines(record.cost)))
    if record.emulated is not None:
        parts.append(("On the target's core, emulated", *record.emulated.lines()))
    if record.stages:
        parts.append(("Seconds", ", ".join(f"{name} {seconds:.1f}" for name, seconds in record.stages.items())))
    if record.artifacts:
        rows = [(a.name, size(a.bytes), a.sha256[:16]) for a in record.artifacts]
        parts.append(("Files", *columns([("file", "size", "sha256"), *rows], left=1)))
    warnings = (*(record.calibration.warnings if record.calibration else ()), *record.refused, *record.notes)
    if warnings:
        parts.append(("Notes", *warnings))
    return "\n\n".join("\n".join((first, *(f"  {line}" if line else "" for line in rest))) for first, *rest in parts)


def cost_lines(cost: Cost) -> list[str]:
    """Work by kind of operator, then the target's floors beside what published peers reach."""
    rows = [
        (row.op, row.name.split()[0], f"{row.macs / 1e6:.2f}", f"{(row.weights + row.biases) / 1e3:.1f}",
         f"{(row.read + row.written) / 1e6:.2f}")
        for row in cost.by_kind()
    ]  # fmt: skip
    rows.append(
        (
            "all",
            str(len(cost.operators)),
            f"{cost.macs / 1e6:.2f}",
            f"{cost.params / 1e3:.1f}",
            f"{cost.moved / 1e6:.2f}",
        )
    )
    lines = columns([("operator", "nodes", "MMAC", "k params", "M elements moved"), *rows], left=1)
    if cost.floors:
        lines += ["", f"floor on {cost.target} (roofline), ms"]
        head = ("precision", "cores", "arithmetic", "memory", "floor", "without cache")
        lines += columns([head, *_floors(cost)], left=1)
    for peer in cost.peers:
        threads = f"{peer.threads} thread{'s' if peer.threads > 1 else ''}"
        lines.append(f"published: {peer.tool} {peer.precision}, {threads}: {peer.latency_ms:g} ms ({peer.source})")
    return lines


def _floors(cost: Cost) -> Iterator[tuple[str, ...]]:
    for floor in cost.floors:
        yield (
            floor.precision,
            str(floor.cores),
            f"{floor.compute_ms:.2f}",
            number(floor.memory_ms, ".2f") or "–",
            f"{floor.floor_ms:.2f}",
            number(floor.spilled_ms, ".2f") or "–",
        )


def _parity(record: BuildRecord) -> Iterator[str]:
    for parity in record.parity:
        said = [
            number(parity.top1_equal, ".2f", " % same top-1"),
            number(parity.equal_outputs, ".2f", " % equal outputs"),
            None if parity.largest_step is None else f"largest difference {parity.largest_step} steps",
            None if parity.relative_error is None else f"relative error {parity.relative_error:.1e}",
        ]
        yield f"{parity.what}, {parity.n} pictures: {', '.join(figure for figure in said if figure)}"


def _layers(record: BuildRecord) -> Iterator[str]:
    bad = worst(record.layers)
    if bad is not None:
        yield f"worst: {bad.name} ({bad.op}){f': {bad.why}' if bad.why else ''}"
    own = [layer for layer in record.layers if layer.weights_db is not None or layer.activations_db is not None]
    own.sort(key=lambda layer: min(v for v in (layer.weights_db, layer.activations_db) if v is not None))
    head = ("layer", "operator", "weights dB", "activation dB", "so far dB")
    rows = [
        (layer.name, layer.op, *("–" if v is None else decibels(v).removesuffix(" dB")
                                 for v in (layer.weights_db, layer.activations_db, layer.cumulative_db)))
        for layer in own[:_SHOWN_LAYERS]
    ]  # fmt: skip
    yield from columns([head, *rows], left=2) if rows else ()


def _operators(record: BuildRecord) -> Iterator[str]:
    for name, counts in record.ops.items():
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        yield f"{name}: {', '.join(f'{count} {op}' for op, count in ranked)}"
