"""One model in one engine in a process of its own, run on command; ``edgekit.evaluate.bench`` starts and talks to it.

A fresh process is what makes load time and peak memory honest: nothing is imported, cached or allocated yet. Commands
are JSON objects, one a line, on standard input; every one is answered by one line on standard output::

    {"do": "load", "model": path, "engine": name, "threads": 2, "batch": 1}
        → {"engine", "version", "threads", "load_ms", "first_ms", "base_mb"}
    {"do": "run", "count": 8, "warm": 1}      → {"ms": [one per counted inference], "cpu_ms": [likewise]}
    {"do": "memory"}                          → {"peak_mb"}

A failure is answered by {"error": class name, "message", "hint"} and ends the process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from edgekit.errors import EdgekitError, EngineError, UsageError


def peak_memory_mb(status: Path = Path("/proc/self/status")) -> float:
    """The largest resident size that this process ever had, MB (10^6 bytes).

    ``VmHWM`` belongs to this program alone; ``getrusage`` may still count what its parent held before ``exec``.
    """
    try:
        for line in status.read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


class Worker:
    """Executes commands; ``load`` must come first."""

    def __init__(self) -> None:
        self._engine: Any = None

    def execute(self, command: dict[str, Any]) -> dict[str, Any]:
        """One command's answer; raises what the engine raises."""
        match command.get("do"):
            case "load":
                return self._load(
                    Path(command["model"]), command["engine"], int(command["threads"]), int(command["batch"])
                )
            case "run":
                taken, busy = self._run(int(command["count"]), int(command.get("warm", 0)))
                return {"ms": taken, "cpu_ms": busy}
            case "memory":
                return {"peak_mb": peak_memory_mb()}
        raise UsageError(f"benchmark worker: unknown command {command!r}")

    def _load(self, model: Path, name: str, threads: int, batch: int) -> dict[str, Any]:
        import numpy as np

        from edgekit import engines

        base = peak_memory_mb()
        start = time.perf_counter()
        engine = engines.open(model, name, threads)
        if batch != 1:
            engine.resize(batch)
        loaded = time.perf_counter()
        # Noise: no kernel skips work for it, and the same bytes every time.
        engine.input[...] = np.random.default_rng(0).integers(0, 256, engine.input.shape, np.uint8)
        begin = time.perf_counter()
        engine.invoke()
        end = time.perf_counter()
        self._engine = engine
        return {
            "engine": engine.name,
            "version": engine.version,
            "threads": engine.threads,
            "load_ms": (loaded - start) * 1e3,
            "first_ms": (end - begin) * 1e3,
            "base_mb": base,
        }

    def _run(self, count: int, warm: int) -> tuple[list[float], list[float]]:
        """Wall time and this process's processor time (all threads) of each counted inference, ms."""
        if self._engine is None:
            raise EngineError("benchmark worker: asked to run before a model was loaded")
        invoke, clock, processor = self._engine.invoke, time.perf_counter, time.process_time
        for _ in range(warm):
            invoke()
        taken, busy = [], []
        for _ in range(count):
            used, start = processor(), clock()
            invoke()
            end = clock()
            taken.append((end - start) * 1e3)
            busy.append((processor() - used) * 1e3)
        return taken, busy


def serve(commands: TextIO, answers: TextIO) -> int:
    """Answers commands until there are no more; returns the process's exit code."""
    worker = Worker()
    for line in commands:
        try:
            answer = worker.execute(json.loads(line))
        except EdgekitError as error:
            answer = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        except MemoryError:
            answer = {"error": "EngineError", "message": "out of memory", "hint": "a smaller batch"}
        print(json.dumps(answer), file=answers, flush=True)
        if "error" in answer:
            return 1
    return 0


def main() -> int:
    # Runtimes write their own notes to standard output; keep the real one for answers alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return serve(sys.stdin, answers)


if __name__ == "__main__":
    raise SystemExit(main())
