"""HTML and SVG as values. A string is text until somebody says otherwise, and text is always escaped.

    tag("td", label, class_="name")      → <td class="name">…</td>, whatever the label holds

Labels, file names and messages come from strangers: none of them can open a tag, an attribute or a link.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence


class Html(str):
    """Text that is markup already; only this module and constants make it."""

    __slots__ = ()


Child = str | Html | int | float | None

_VOID = frozenset({"br", "hr", "img", "meta", "path", "rect", "line", "circle", "col"})
# Characters that HTML forbids or that hide or reorder what follows them: controls, surrogates, bidirectional overrides.
_HOSTILE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def text(value: object) -> Html:
    """Anything as escaped text; characters that HTML cannot hold become U+FFFD."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(_HOSTILE.sub("\ufffd", str(value)), quote=True))


def join(children: Iterable[Child]) -> Html:
    return Html("".join(text(child) for child in children if child is not None))


def tag(name: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """One element. ``class_`` is spelled ``class``, ``_`` in other names is ``-``; None and False leave one out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{text(_number(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID and not children:
        return Html(f"<{name}{written}>" if name in ("br", "hr", "img", "meta", "col") else f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def measured(head: Sequence[Child], rows: Sequence[Sequence[Child]]) -> tuple[list[Child], list[list[Child]]]:
    """The columns in which at least one row says something."""
    kept = [i for i in range(len(head)) if any(row[i] is not None for row in rows)]
    return [head[i] for i in kept], [[row[i] for i in kept] for row in rows]


def table(
    head: Iterable[Child], rows: Iterable[Iterable[Child]], *, numbers: int = 1, class_: str | None = None
) -> Html:
    """A table whose columns from number ``numbers`` on are figures (flush right, tabular digits)."""

    def cells(kind: str, row: Iterable[Child]) -> Html:
        return tag(
            "tr", *(tag(kind, cell if cell is not None else "–", class_="num" if i >= numbers else None)
                    for i, cell in enumerate(row))
        )  # fmt: skip

    body = [cells("td", row) for row in rows]
    made = tag("table", tag("thead", cells("th", head)), tag("tbody", *body), class_=class_)
    return tag("div", made, class_="scroll")


def _number(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
