"""The table of docs/proven.md: read, written, and told in a few columns for the README.

python -m tests.emulate.table docs/proven.md README.md     brings the README up to date
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

PROVEN = "proven"
HEAD = ("network", "target (core)", "engine", "goldens", "top-1 equal", "worst, steps", "allowed", "")
BEGIN, END = "<!-- proven -->", "<!-- /proven -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One engine on one board with one network, as it is written. ``worst``: the largest difference of any score from
    the recorded x86 answer, in quantization steps."""

    network: str
    target: str
    engine: str
    goldens: str
    same_top1: str
    worst: str
    allowed: str
    verdict: str

    @property
    def cell(self) -> tuple[str, str, str]:
        return self.network, self.target, self.engine.partition(" ")[0]

    def markdown(self) -> str:
        return "| " + " | ".join(text.replace("|", "/").replace("\n", " ") for text in astuple(self)) + " |"


def markdown(rows: Iterable[Row]) -> str:
    return "\n".join([_line(HEAD), _line(["---"] * len(HEAD)), *(row.markdown() for row in rows)]) + "\n"


def parse(document: str) -> list[Row]:
    """The rows between the marks of a document; of the whole text where it has none."""
    rows = []
    for line in _between(document).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == len(HEAD) and tuple(cells) != HEAD and set(cells[0]) != {"-"}:
            rows.append(Row(*cells))
    return rows


def merge(path: Path, fresh: Sequence[Row]) -> None:
    """Puts rows into a document's table in place of those of the same cells; other rows stay, in their order."""
    text = path.read_text("utf-8") if path.is_file() else f"{BEGIN}\n{END}\n"
    known = {row.cell: row for row in parse(text)}
    both = {**known, **{row.cell: row for row in fresh}}
    path.write_text(put(text, markdown(both.values())), "utf-8")


def put(document: str, table: str) -> str:
    """A document with another table between its marks."""
    before, _, rest = document.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}{END}{rest.partition(END)[2]}"


def compact(rows: Sequence[Row]) -> str:
    """One line a network, one column a board and engine: the largest difference, or what came instead of it."""
    columns = list(dict.fromkeys((row.target, row.engine.partition(" ")[0]) for row in rows))
    names = [f"{target.partition(' ')[0]} {engine}" for target, engine in columns]
    lines = [_line(["worst difference from x86, steps", *names]), _line(["---", *["---:"] * len(columns)])]
    by_cell = {row.cell: row for row in rows}
    for network in dict.fromkeys(row.network for row in rows):
        found = [by_cell.get((network, *column)) for column in columns]
        lines.append(_line([network, *(_cell(row) for row in found)]))
    return "\n".join(lines) + "\n"


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    return row.worst if row.verdict == PROVEN else f"**{row.verdict.partition(':')[0]}**"


def _between(document: str) -> str:
    return document.partition(BEGIN)[2].partition(END)[0] if BEGIN in document else document


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    readme = Path(sys.argv[2])
    rows = parse(Path(sys.argv[1]).read_text("utf-8"))
    readme.write_text(put(readme.read_text("utf-8"), compact(rows)), "utf-8")
