"""Writes docs/commands.md from the command line itself: ``python -m tests.docs.commands docs/commands.md``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Before typer is imported: the help of a terminal of this width, whatever the real one is.
os.environ["COLUMNS"] = os.environ["TERMINAL_WIDTH"] = "110"
os.environ["NO_COLOR"] = "1"

from typer.main import get_command

from edgekit.cli.app import app


def pages() -> Iterator[str]:
    """The help of every command, depth first, as Markdown."""
    yield "# Commands\n\nWritten by `make docs` from `--help`; a test fails when it is out of date."
    yield from _pages(get_command(app), ("edgekit",))


def _pages(command: object, words: tuple[str, ...]) -> Iterator[str]:
    context = command.make_context(words[-1], [], resilient_parsing=True)  # type: ignore[attr-defined]
    context.info_name = " ".join(words)
    context.terminal_width = context.max_content_width = 110
    yield f"## {' '.join(words)}\n\n```text\n{command.get_help(context).strip()}\n```"  # type: ignore[attr-defined]
    for name, below in getattr(command, "commands", {}).items():
        yield from _pages(below, (*words, name))


def text() -> str:
    return "\n\n".join(pages()) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(), encoding="utf-8")
