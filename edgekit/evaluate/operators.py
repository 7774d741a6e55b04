"""Which operators take the time, as far as an engine tells."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from edgekit.errors import EngineError
from edgekit.evaluate.bench_report import OperatorTime
from edgekit.evaluate.workers import child_environment

_RUNS = 40
_TIMEOUT_S = 120


def operator_times(model: Path, engine: str, threads: int = 1) -> tuple[OperatorTime, ...]:
    """Time per kind of operator in one inference, longest first.

    Measuring adds about a microsecond a node, and LiteRT counts whole microseconds: compare shares and kinds, and take
    the inference's own time from the benchmark. Each node counts with its median over the runs.

    Raises:
        EngineError: this engine tells no operator's time, or failed.
    """
    if engine == "onnxruntime":
        return _onnxruntime(model, threads)
    if engine == "litert":
        return _litert(model, threads)
    raise EngineError(f"{engine}: tells no time per operator of {model.name}")


def _onnxruntime(model: Path, threads: int) -> tuple[OperatorTime, ...]:
    from edgekit.engines import onnxruntime

    with tempfile.TemporaryDirectory(prefix="edgekit-profile-") as folder:
        engine = onnxruntime.load(model, threads, Path(folder) / "trace")
        for _ in range(_RUNS):
            engine.invoke()
        engine.close()
        traces = sorted(Path(folder).glob("trace*.json"))
        if not traces:
            raise EngineError("onnxruntime: wrote no trace of its operators")
        events = json.loads(traces[-1].read_text("utf-8"))
    return from_trace(events)


def from_trace(events: Iterable[Mapping[str, Any]]) -> tuple[OperatorTime, ...]:
    """Sums ONNX Runtime's trace events of category ``Node`` by operator; durations in the trace are microseconds.

    Each node's first run warms up and is left out.
    """
    by_node: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            by_node[str(event.get("args", {}).get("op_name", "?")), name].append(float(event["dur"]))
    times: dict[str, list[float]] = defaultdict(list)
    for (operator, _), runs in by_node.items():
        counted = runs[1:] or runs
        times[operator].append(median(counted) / 1e3)
    return ranked(times)


def _litert(model: Path, threads: int) -> tuple[OperatorTime, ...]:
    command = [sys.executable, "-m", "edgekit.evaluate.litert_profile", str(model), str(threads), str(_RUNS)]
    try:
        child = subprocess.run(  # noqa: S603 (our own module)
            command, env=child_environment(), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"litert: measuring the operators of {model.name} took too long") from error
    if child.returncode != 0:
        said = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise EngineError(f"litert: this release tells no time per operator of {model.name}: {said}")
    return from_litert(json.loads(child.stdout))


def from_litert(events: Iterable[tuple[str, int, int]]) -> tuple[OperatorTime, ...]:
    """Sums (operator, node, microseconds) by operator; a node shows up once a run."""
    by_node: dict[tuple[str, int], list[float]] = defaultdict(list)
    for operator, node, elapsed_us in events:
        by_node[operator, node].append(elapsed_us)
    times: dict[str, list[float]] = defaultdict(list)
    for (operator, _), runs in by_node.items():
        times[operator].append(median(runs) / 1e3)
    return ranked(times)


def ranked(times: Mapping[str, list[float]]) -> tuple[OperatorTime, ...]:
    """Operator → ms of each of its nodes, as rows, longest first."""
    total = sum(sum(own) for own in times.values()) or 1.0
    rows = [OperatorTime(operator, len(own), sum(own), sum(own) / total) for operator, own in times.items()]
    return tuple(sorted(rows, key=lambda row: -row.ms))
