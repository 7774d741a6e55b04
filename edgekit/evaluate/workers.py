"""Child processes that hold one engine each; see ``edgekit.evaluate.bench_worker`` for what they are told."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from edgekit import errors
from edgekit.errors import EdgekitError, EngineError

# Loading takes seconds on a Zero 2 W and minutes under emulation; longer than this is a hang.
_ANSWER_TIMEOUT_S = 300.0
_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Configuration:
    """One thing to measure. ``role`` is "model", "floor" or "beside"; ``precision`` as the manifest tells it."""

    model: Path
    engine: str
    threads: int = 1
    batch: int = 1
    precision: str = ""
    role: str = "model"
    name: str = ""


def child_environment() -> dict[str, str]:
    """This process's environment, in which a child finds this same edgekit, wherever it was started."""
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class Talks(Protocol):
    """A worker as the benchmark sees it."""

    def ask(self, **command: Any) -> dict[str, Any]:
        """One command, one answer.

        Raises:
            EdgekitError: what the engine raised.
            EngineError: the process ended without an answer.
        """
        ...

    def close(self) -> None: ...


class WorkerProcess:
    """A fresh Python process that holds one engine. Close it, or use it as a context manager."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed below)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgekit.evaluate.bench_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=child_environment(),
        )

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101 (both are pipes)
        alarm = threading.Timer(_ANSWER_TIMEOUT_S, self._process.kill)
        alarm.start()
        try:
            self._process.stdin.write(json.dumps(command, default=str) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            alarm.cancel()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            kind = getattr(errors, answer["error"], EngineError)
            wanted = kind if isinstance(kind, type) and issubclass(kind, EdgekitError) else EngineError
            raise wanted(answer["message"], hint=answer.get("hint"))
        return answer

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _died(self) -> EngineError:
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        last = said[-1][:_SHOWN_CHARACTERS] if said else "it said nothing"
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return EngineError(
            f"the engine's process ended by {how}: {last}",
            hint="signal 4 is an instruction that this CPU lacks, 9 too little memory; `edgekit doctor` says more",
        )
