"""How fast a bundle runs here: engines × threads × batch × precision, measured side by side.

    report = bench(Path("build/rpi4"), threads=(1, 4), batches=(1, 8))
    print(report.text()); report.to_dict()

Every configuration has a fresh process. The processes take turns, a few inferences each, round after round, so that a
slow moment of the machine hits all of them alike: the ratios between them hold even where the times do not.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgekit.errors import BundleError, EdgekitError, EngineError, UsageError
from edgekit.evaluate.bench_report import BenchReport, Measured, OperatorTime
from edgekit.evaluate.workers import Configuration, Talks, WorkerProcess

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Start = Callable[[], Talks]

_ENGINES = {".onnx": ("onnxruntime",), ".tflite": ("litert", "tflite-runtime")}
_FLOORS = {".onnx": "floor.onnx", ".tflite": "floor.tflite"}
# What one loaded runtime may take; how many fit beside each other decides how many take turns.
_WORKER_MB = 200
# A turn lasts about this long: long against the clock and a context switch, short against a slow moment.
_TURN_MS = 40.0
_MOST_PER_TURN = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure: ``rounds`` turns each; a turn discards ``warm`` inferences (the caches are another's)."""

    rounds: int = 15
    warm: int = 1


def bench(
    bundle_path: Path,
    *,
    engines: Sequence[str] | None = None,
    threads: Sequence[int] = (1,),
    batches: Sequence[int] = (1,),
    floor: Path | None = None,
    beside: Sequence[Path] = (),
    operators: bool = False,
    plan: Plan | None = None,
    progress: Progress | None = None,
    start: Start = WorkerProcess,
) -> BenchReport:
    """Measures every model of a bundle in every installed engine that runs it.

    Args:
        bundle_path: a bundle (its hashes are checked), or one ``.onnx`` or ``.tflite`` file.
        engines: names of the engines to use; None takes all that are installed.
        threads: thread counts, each measured.
        batches: images per inference, each measured.
        floor: a folder with ``floor.onnx`` and ``floor.tflite``: the same network's convolutions alone, no split,
            concat, shuffle or pad. They are measured in the same rounds, and each model's ratio to its floor is told.
        beside: further bundles or model files, measured in the same rounds.
        operators: also measure the time per operator, where the engine tells it.
        plan: how long to measure.
        progress: called with (turns done, turns in all).
        start: makes a worker; tests pass their own.

    Raises:
        BundleError, UsageError: nothing here to measure, or thread and batch counts below one.
        EngineError: no engine could run any of it; otherwise a configuration that fails is told in its row.
    """
    if bad := [count for count in (*threads, *batches) if count < 1]:
        raise UsageError(f"{bad[0]} is not a number of threads or images", hint="give 1 or more")
    files = _files(bundle_path, "model")
    if floor is not None:
        files += _floor_files(floor)
    for other in beside:
        files += _files(other, "beside")
    configurations = _configurations(files, engines, threads, batches)
    rows = measure(configurations, plan or Plan(), progress, start)
    if all(row.error for row in rows):
        raise EngineError(f"{bundle_path}: nothing could be measured: {rows[0].error}", hint="see `edgekit doctor`")
    notes, times = _operator_times(rows, bundle_path) if operators else ((), ())
    return BenchReport(tuple(rows), operators=times, notes=notes, machine=_machine())


def measure(
    configurations: Sequence[Configuration], plan: Plan, progress: Progress | None = None, start: Start = WorkerProcess
) -> list[Measured]:
    """One row for each configuration, in order. Those that fit into memory together take turns."""
    rows: list[Measured] = []
    turns, done = len(configurations) * plan.rounds, 0
    together = _fit_together()
    for begin in range(0, len(configurations), together):
        group = configurations[begin : begin + together]

        def step(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done, turns)

        rows += _measure_group(group, plan, step, start)
    return rows


