"""The sections of report.html about where signal is lost and what the network costs: record → markup, or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from edgekit.report import charts, emulated
from edgekit.report.cost import Cost
from edgekit.report.markup import Child, Html, join, table, tag
from edgekit.report.record import BuildRecord, LayerNoise, RangeHistogram
from edgekit.report.sections import bullets, number, section

_COLOURS = ("var(--blue)", "var(--teal)", "var(--amber)", "var(--red)", "var(--green)", "var(--soft)")
_NOISES = (
    ("weights_db", "weights only", "var(--blue)"),
    ("activations_db", "activation only", "var(--amber)"),
    ("cumulative_db", "whole network so far", "var(--teal)"),
)
_SHOWN_HISTOGRAMS = 8
# Nodes that say how the tensors between integer kernels are to be read; ONNX Runtime fuses them into the kernels.
_DESCRIBING = ("QuantizeLinear", "DequantizeLinear")
_DESCRIBED = (
    "{} without QuantizeLinear and DequantizeLinear, which describe tensors and are fused into integer kernels."
)
_ROOFLINE = (
    "Roofline (Williams, Waterman, Patterson, 2009): the larger of multiply-accumulates over the cores' peak and of "
    "weights, picture and scores over memory bandwidth. Computed, not measured; no program on this board is faster."
)


def worst(layers: Sequence[LayerNoise]) -> LayerNoise | None:
    """The layer that loses most by itself: the least of its own weights' and activation's ratios."""
    own = {
        i: min(v for v in (layer.weights_db, layer.activations_db) if v is not None)
        for i, layer in enumerate(layers)
        if layer.weights_db is not None or layer.activations_db is not None
    }
    return layers[min(own, key=lambda i: own[i])] if own else None


def layers(record: BuildRecord) -> Html:
    """Signal-to-noise by layer: a chart over depth, the worst layer with its reason, and every figure."""
    found = record.layers
    if not found:
        return Html("")
    bad = worst(found)
    values = {key: [getattr(layer, key) for layer in found] for key, _, _ in _NOISES}
    measured = [(key, name, colour) for key, name, colour in _NOISES if any(v is not None for v in values[key])]
    lead = Html("")
    if bad is not None:
        figures = ", ".join(
            f"{name} {getattr(bad, key):.1f} dB" for key, name, _ in measured if getattr(bad, key) is not None
        )
        why = f" Why: {bad.why or _share(bad)}."
        lead = tag("p", "Worst layer: ", tag("b", bad.name), f" ({bad.op}), {figures}.{why}")
    chart = charts.depth_chart(
        [(name, colour, values[key]) for key, name, colour in measured],
        "dB",
        None if bad is None else list(found).index(bad),
    )
    most = max((v for own in values.values() for v in own if v is not None and math.isfinite(v)), default=1.0)
    rows = []
    for layer in found:
        cells: list[Child] = [layer.name, layer.op]
        for key, _, colour in measured:
            value = getattr(layer, key)
            cells.append(None if value is None else join([f"{value:.1f}", charts.bar(value / most, colour)]))
        rows.append([*cells, layer.why])
    head = ("layer", "operator", *(f"{name}, dB" for _, name, _ in measured), "")
    full = tag("details", tag("summary", f"All {len(found)} layers"), table(head, rows, numbers=2, class_="layers"))
    explained = (
        "Signal-to-quantization-noise ratio of each layer's output against float, on calibration pictures; higher is "
        "better, 6 dB is one bit."
    )
    legend = charts.legend([(colour, name) for _, name, colour in measured])
    return section("Where int8 loses signal", "layers", lead, chart, legend, full, lead=explained)


def _share(layer: LayerNoise) -> str:
    """Which of its two roundings a layer loses more by, where nothing else stands out."""
    weights, values = layer.weights_db, layer.activations_db
    if values is None or (weights is not None and weights < values):
        return "the rounding of its weights; no weight or channel stands out"
    return "the rounding of its values to 256 levels; no channel stands out"


def histograms(record: BuildRecord) -> Html:
    """What values each tensor takes, and which of them the 256 levels cover; the most wasteful ranges first."""
    if not record.histograms:
        return Html("")
    ordered = sorted(record.histograms, key=_waste, reverse=True)
    first, rest = ordered[:_SHOWN_HISTOGRAMS], ordered[_SHOWN_HISTOGRAMS:]
    more = Html("")
    if rest:
        drawn = tag("div", *map(_histogram, rest), class_="many")
        more = tag("details", tag("summary", f"{len(rest)} more tensors"), drawn)
    lead = (
        "How often each value occurred over the calibration pictures (logarithmic), and the range that the 256 levels "
        "span (shaded). The widest ranges for what they hold come first: their steps are the coarsest."
    )
    return section("Ranges", "ranges", tag("div", *map(_histogram, first), class_="many"), more, lead=lead)


def _histogram(found: RangeHistogram) -> Html:
    outside = 100 * clipped(found)
    step = (found.chosen[1] - found.chosen[0]) / 255
    said = f"range {found.chosen[0]:.3g} to {found.chosen[1]:.3g}, step {step:.3g}, {outside:.3g} % clipped"
    observer = f", {found.observer}" if found.observer else ""
    drawn = charts.histogram(found.counts, found.low, found.high, found.chosen)
    return tag("figure", drawn, tag("figcaption", tag("b", found.name), tag("br"), said + observer))


def clipped(found: RangeHistogram) -> float:
    """Share of values in bins whose middle lies outside the chosen range."""
    edges = np.linspace(found.low, found.high, len(found.counts) + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    outside = (middle < found.chosen[0]) | (middle > found.chosen[1])
    total = int(found.counts.sum())
    return float(found.counts[outside].sum()) / total if total else 0.0


def _waste(found: RangeHistogram) -> float:
    """The range's width over the values' standard deviation: how many steps go to where hardly any value is."""
    edges = np.linspace(found.low, found.high, len(found.counts) + 1)
    middle, total = (edges[1:] + edges[:-1]) / 2, max(1, int(found.counts.sum()))
    mean = float(np.sum(middle * found.counts)) / total
    deviation = math.sqrt(float(np.sum((middle - mean) ** 2 * found.counts)) / total)
    return (found.chosen[1] - found.chosen[0]) / deviation if deviation > 0 else 0.0


def census(record: BuildRecord) -> Html:
    """Operators of each model file."""
    if not record.ops:
        return Html("")
    tables = []
    for name, counts in record.ops.items():
        ranked = sorted(counts.items(), key=lambda item: (item[0] in _DESCRIBING, -item[1], item[0]))
        rows = [(op, str(count)) for op, count in ranked]
        executed = sum(count for op, count in counts.items() if op not in _DESCRIBING)
        tables.append(table((name, "nodes"), [*rows, ("all", str(sum(counts.values())))]))
        if executed < sum(counts.values()):
            tables[-1] = join([tables[-1], tag("p", _DESCRIBED.format(executed), class_="note")])
    return section("Operators", "operators", tag("div", *(tag("div", own) for own in tables), class_="two"))


def cost(record: BuildRecord) -> Html:
    """Work by kind of operator, the target's floors, and what published peers reach there."""
    found = record.cost
    if found is None:
        return Html("")
    rows = [
        (row.op, row.name.split()[0], f"{row.macs / 1e6:.2f}", f"{(row.weights + row.biases) / 1e3:.1f}",
         f"{(row.read + row.written) / 1e6:.2f}", f"{row.bytes_at(record.precision) / 1e6:.2f}")
        for row in found.by_kind()
    ]  # fmt: skip
    total = ("all", str(len(found.operators)), f"{found.macs / 1e6:.2f}", f"{found.params / 1e3:.1f}",
             f"{found.moved / 1e6:.2f}",
             f"{sum(op.bytes_at(record.precision) for op in found.operators) / 1e6:.2f}")  # fmt: skip
    head = ("operator", "nodes", "MMAC", "parameters, k", "elements moved, M", f"MB at {record.precision}")
    body = [table(head, [*rows, total])]
    bars = [*_floor_bars(record, found), *_peer_bars(found)]
    if bars:
        body += [
            tag("h3", f"The floor on {record.target.title or record.target.name}, and what others reach"),
            charts.horizontal_bars(bars, "ms"),
            table(
                ("precision", "cores", "arithmetic, ms", "main memory, ms", "floor, ms", "without any cache, ms"),
                [
                    (f.precision, str(f.cores), f"{f.compute_ms:.2f}", number(f.memory_ms, ".2f"),
                     f"{f.floor_ms:.2f}", number(f.spilled_ms, ".2f"))
                    for f in found.floors
                ],
            ),
            tag("p", _ROOFLINE, class_="note"),
        ]  # fmt: skip
        if found.peers:
            sources = sorted({f"{peer.tool}: {peer.source}" for peer in found.peers})
            body.append(tag("p", f"Published figures: {'; '.join(sources)}.", class_="note"))
    body.append(emulated.counts(record.emulated))
    return section("What it costs", "cost", *body)


