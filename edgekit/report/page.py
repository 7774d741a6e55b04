"""report.html as one string: no script, no network, no font; everything that it shows is inside it."""

from __future__ import annotations

from edgekit.report import kept, measurements, sections
from edgekit.report.markup import Html, join, tag
from edgekit.report.record import BuildRecord
from edgekit.report.style import CSS
from edgekit.report.verdict import Tone, Verdict, judge

# The page may show what it holds and nothing else, even if an attacker's label found a way into the markup.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_PARTS = (
    ("built", "What was built", sections.built),
    ("accuracy", "Accuracy", sections.accuracy),
    ("changed", "What changed", sections.changed),
    ("kept", "Kept in float", kept.kept),
    ("layers", "Layers", measurements.layers),
    ("ranges", "Ranges", measurements.histograms),
    ("speed", "Speed", measurements.speed),
    ("cost", "Cost", measurements.cost),
    ("operators", "Operators", measurements.census),
    ("stages", "Build", measurements.stages),
)


def render(record: BuildRecord) -> str:
    """The whole page, UTF-8 when encoded. A section without data is absent, also from the navigation.

    Pictures that flipped are read from disk and put in as thumbnails; one that is gone is left out.
    """
    parts = [(anchor, name, make(record)) for anchor, name, make in _PARTS]
    parts = [(anchor, name, made) for anchor, name, made in parts if made]
    title = f"{record.source.architecture} for {record.target.title or record.target.name}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} · edgekit"),
        tag("style", Html(CSS)),
    )
    body = tag(
        "body",
        _header(record, judge(record)),
        tag("nav", tag("div", *(tag("a", name, href=f"#{anchor}") for anchor, name, _ in parts))),
        tag("main", *(made for _, _, made in parts)),
        tag("footer", f"edgekit {record.tools.get('edgekit', '')} · this page needs no network and holds no script"),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _header(record: BuildRecord, verdict: Verdict) -> Html:
    cards = [
        tag(
            "div",
            tag("b", fact.value, tag("i", fact.unit)),
            tag("span", fact.name),
            tag("small", fact.basis),
            class_="card",
        )
        for fact in verdict.facts
    ]
    return tag(
        "header",
        tag(
            "div",
            tag("div", _MARK, tag("span", tag("b", "edgekit"), " build report"), class_="brand"),
            tag("h1", record.source.architecture, tag("span", " for "), record.target.title or record.target.name),
            tag(
                "div",
                _icon(verdict.tone),
                tag("div", _capital(verdict.headline), tag("small", verdict.because)),
                class_=f"verdict {verdict.tone}",
            ),
            tag("div", *cards, class_="cards") if cards else Html(""),
        ),
    )


def _capital(sentence: str) -> str:
    """A precision keeps its spelling (``int8 …``); any other first word gets its capital."""
    return (
        sentence
        if sentence[:1].isupper() or sentence.startswith(("int", "fp"))
        else sentence[:1].upper() + sentence[1:]
    )


def _icon(tone: Tone) -> Html:
    paths = {"good": "M7 12.5l3.4 3.4L17.5 9", "warn": "M12 7v6M12 16.5v.1", "bad": "M8.5 8.5l7 7M15.5 8.5l-7 7"}
    style = "fill:none;stroke:currentColor;stroke-width:2;stroke-linecap:round;stroke-linejoin:round"
    return tag(
        "svg",
        join([tag("circle", cx=12, cy=12, r=10, style=style), tag("path", d=paths[tone], style=style)]),
        width=24,
        height=24,
        viewBox="0 0 24 24",
        aria_hidden="true",
    )


_MARK = Html(
    '<svg width="22" height="22" viewBox="0 0 22 22" aria-hidden="true">'
    '<rect x="1" y="1" width="20" height="20" rx="6" style="fill:var(--blue)"/>'
    '<path d="M6 7.5h3l4 7h3M6 14.5h3l4-7h3" style="fill:none;stroke:#fff;stroke-width:1.8"/></svg>'
)
