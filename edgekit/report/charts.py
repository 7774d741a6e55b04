"""Drawings of a report as inline SVG, coloured by the style sheet's variables so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgekit.report.markup import Html, join, tag

Series = tuple[str, str, Sequence[float | None]]  # name, CSS colour, values


def svg(width: float, height: float, *children: Html, label: str) -> Html:
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", *children, viewBox=box, width=width, height=height, role="img", aria_label=label)


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    """(colour, name) pairs."""
    marks = (tag("span", tag("i", style=f"background:{colour}"), name) for colour, name in entries)
    return tag("div", *marks, class_="legend")


def bar(share: float, colour: str) -> Html:
    """A bar inside a table cell; ``share`` in 0–1 of 110 pixels."""
    return tag("span", class_="bar", style=f"width:{max(0.0, min(1.0, share)) * 110:.0f}px;background:{colour}")


def depth_chart(series: Sequence[Series], unit: str, marked: int | None = None) -> Html:
    """Values layer by layer, first layer left; gaps where a value is None. ``marked`` points out one position."""
    count = max(len(values) for _, _, values in series)
    finite = [v for _, _, values in series for v in values if v is not None and math.isfinite(v)]
    if not finite or count < 2:
        return Html("")
    low, high = _nice(min(finite), max(finite))
    width, height, left, top, bottom = 1040.0, 260.0, 40.0, 12.0, 26.0

    def x(i: int) -> float:
        return left + i * (width - left - 8) / (count - 1)

    def y(v: float) -> float:
        return top + (high - v) * (height - top - bottom) / (high - low)

    parts = []
    for value in _ticks(low, high):
        parts.append(tag("line", x1=left, x2=width - 8, y1=y(value), y2=y(value), class_="grid"))
        parts.append(tag("text", f"{value:g}", x=left - 6, y=y(value) + 4, text_anchor="end"))
    parts.append(tag("text", f"{unit}", x=left + 6, y=top + 8))
    parts.append(tag("text", "first layer", x=left, y=height - 6))
    parts.append(tag("text", "last layer", x=width - 8, y=height - 6, text_anchor="end"))
    if marked is not None:
        parts.append(
            tag(
                "line",
                x1=x(marked),
                x2=x(marked),
                y1=top,
                y2=height - bottom,
                style="stroke:var(--red);stroke-dasharray:3 3",
            )
        )
    for name, colour, values in series:
        shown = [(i, v) for i, v in enumerate(values) if v is not None and math.isfinite(v)]
        path = "".join(
            f"{'M' if n == 0 or shown[n - 1][0] != i - 1 else 'L'}{x(i):.1f} {y(v):.1f}"
            for n, (i, v) in enumerate(shown)
        )
        dots = "".join(f"M{x(i):.1f} {y(v):.1f}h0" for i, v in shown)
        parts.append(tag("path", d=path, fill="none", style=f"stroke:{colour};stroke-width:1.6"))
        parts.append(
            tag(
                "path",
                d=dots,
                fill="none",
                style=f"stroke:{colour};stroke-width:5;stroke-linecap:round",
                aria_label=name,
            )
        )
    return _wide(svg(width, height, *parts, label=f"{', '.join(name for name, _, _ in series)} by layer, {unit}"))


def scatter(points: NDArray[np.float32], across: str, up: str) -> Html:
    """Points ``[n, 2]`` (across, up) on equal axes with the diagonal on which the two are equal."""
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite):
        return Html("")
    low, high = _nice(float(finite.min()), float(finite.max()))
    size, left, bottom = 400.0, 44.0, 40.0
    inner = size - left - 10

    def place(v: float) -> float:
        return (v - low) / (high - low) * inner

    parts = []
    for value in _ticks(low, high):
        at = place(value)
        parts.append(tag("line", x1=left, x2=left + inner, y1=10 + inner - at, y2=10 + inner - at, class_="grid"))
        parts.append(tag("line", x1=left + at, x2=left + at, y1=10, y2=10 + inner, class_="grid"))
        parts.append(tag("text", f"{value:g}", x=left - 6, y=14 + inner - at, text_anchor="end"))
        parts.append(tag("text", f"{value:g}", x=left + at, y=26 + inner, text_anchor="middle"))
    dots = "".join(f"M{left + place(float(a)):.1f} {10 + inner - place(float(b)):.1f}h0" for a, b in finite)
    style = "stroke:var(--blue);stroke-width:3;stroke-linecap:round;stroke-opacity:.32"
    parts.append(tag("line", x1=left, y1=10 + inner, x2=left + inner, y2=10, class_="axis", stroke_dasharray="4 4"))
    parts.append(tag("path", d=dots, fill="none", style=style))
    parts.append(tag("text", across, x=left + inner / 2, y=size - 2, text_anchor="middle"))
    parts.append(tag("text", up, x=left + 6, y=22))
    return svg(size, size + 2 - (bottom - 40), *parts, label=f"{up} against {across}")


def histogram(counts: NDArray[np.int64], low: float, high: float, chosen: tuple[float, float]) -> Html:
    """Counts on a logarithmic height, the chosen range shaded."""
    width, height, base = 230.0, 84.0, 66.0
    first, last = min(low, chosen[0]), max(high, chosen[1])
    span = (last - first) or 1.0

    def x(v: float) -> float:
        return 2 + (v - first) / span * (width - 4)

    peak = math.log1p(float(counts.max())) if len(counts) else 1.0
    edges = np.linspace(low, high, len(counts) + 1)
    path = "".join(
        f"M{x(a):.1f} {base}V{base - math.log1p(float(c)) / peak * (base - 6):.1f}H{x(b):.1f}V{base}"
        for (a, b), c in zip(pairwise(edges.tolist()), counts, strict=True)
        if c
    )
    return svg(
        width,
        height,
        tag("rect", x=x(chosen[0]), y=2, width=max(1.0, x(chosen[1]) - x(chosen[0])), height=base - 2,
            style="fill:var(--teal);fill-opacity:.14"),
        tag("path", d=path, style="fill:var(--blue)"),
        tag("line", x1=0, x2=width, y1=base, y2=base, class_="axis"),
        tag("text", f"{first:.3g}", x=2, y=height - 5),
        tag("text", f"{last:.3g}", x=width - 2, y=height - 5, text_anchor="end"),
        label=f"values from {low:.3g} to {high:.3g}, range {chosen[0]:.3g} to {chosen[1]:.3g}",
    )  # fmt: skip


def horizontal_bars(rows: Sequence[tuple[str, float, str, str]], unit: str) -> Html:
    """One bar a row: (name, value, what stands at its end, CSS colour)."""
    if not rows:
        return Html("")
    most = max(value for _, value, _, _ in rows) or 1.0
    width, left, line = 1040.0, 260.0, 24.0
    parts = []
    for i, (name, value, said, colour) in enumerate(rows):
        y = i * line + 4
        length = value / most * (width - left - 130)
        parts.append(
            tag(
                "text",
                name if len(name) < 44 else f"{name[:42]}…",
                x=left - 10,
                y=y + 12,
                text_anchor="end",
                class_="ink",
            )
        )
        parts.append(tag("rect", x=left, y=y, width=max(2.0, length), height=15, rx=4, style=f"fill:{colour}"))
        parts.append(tag("text", said, x=left + length + 8, y=y + 12))
    return _wide(svg(width, len(rows) * line + 6, *parts, label=f"bars in {unit}"))


def shares(parts: Sequence[tuple[str, float, str]]) -> Html:
    """One bar of the whole width, divided: (name, value, CSS colour)."""
    total = sum(value for _, value, _ in parts) or 1.0
    width, x, drawn = 1040.0, 0.0, []
    for name, value, colour in parts:
        own = value / total * width
        told = tag("title", f"{name}: {value:.2f}")
        drawn.append(tag("rect", told, x=x, y=0, width=max(0.5, own - 1.5), height=18, rx=3, style=f"fill:{colour}"))
        x += own
    return svg(width, 18, join(drawn), label="shares")


def _wide(drawing: Html) -> Html:
    """Scrolls sideways where the screen is too narrow for its letters."""
    return tag("div", drawing, class_="wide")


def _nice(low: float, high: float) -> tuple[float, float]:
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    step = _step(low, high)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _step(low: float, high: float) -> float:
    raw = (high - low) / 5
    power: float = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw)


def _ticks(low: float, high: float) -> list[float]:
    step = _step(low, high)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]
