"""The benchmark: turns, rows, ratios and failures with workers that tell known times, and once with real processes."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import BundleError, EngineError, GraphError, UsageError
from edgekit.evaluate import bench as bench_module
from edgekit.evaluate.bench import Plan, bench, measure
from edgekit.evaluate.bench_report import BenchReport, Measured, OperatorTime
from edgekit.evaluate.bench_worker import peak_memory_mb, serve
from edgekit.evaluate.operators import from_litert, from_trace, operator_times
from edgekit.evaluate.workers import Configuration, WorkerProcess

_spec = importlib.util.spec_from_file_location("evaluate_tiny", Path(__file__).with_name("tiny.py"))
assert _spec is not None and _spec.loader is not None
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


class ScriptedWorker:
    """Tells the time that ``costs`` holds for its model, and writes every turn into ``log``."""

    log: list[str] = []  # noqa: RUF012 (cleared by the fixture)
    costs: dict[str, float] = {"fast.onnx": 2.0, "slow.onnx": 5.0, "floor.onnx": 1.6}  # noqa: RUF012
    living = 0

    def __init__(self) -> None:
        self.model = ""
        self.closed = False
        type(self).living += 1

    def ask(self, **command: Any) -> dict[str, Any]:
        if command["do"] == "load":
            self.model = Path(command["model"]).name
            if self.model == "broken.onnx":
                raise GraphError("broken.onnx: cannot be loaded")
            return {
                "engine": "onnxruntime",
                "version": "1.0",
                "threads": 1,
                "load_ms": 30.0,
                "first_ms": 9.0,
                "base_mb": 20.0,
            }
        if command["do"] == "run":
            self.log.append(self.model)
            if self.model == "dies.onnx" and len(self.log) > 6:
                raise EngineError("the engine's process ended by signal 9")
            ms = self.costs.get(self.model, 3.0)
            return {"ms": [ms] * command["count"], "cpu_ms": [ms] * command["count"]}
        return {"peak_mb": 70.0}

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        type(self).living -= 1


@pytest.fixture(autouse=True)
def _clean() -> None:
    ScriptedWorker.log.clear()
    ScriptedWorker.living = 0


def configuration(name: str, role: str = "model", **more: Any) -> Configuration:
    return Configuration(Path(name), "onnxruntime", role=role, name=name, precision="int8", **more)


def test_configurations_take_turns_round_by_round() -> None:
    steps: list[tuple[int, int]] = []
    rows = measure(
        [configuration("fast.onnx"), configuration("slow.onnx")],
        Plan(rounds=3),
        lambda done, total: steps.append((done, total)),
        ScriptedWorker,
    )
    turns = ScriptedWorker.log[2:]  # after one probing run each
    assert turns == ["fast.onnx", "slow.onnx"] * 3
    assert steps[-1] == (6, 6)
    assert ScriptedWorker.living == 0
    assert [row.p50 for row in rows] == [2.0, 5.0]
    # About 40 ms a turn: 20 inferences of 2 ms, 8 of 5 ms.
    assert [len(row.ms) for row in rows] == [60, 24]


def test_a_model_that_fails_is_told_in_its_row_and_the_others_go_on() -> None:
    rows = measure(
        [configuration("broken.onnx"), configuration("fast.onnx"), configuration("dies.onnx")],
        Plan(rounds=4),
        None,
        ScriptedWorker,
    )
    assert rows[0].error == "broken.onnx: cannot be loaded"
    assert rows[1].error is None and rows[1].peak_mb == 70.0
    assert rows[2].error is not None and "signal 9" in rows[2].error
    assert ScriptedWorker.living == 0


def test_little_memory_measures_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_module, "_fit_together", lambda: 1)
    rows = measure([configuration("fast.onnx"), configuration("slow.onnx")], Plan(rounds=2), None, ScriptedWorker)
    assert ScriptedWorker.log == ["fast.onnx"] * 3 + ["slow.onnx"] * 3
    assert [row.p50 for row in rows] == [2.0, 5.0]


def report() -> BenchReport:
    names = [("fast.onnx", "model"), ("slow.onnx", "beside"), ("floor.onnx", "floor"), ("broken.onnx", "model")]
    rows = measure([configuration(name, role) for name, role in names], Plan(rounds=2), None, ScriptedWorker)
    times = ((rows[0].configuration, (OperatorTime("Conv", 56, 1.5, 0.75), OperatorTime("Concat", 16, 0.5, 0.25))),)
    return BenchReport(tuple(rows), times, ("litert: tells nothing",), {"cpu": "cortex-a72", "cores": 4})


def test_the_json_object() -> None:
    data = json.loads(json.dumps(report().to_dict(), allow_nan=False))
    row = data["rows"][0]
    assert row["latency_ms"] == {"p50": 2.0, "p90": 2.0, "p99": 2.0}
    assert row["images_per_s"] == 500.0
    assert row["times_floor"] == 1.25
    assert row["runtime_mb"] == 50.0
    assert "times_floor" not in data["rows"][2]
    assert data["rows"][3]["error"] == "broken.onnx: cannot be loaded"
    assert data["operators"][0]["operators"][0] == {"operator": "Conv", "count": 56, "ms": 1.5, "share": 0.75}


def test_the_table_ranks_and_aligns() -> None:
    found = report()
    best = found.best()
    assert best is not None and best.configuration.name == "fast.onnx"
    lines = found.text().splitlines()
    assert lines[0].split()[:3] == ["model", "engine", "prec"]
    assert [line.split()[0] for line in lines[1:4]] == ["floor.onnx", "fast.onnx", "slow.onnx"]
    assert lines[2].endswith("1.00    1.25") and "2.50" in lines[3]
    assert len({len(line) for line in lines[2:4]}) == 1
    assert "broken.onnx: cannot be loaded" in found.text()
    assert "Conv" in found.text() and "75.0" in found.text()


def test_on_a_busy_machine_ratios_are_of_processor_time() -> None:
    def row(name: str, wall: float, processor: float) -> Measured:
        return Measured(configuration(name), ms=(wall, wall, 3 * wall), cpu_ms=(processor,) * 3)

    busy = BenchReport((row("slow.onnx", 9.0, 5.0), row("fast.onnx", 10.0, 2.0)))
    assert busy.crowded() and "busy with other work" in busy.text()
    best = busy.best()
    assert best is not None and best.configuration.name == "fast.onnx"
    assert [line.split()[-1] for line in busy.text().splitlines()[1:3]] == ["1.00", "2.50"]
    quiet = BenchReport((row("fast.onnx", 2.1, 2.0),))
    assert not quiet.crowded()
    threaded = Measured(configuration("fast.onnx", threads=4), ms=(1.0,), cpu_ms=(3.6,))
    assert threaded.cost == 1.0 and not BenchReport((threaded,)).crowded()


def test_throughput_counts_the_batch() -> None:
    row = Measured(Configuration(Path("m.onnx"), "onnxruntime", batch=8), ms=(16.0, 16.0))
    assert row.images_per_second == 500.0


@pytest.mark.parametrize("wrong", [{"threads": (0,)}, {"batches": (1, -1)}, {"engines": ["tensorrt"]}])
def test_wrong_requests(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        bench(tiny.write_onnx(tmp_path / "m.onnx"), start=ScriptedWorker, **wrong)


def test_wrong_paths(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such"):
        bench(tmp_path / "absent.onnx")
    (tmp_path / "m.txt").write_text("x")
    with pytest.raises(BundleError, match="not a bundle"):
        bench(tmp_path / "m.txt")
    with pytest.raises(UsageError, match=r"floor\.onnx"):
        bench(tiny.write_onnx(tmp_path / "m.onnx"), floor=tmp_path / "nothing")


def test_real_processes_measure_a_real_model(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = tiny.write_onnx(tmp_path / "m.onnx")
    (tmp_path / "floor").mkdir()
    tiny.write_onnx(tmp_path / "floor" / "floor.onnx")
    found = bench(
        model, batches=(1, 4), engines=["onnxruntime"], floor=tmp_path / "floor", operators=True, plan=Plan(rounds=3)
    )
    assert [(r.configuration.role, r.configuration.batch) for r in found.rows] == [
        ("model", 1),
        ("floor", 1),
        ("model", 4),
        ("floor", 4),
    ]
    for row in found.rows:
        assert row.error is None
        assert 0 < row.p50 <= row.percentile(90) <= row.percentile(99)
        assert row.load_ms > 1 and row.first_ms > 0
        assert row.peak_mb > row.base_mb > 5
        assert found.times_floor(row) is None or 0.2 < (found.times_floor(row) or 0) < 5
    ((_, times),) = found.operators
    assert {"Transpose", "Cast"} <= {time.operator for time in times}
    assert sum(time.share for time in times) == pytest.approx(1)


def test_a_damaged_model_is_an_error_with_the_engines_reason(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(EngineError, match="nothing could be measured"):
        bench(tmp_path / "m.onnx", plan=Plan(rounds=1))


def test_a_worker_that_is_killed_is_an_error_that_names_the_signal() -> None:
    with WorkerProcess() as worker:
        worker._process.kill()
        with pytest.raises(EngineError, match="signal 9"):
            worker.ask(do="memory")


def test_the_worker_answers_errors_as_objects_and_stops() -> None:
    answers = io.StringIO()
    commands = io.StringIO('{"do": "memory"}\n{"do": "run", "count": 1}\n{"do": "memory"}\n')
    assert serve(commands, answers) == 1
    said = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert said[0]["peak_mb"] > 5
    assert said[1]["error"] == "EngineError"
    assert len(said) == 2


def test_peak_memory_is_read_from_the_status_file(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tpython\nVmHWM:\t   50000 kB\nVmRSS:\t 40000 kB\n")
    assert peak_memory_mb(tmp_path / "status") == pytest.approx(51.2)
    assert peak_memory_mb(tmp_path / "absent") > 5


def test_a_trace_is_summed_by_operator_without_the_first_run() -> None:
    def event(node: str, op: str, dur: int) -> dict[str, Any]:
        return {"cat": "Node", "name": f"{node}_kernel_time", "dur": dur, "args": {"op_name": op}}

    events = [
        {"cat": "Session", "name": "model_run", "dur": 9999},
        *[event("a", "Conv", dur) for dur in (900, 100, 200)],
        *[event("b", "Conv", dur) for dur in (900, 50, 50)],
        *[event("c", "Concat", dur) for dur in (900, 100, 100)],
        {"cat": "Node", "name": "a_fence_before", "dur": 5000, "args": {"op_name": "Conv"}},
    ]
    conv, concat = from_trace(events)
    assert (conv.operator, conv.count, conv.ms, conv.share) == ("Conv", 2, pytest.approx(0.2), pytest.approx(2 / 3))
    assert (concat.operator, concat.ms) == ("Concat", pytest.approx(0.1))


def test_an_engine_that_tells_no_operator_times(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="tells no time per operator"):
        operator_times(tmp_path / "m.tflite", "tflite-runtime")


def test_litert_events_are_summed_by_operator_with_each_nodes_median() -> None:
    events = [("Conv", 1, 100), ("Conv", 2, 10), ("Pad", 3, 30), ("Conv", 1, 900), ("Conv", 2, 10), ("Pad", 3, 30)]
    conv, pad = from_litert([*events, *events[:3]])
    assert (conv.operator, conv.count, conv.ms) == ("Conv", 2, pytest.approx(0.11))
    assert (pad.operator, pad.share) == ("Pad", pytest.approx(0.03 / 0.14))


def test_litert_tells_the_time_of_its_operators() -> None:
    pytest.importorskip("ai_edge_litert")
    times = operator_times(Path(__file__).parent.parent / "support" / "models" / "tiny.tflite", "litert")
    assert sum(time.count for time in times) >= 3
    assert any("Convolution" in time.operator for time in times)


def test_litert_that_cannot_tell_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "broken.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(64))
    with pytest.raises(EngineError, match=r"tells no time per operator of broken\.tflite"):
        operator_times(tmp_path / "broken.tflite", "litert")