def _floor_bars(record: BuildRecord, found: Cost) -> Iterator[tuple[str, float, str, str]]:
    for floor in found.floors:
        if floor.precision == "fp16" and record.precision != "fp16":
            continue
        colour = "var(--teal)" if floor.precision == record.precision else "var(--soft)"
        name = f"floor: {floor.precision}, {floor.cores} core{'s' if floor.cores > 1 else ''}"
        yield name, floor.floor_ms, f"{floor.floor_ms:.1f} ms", colour


def _peer_bars(found: Cost) -> Iterator[tuple[str, float, str, str]]:
    for peer in found.peers:
        name = f"{peer.tool}: {peer.precision}, {peer.threads} thread{'s' if peer.threads > 1 else ''}"
        yield name, peer.latency_ms, f"{peer.latency_ms:g} ms", "var(--amber)"


def speed(record: BuildRecord) -> Html:
    """The benchmark on the machine that built."""
    found = record.speed
    if found is None or not found.rows:
        return Html("")
    rows, failed = [], []
    with_floor = any(row.configuration.role == "floor" for row in found.rows)
    for row in found.rows:
        c = row.configuration
        name: tuple[Child, ...] = (
            c.name or c.model.name,
            c.engine,
            c.precision or c.role,
            str(c.threads),
            str(c.batch),
        )
        if row.error is not None:
            failed.append(f"{name[0]} in {c.engine}, {c.threads} threads, batch {c.batch}: {row.error}")
            continue
        ratio = found.times_floor(row)
        rows.append(
            [
                *name,
                *(f"{row.percentile(p):.2f}" for p in (50, 90, 99)),
                f"{row.cpu:.2f}",
                f"{row.images_per_second:.0f}",
                f"{row.first_ms:.1f}",
                f"{row.load_ms:.0f}",
                f"{row.peak_mb:.0f}",
                *((number(ratio, ".2f"),) if with_floor else ()),
            ]
        )
    head = (
        "model",
        "engine",
        "precision",
        "threads",
        "batch",
        "p50 ms",
        "p90",
        "p99",
        "cpu",
        "img/s",
        "first",
        "load",
        "MB",
        *(("× floor",) if with_floor else ()),
    )
    said = ", ".join(f"{key} {value}" for key, value in found.machine.items())
    lead = f"Measured on the machine that built, not on the target{f' ({said})' if said else ''}: compare ratios."
    if found.crowded():
        lead += " It was busy with other work: compare processor time (cpu)."
    parts = [table(head, rows, numbers=3), bullets("Not measured", failed)]
    for configuration, times in found.operators:
        title = f"{configuration.name or configuration.model.name} in {configuration.engine}, by operator"
        own = [(t.operator, str(t.count), f"{t.ms:.3f}", f"{100 * t.share:.1f} %") for t in times]
        parts += [tag("h3", title), table(("operator", "nodes", "ms", "share"), own)]
    return section("Speed here", "speed", *parts, lead=lead)


def stages(record: BuildRecord) -> Html:
    """How long each stage of the build took."""
    if not record.stages:
        return Html("")
    drawn = [(name, s, _COLOURS[i % len(_COLOURS)]) for i, (name, s) in enumerate(record.stages.items())]
    total = sum(record.stages.values())
    legend = charts.legend([(colour, f"{name} {seconds:.1f} s") for name, seconds, colour in drawn])
    tools = ", ".join(f"{name} {version}" for name, version in sorted(record.tools.items()))
    made = tag("p", f"Made with {tools}.", class_="note") if tools else Html("")
    return section("The build", "stages", tag("p", f"{total:.1f} seconds."), charts.shares(drawn), legend, made)
