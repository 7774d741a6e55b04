"""A short latency and memory sample of one engine, in a process of its own so that its peak memory is its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgekit import engines
from edgekit.evaluate.verify_report import Sample
from edgekit.evaluate.workers import WorkerProcess

# Enough for a p95, and under a second on a Pi 4 (about 20 ms each).
_INFERENCES, _WARM = 40, 3


def take(bundle: Path, engine: str, threads: int) -> Sample:
    """Milliseconds of one inference (p50, p95) and peak resident memory in MB.

    Raises:
        EngineError: the engine failed, or its process died.
    """
    with WorkerProcess() as worker:
        model = bundle / engines.ENGINES[engine].model
        worker.ask(do="load", model=model, engine=engine, threads=threads, batch=1)
        taken = worker.ask(do="run", count=_INFERENCES, warm=_WARM)["ms"]
        peak = worker.ask(do="memory")["peak_mb"]
    p50, p95 = np.percentile(taken, (50, 95))
    return Sample(float(p50), float(p95), float(peak), threads)
