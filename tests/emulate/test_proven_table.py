"""docs/proven.md is written row by row, and the README tells the same in a few columns."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROW = ("net", "rpi4 (cortex-a72)", "litert 2.3.0", "32", "32", "0", "2", "proven")


@pytest.fixture(scope="module")
def table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("proven_table", Path(__file__).with_name("table.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules["proven_table"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_tells_what_was_proven(table: ModuleType, project_root: Path) -> None:
    rows = table.parse((project_root / "docs" / "proven.md").read_text())
    readme = (project_root / "README.md").read_text()
    assert len(rows) >= 7
    assert readme == table.put(readme, table.compact(rows)), "run `make docs`"


def test_every_cell_is_proven_as_the_readme_says(table: ModuleType, project_root: Path) -> None:
    rows = table.parse((project_root / "docs" / "proven.md").read_text())
    assert "Where the lead of the best class exceeded" in (project_root / "README.md").read_text()
    assert [row for row in rows if row.verdict != table.PROVEN] == []


def test_rows_are_read_as_they_are_written(table: ModuleType) -> None:
    rows = [table.Row(*ROW), table.Row(*ROW[:7], "refused: litert: golden 3 is 9 steps away")]
    assert table.parse(table.markdown(rows)) == rows


def test_new_rows_replace_those_of_their_cell_and_leave_the_rest(table: ModuleType, tmp_path: Path) -> None:
    document = tmp_path / "proven.md"
    first, other = table.Row(*ROW), table.Row("other", *ROW[1:])
    document.write_text(
        table.put("# Title\n\n<!-- proven --><!-- /proven -->\n\nAfter.\n", table.markdown([first, other]))
    )
    table.merge(document, [table.Row(*ROW[:2], "litert 2.4.0", *ROW[3:5], "1", *ROW[6:])])
    text = document.read_text()
    assert text.startswith("# Title\n") and text.endswith("\n\nAfter.\n")
    assert [(row.network, row.engine, row.worst) for row in table.parse(text)] == [
        ("net", "litert 2.4.0", "1"),
        ("other", "litert 2.3.0", "0"),
    ]


def test_a_refused_or_failed_cell_shows_in_the_summary(table: ModuleType) -> None:
    rows = [
        table.Row(*ROW),
        table.Row(*ROW[:2], "onnxruntime 1.31.1", "–", "–", "–", "–", "failed: no network"),
        table.Row("other", *ROW[1:5], "9", "2", "refused: golden 3"),
    ]
    assert table.compact(rows).splitlines()[2:] == ["| net | 0 | **failed** |", "| other | **refused** | – |"]
