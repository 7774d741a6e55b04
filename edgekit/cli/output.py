"""What commands say: one JSON object or text on stdout, progress and logs on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

INTERRUPTED = 130  # exit code: 128 + SIGINT, as shells have it
_BAR = 24
_EVERY_S = 0.1


def say(text: str) -> None:
    """A result, on stdout."""
    typer.echo(text)


def note(text: str) -> None:
    """A remark, on stderr."""
    typer.echo(text, err=True)


def answer(data: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """The answer of a command: ``data`` as one JSON object, or ``text``."""
    say(json.dumps(data, ensure_ascii=False, allow_nan=False) if as_json else text)


class Progress:
    """Shows stages and their progress on stderr where that is a terminal; says nothing elsewhere.

    Also callable with (done, total), for steps that have no stages.
    """

    def __init__(self, title: str = "") -> None:
        self._live = sys.stderr.isatty()
        self._stage = title
        self._shown = 0.0

    def begin(self, stage: str) -> None:
        self._stage = stage
        self._draw(stage)

    def progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._live and total > 0 and (now - self._shown >= _EVERY_S or done == total):
            self._shown = now
            full = round(_BAR * done / total)
            self._draw(f"{self._stage:<18} {'█' * full}{'░' * (_BAR - full)} {done}/{total}")

    __call__ = progress

    def end(self, stage: str, seconds: float) -> None:
        if self._live:
            self._draw(f"{stage:<18} {seconds:6.1f} s\n")

    def done(self) -> None:
        """Clears the line."""
        self._draw("")

    def _draw(self, line: str) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[2K{line}")
            sys.stderr.flush()