def _measure_group(
    group: Sequence[Configuration], plan: Plan, step: Callable[[int], None], start: Start
) -> list[Measured]:
    rows = {configuration: Measured(configuration) for configuration in group}
    samples: dict[Configuration, list[float]] = {}
    busy: dict[Configuration, list[float]] = {}
    with ExitStack() as stack:
        workers: dict[Configuration, Talks] = {}
        counts: dict[Configuration, int] = {}
        for configuration in group:
            worker = start()
            stack.callback(worker.close)
            try:
                said = worker.ask(
                    do="load",
                    model=configuration.model,
                    engine=configuration.engine,
                    threads=configuration.threads,
                    batch=configuration.batch,
                )
                once = max(1e-3, worker.ask(do="run", count=1, warm=1)["ms"][0])
            except EdgekitError as error:
                rows[configuration] = Measured(configuration, error=error.message)
                step(plan.rounds)
                continue
            workers[configuration] = worker
            counts[configuration] = max(2, min(_MOST_PER_TURN, math.ceil(_TURN_MS / once)))
            rows[configuration] = replace(
                rows[configuration],
                version=said["version"],
                load_ms=said["load_ms"],
                first_ms=said["first_ms"],
                base_mb=said["base_mb"],
            )
        for _ in range(plan.rounds):
            for configuration, worker in list(workers.items()):
                try:
                    said = worker.ask(do="run", count=counts[configuration], warm=plan.warm)
                except EdgekitError as error:
                    rows[configuration] = Measured(configuration, error=error.message)
                    del workers[configuration]
                else:
                    samples.setdefault(configuration, []).extend(said["ms"])
                    busy.setdefault(configuration, []).extend(said["cpu_ms"])
                step(1)
        for configuration, worker in workers.items():
            peak = worker.ask(do="memory")["peak_mb"]
            rows[configuration] = replace(
                rows[configuration], ms=tuple(samples[configuration]), cpu_ms=tuple(busy[configuration]), peak_mb=peak
            )
    return [rows[configuration] for configuration in group]


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    precision: str
    role: str
    name: str = field(default="")


def _files(path: Path, role: str) -> list[_File]:
    from edgekit import bundle

    if path.is_dir():
        opened = bundle.read(path)
        found = [
            _File(path / model.file, model.precision, role, f"{path.name}/{model.file}")
            for model in opened.manifest.models
        ]
        if opened.has("float.onnx") and not any(model.file == "float.onnx" for model in opened.manifest.models):
            found.append(_File(path / "float.onnx", "fp32", "reference", f"{path.name}/float.onnx"))
        return found
    if not path.is_file():
        raise BundleError(f"{path}: no such bundle or model file")
    if path.suffix.lower() not in _ENGINES:
        raise BundleError(f"{path}: not a bundle, an .onnx or a .tflite file")
    return [_File(path, "", role, path.name)]


def _floor_files(folder: Path) -> list[_File]:
    found = [_File(folder / name, "", "floor", name) for name in _FLOORS.values() if (folder / name).is_file()]
    if not found:
        raise UsageError(f"{folder}: holds no floor.onnx or floor.tflite", hint="`edgekit bench --floor` writes them")
    return found


def _configurations(
    files: Iterable[_File], engines: Sequence[str] | None, threads: Sequence[int], batches: Sequence[int]
) -> list[Configuration]:
    from edgekit import engines as runtimes

    if unknown := [name for name in engines or () if name not in runtimes.ENGINES]:
        raise UsageError(f"engine {unknown[0]!r} is not known", hint=f"one of {', '.join(runtimes.ENGINES)}")
    here = runtimes.installed()
    wanted = [name for name in here if engines is None or name in engines]
    every = (
        Configuration(file.path, engine, thread, batch, file.precision, file.role, file.name)
        for batch in batches
        for thread in threads
        for file in files
        for engine in _ENGINES[file.path.suffix.lower()]
        if engine in wanted
    )
    found = list(dict.fromkeys(every))
    if not found:
        raise EngineError("no engine that is installed here runs any of these models", hint="`edgekit doctor` says why")
    return found


def _operator_times(
    rows: Sequence[Measured], bundle_path: Path
) -> tuple[tuple[str, ...], tuple[tuple[Configuration, tuple[OperatorTime, ...]], ...]]:
    from edgekit.evaluate.operators import operator_times

    notes: list[str] = []
    times: list[tuple[Configuration, tuple[OperatorTime, ...]]] = []
    for row in rows:
        what = row.configuration
        if row.error or what.role != "model" or what.threads != rows[0].configuration.threads or what.batch != 1:
            continue
        try:
            times.append((what, operator_times(what.model, what.engine, what.threads)))
        except EngineError as error:
            notes.append(error.message)
    return tuple(notes), tuple(times)


def _fit_together() -> int:
    """How many workers fit into the memory that is free now; at least one."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return max(1, min(24, int(line.split()[1]) // 1024 // _WORKER_MB))
    return 4


def _machine() -> dict[str, str | int]:
    from edgekit.config.machine import Machine

    here = Machine()
    return {"cpu": here.cpu_model, "isa": here.isa, "cores": here.cores, "load_average": f"{os.getloadavg()[0]:.2f}"}
