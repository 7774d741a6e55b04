"""``--telemetry FILE.jsonl``: the same lines as ``run --json`` in a file that never outgrows its bounds."""

from __future__ import annotations

import errno
import json
import logging
import time
from pathlib import Path
from typing import IO, Any

from edgekit.errors import StorageError
from edgekit.runtime.frames import Image
from edgekit.runtime.results import Event, Health, Result, Session, SourceDown, SourceUp, Summary, iso_time
from edgekit.runtime.sinks.base import Sink

_log = logging.getLogger(__name__)

_encode = json.JSONEncoder(ensure_ascii=False).encode

_FLUSH_S = 1.0
_RETRY_S = 10.0


class JsonlFile(Sink):
    """Results, events and the summary, a JSON object a line.

    When the file would grow over ``max_bytes`` it becomes ``FILE.1``, what was that ``FILE.2``, and the oldest beyond
    ``keep`` goes: all together never take more than ``max_bytes × (keep + 1)``. A full disk stops the writing, says so
    once, and is tried again every few seconds; the loop does not notice.

    Args:
        clock: ``time.monotonic``, or a stand-in for tests.
    """

    def __init__(self, path: Path, *, max_bytes: int = 16 << 20, keep: int = 3, clock: Any = time.monotonic) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._clock = clock
        self._file: IO[bytes] | None = None
        self._size = 0
        self._session: Session | None = None
        self._flushed_at = 0.0
        self._retry_at: float | None = None
        self.lost = 0  # lines that could not be written

    def start(self, session: Session) -> None:
        """Raises StorageError: the file cannot be opened for appending."""
        self._session = session
        try:
            self._open()
        except OSError as error:
            raise StorageError(
                f"{self._path}: telemetry cannot be written: {error.strerror}", hint="choose another --telemetry file"
            ) from error

    def result(self, result: Result, image: Image) -> None:
        if self._session is not None:
            self._write_line(result.to_json(self._session))

    def event(self, event: Event) -> None:
        name = self._session.cameras[event.camera] if self._session and not isinstance(event, Health) else ""
        now = iso_time(time.time())
        if isinstance(event, SourceUp):
            self._write({"event": "source up", "time": now, "camera": name, "obtained": event.obtained})
        elif isinstance(event, SourceDown):
            self._write({"event": "source down", "time": now, "camera": name, "reason": event.reason})

    def idle(self) -> None:
        if self._clock() - self._flushed_at >= _FLUSH_S:
            self._flush()

    def finish(self, summary: Summary) -> None:
        self._retry_at = None if self._retry_at is None else 0.0
        self._write({"summary": summary.to_dict()})

    def close(self) -> None:
        if self._file is not None:
            self._flush()
            file, self._file = self._file, None
            if file is not None:
                _close_quietly(file)
        if self.lost:
            _log.warning("%s: %d lines of telemetry were lost", self._path, self.lost)

    def _write(self, line: object) -> None:
        self._write_line(_encode(line))

    def _write_line(self, line: str) -> None:
        data = line.encode() + b"\n"
        now = self._clock()
        if self._retry_at is not None and now < self._retry_at:
            self.lost += 1
            return
        try:
            if self._file is None:
                self._open()
            if self._size and self._size + len(data) > self._max_bytes:
                self._rotate()
            assert self._file is not None  # noqa: S101 (_open sets it or raises)
            self._file.write(data)
            self._size += len(data)
            if self._retry_at is not None or now - self._flushed_at >= _FLUSH_S:
                self._file.flush()
                self._flushed_at = now
            if self._retry_at is not None:
                _log.warning("%s: telemetry is written again", self._path)
                self._retry_at = None
        except OSError as error:
            self.lost += 1
            self._failed(error)

    def _flush(self) -> None:
        if self._file is None:
            return
        try:
            self._file.flush()
            self._flushed_at = self._clock()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if self._retry_at is None:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            _log.warning(
                "%s: telemetry stops until there is room: %s",
                self._path,
                "the disk is full" if full else error.strerror,
            )
        self._retry_at = self._clock() + _RETRY_S
        file, self._file = self._file, None
        if file is not None:
            _close_quietly(file)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("ab", buffering=64 << 10)
        self._size = file.tell()
        self._file = file
        if self._size and not _ends_in_newline(self._path):  # the last line was cut by a crash or a full disk
            file.write(b"\n")
            self._size += 1

    def _rotate(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
        for number in range(self._keep, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if self._keep == 0:
            self._path.unlink(missing_ok=True)
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _close_quietly(file: IO[bytes]) -> None:
    try:
        file.close()
    except OSError as error:
        _log.debug("closing telemetry failed: %s", error)
