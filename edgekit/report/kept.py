"""What layers in float gain and cost: a section of report.html, lines for a terminal, an object for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgekit.evaluate.bench_report import columns
from edgekit.report.markup import Child, Html, measured, table, tag
from edgekit.report.record import BuildRecord, FloatLayers, KeptFloat, Tried
from edgekit.report.sections import number, section

_HEAD = ("in float", "score SQNR", "agreement", "top-1")
# A difference between two latencies below this share is the clock's.
_WITHIN_NOISE = 0.01
_SHOWN_LAYERS = 4


def kept(record: BuildRecord) -> Html:
    """Gain beside cost of everything in float, and what ``keep_float: auto`` tried."""
    found = record.kept_float
    if found is None:
        return Html("")
    head, rows = _table(found)
    body = [table(*measured(head, [list(row) for row in rows]))]
    body.append(tag("p", _footing(found), class_="note"))
    if found.tried:
        own = [
            (_names(one.layers) or "nothing", *_figures(one), tag("span", "pass" if one.passed else "fail",
                                                                 class_=f"pill {'good' if one.passed else 'bad'}"))
            for one in found.tried
        ]  # fmt: skip
        tried = ("in float", "agreement", "score SQNR", "drop", "gate")
        body += [tag("h3", "What keep_float: auto tried"), table(*measured(tried, [list(row) for row in own]))]
    lead = "What these layers gain over being int8 too, beside the time that it costs."
    return section("Kept in float", "kept", *body, lead=lead)


def lines(found: FloatLayers) -> Iterator[str]:
    """The same for a terminal."""
    head, rows = _table(found)
    shown, cells = measured(head, [list(row) for row in rows])
    yield from columns([[str(cell) for cell in shown], *([str(c or "") for c in row] for row in cells)], left=1)
    yield _footing(found)
    for one in found.tried:
        figures = ", ".join(figure for figure in _figures(one) if figure)
        verb = "passes" if one.passed else "misses"
        yield f"auto tried {_names(one.layers) or 'nothing'}: {figures}: {verb} the gate"


def to_dict(found: FloatLayers | None) -> dict[str, Any] | None:
    """The object ``keep_float`` of ``build --json``; null where no layer is in float."""
    if found is None:
        return None
    return {
        "together": _row_dict(found.together),
        "each": [_row_dict(row) for row in found.each],
        "n": found.n,
        "n_each": found.n_each,
        "tried": [
            {
                "layers": list(one.layers),
                "passed": one.passed,
                "agreement": _rounded(one.agreement),
                "sqnr_db": _rounded(one.sqnr_db),
                "drop_pp": _rounded(one.drop_pp),
            }
            for one in found.tried
        ],
    }


def _table(found: FloatLayers) -> tuple[tuple[str, ...], list[tuple[Child, ...]]]:
    engines = tuple(dict.fromkeys(engine for row in (found.together, *found.each) for engine in row.cost_ms))
    rows = [_cells(row, _names(row.layers), engines) for row in found.each]
    if len(found.each) != 1:
        count = len(found.together.layers)
        rows.append(_cells(found.together, f"all {count} layers together", engines))
    return (*_HEAD, *(f"time in {engine}" for engine in engines)), rows


def _cells(row: KeptFloat, name: str, engines: Sequence[str]) -> tuple[Child, ...]:
    return (
        name,
        number(_least(row.gain_db), "+.1f", " dB"),
        number(_least(row.gain_agreement_pp), "+.2f", " pp"),
        number(_least(row.gain_top1_pp), "+.2f", " pp"),
        *(_cost(row, engine) for engine in engines),
    )


def _cost(row: KeptFloat, engine: str) -> str | None:
    if engine not in row.cost_ms:
        return None
    times = row.times[engine]
    said = f"{row.cost_ms[engine]:+.3f} ms ({times:.2f} ×)"
    return said if abs(times - 1) >= _WITHIN_NOISE else f"{said}, within noise"


def _least(gains: Mapping[str, float]) -> float | None:
    """Of both formats the smaller gain."""
    return min((gain for gain in gains.values() if math.isfinite(gain)), default=None)


def _names(layers: Sequence[str]) -> str:
    if len(layers) <= _SHOWN_LAYERS:
        return ", ".join(layers)
    return f"{', '.join(layers[: _SHOWN_LAYERS - 1])} and {len(layers) - _SHOWN_LAYERS + 1} more"


def _figures(one: Tried) -> tuple[str | None, ...]:
    sqnr = one.sqnr_db if one.sqnr_db is not None and math.isfinite(one.sqnr_db) else None
    return (
        number(one.agreement, ".2f", " %"),
        number(sqnr, ".1f", " dB"),
        number(one.drop_pp, "+.2f", " pp"),
    )


def _footing(found: FloatLayers) -> str:
    said = f"Gains: of both formats the smaller, on {found.n} pictures"
    if len(found.each) > 1:
        said += f" for all together; each by itself on {found.n_each}, with the others still in float"
    return f"{said}. Times: one thread on the machine that built, with and without in turns."


def _row_dict(row: KeptFloat) -> dict[str, Any]:
    def figures(found: Mapping[str, float]) -> dict[str, float | None]:
        return {name: _rounded(value) for name, value in found.items()}

    return {
        "layers": list(row.layers),
        "gain_sqnr_db": figures(row.gain_db),
        "gain_agreement_pp": figures(row.gain_agreement_pp),
        "gain_top1_pp": figures(row.gain_top1_pp),
        "cost_ms": {name: round(value, 4) for name, value in row.cost_ms.items()},
        "times": {name: round(value, 4) for name, value in row.times.items()},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 3)
