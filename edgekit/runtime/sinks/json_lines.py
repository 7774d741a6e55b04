"""``run --json``: one object a result on a text stream, and the summary last."""

from __future__ import annotations

import json
from typing import TextIO

from edgekit.runtime.frames import Image
from edgekit.runtime.results import Result, Session, Summary
from edgekit.runtime.sinks.base import Sink


class JsonLines(Sink):
    """Args: stream: where lines go, each written and flushed at once, so that a pipe sees every answer as it comes."""

    essential = True

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._session: Session | None = None

    def start(self, session: Session) -> None:
        self._session = session

    def result(self, result: Result, image: Image) -> None:
        if self._session is not None:
            self._write(result.to_json(self._session))

    def finish(self, summary: Summary) -> None:
        self._write(json.dumps({"summary": summary.to_dict()}, ensure_ascii=False))

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
