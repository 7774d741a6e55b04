"""The choice of engine and threads: the rule on known rows, the cache, and once with real processes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from edgekit.config import Target, load_target
from edgekit.config.machine import Machine
from edgekit.errors import EngineError, VerifyFailed
from edgekit.evaluate.bench import Plan
from edgekit.evaluate.bench_report import Measured
from edgekit.evaluate.tune import cache_folder, choose, remembered, tune
from edgekit.evaluate.workers import Configuration

_spec = importlib.util.spec_from_file_location("evaluate_tiny", Path(__file__).with_name("tiny.py"))
assert _spec is not None and _spec.loader is not None
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


@pytest.fixture
def rpi4() -> Target:
    return load_target("rpi4")


def row(engine: str, threads: int, ms: tuple[float, ...], peak_mb: float = 60.0, error: str | None = None) -> Measured:
    name = "model.onnx" if engine == "onnxruntime" else "model.tflite"
    return Measured(Configuration(Path(name), engine, threads), ms=ms, peak_mb=peak_mb, error=error)


def test_the_least_90th_percentile_wins_over_a_better_median_with_spikes(rpi4: Target) -> None:
    spiky = row("litert", 4, (5.0,) * 8 + (128.0,) * 2)
    steady = row("litert", 2, (8.0,) * 10)
    chosen = choose([row("litert", 1, (15.0,) * 10), steady, spiky], rpi4)
    assert (chosen.engine, chosen.threads, chosen.p90_ms) == ("litert", 2, 8.0)


def test_a_few_percent_are_not_worth_more_threads(rpi4: Target) -> None:
    chosen = choose([row("litert", 1, (10.0,)), row("litert", 2, (9.8,)), row("onnxruntime", 1, (9.9,))], rpi4)
    assert (chosen.engine, chosen.threads) == ("litert", 1)
    assert "only 2.0 % faster" in chosen.reason
    assert choose([row("litert", 1, (10.0,)), row("litert", 2, (9.0,))], rpi4).threads == 2


def test_the_memory_budget_and_failures_rule_out(rpi4: Target) -> None:
    budget = rpi4.budget.memory_mb
    assert budget is not None
    rows = [
        row("onnxruntime", 2, (1.0,), budget + 1),
        row("tflite-runtime", 1, (), error="cannot import"),
        row("litert", 1, (9.0,)),
    ]
    chosen = choose(rows, rpi4)
    assert chosen.engine == "litert"
    assert [c.refused is None for c in chosen.candidates] == [False, False, True]
    assert "the profile allows" in chosen.text() and "cannot import" in chosen.text() and "→" in chosen.text()
    with pytest.raises(EngineError, match="cannot import"):
        choose(rows[:2], rpi4)
    with pytest.raises(EngineError, match="no model"):
        choose([], rpi4)


class FourCores:
    """Counts the workers that are started; every model takes 8 ms divided by its threads."""

    started = 0

    def __init__(self) -> None:
        type(self).started += 1
        self.threads = 1

    def ask(self, **command: Any) -> dict[str, Any]:
        if command["do"] == "load":
            self.threads = command["threads"]
            return {"engine": "e", "version": "1", "threads": 1, "load_ms": 1.0, "first_ms": 1.0, "base_mb": 1.0}
        return {"ms": [8.0 / self.threads], "cpu_ms": [8.0]} if command["do"] == "run" else {"peak_mb": 50.0}

    def close(self) -> None:
        pass


class Board(Machine):
    cores = 4
    cpu_model = "cortex-a72"


def test_a_choice_is_remembered_per_cpu_versions_and_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit import bundle, engines

    built = tiny.write_bundle(tmp_path / "bundle")
    monkeypatch.setattr(engines, "installed", lambda: {"onnxruntime": "1.31.1"})
    FourCores.started = 0
    settings: dict[str, Any] = {
        "machine": Board(),
        "cache": tmp_path / "cache",
        "start": FourCores,
        "plan": Plan(rounds=1),
    }
    sha = bundle.read(built).sha256
    assert remembered(sha, machine=Board(), cache=tmp_path / "cache") is None
    first = tune(built, **settings)
    most = load_target("rpi4").threads
    assert (first.engine, first.threads, first.cached) == ("onnxruntime", most, False)
    started = FourCores.started
    assert started == most
    second = tune(built, **settings)
    assert second.cached and (second.engine, second.threads) == (first.engine, first.threads)
    assert "measured earlier" in second.text()
    assert FourCores.started == started
    again = remembered(sha, machine=Board(), cache=tmp_path / "cache")
    assert again is not None and again.threads == most
    assert not tune(built, again=True, **settings).cached

    class OtherBoard(Board):
        cpu_model = "cortex-a76"

    assert remembered(sha, machine=OtherBoard(), cache=tmp_path / "cache") is None
    assert remembered("0" * 64, machine=Board(), cache=tmp_path / "cache") is None
    monkeypatch.setattr(engines, "installed", lambda: {"onnxruntime": "1.32.0"})
    assert remembered(sha, machine=Board(), cache=tmp_path / "cache") is None


def test_a_damaged_memory_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit import engines

    built = tiny.write_bundle(tmp_path / "bundle")
    monkeypatch.setattr(engines, "installed", lambda: {"onnxruntime": "1.31.1"})
    settings: dict[str, Any] = {
        "machine": Board(),
        "cache": tmp_path / "cache",
        "start": FourCores,
        "plan": Plan(rounds=1),
    }
    tune(built, **settings)
    (file,) = (tmp_path / "cache").glob("*.json")
    for damage in ("{", "[]", '{"limits": 1, "tuned": {}}', "null"):
        file.write_text(damage)
        assert not tune(built, **settings).cached
    assert json.loads(file.read_text())["tuned"]["engine"] == "onnxruntime"
    assert list((tmp_path / "cache").iterdir()) == [file]


def test_a_cache_that_cannot_be_written_does_not_stop_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit import engines

    built = tiny.write_bundle(tmp_path / "bundle")
    monkeypatch.setattr(engines, "installed", lambda: {"onnxruntime": "1.31.1"})
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert (
        tune(built, machine=Board(), cache=tmp_path / "cache", start=FourCores, plan=Plan(rounds=1)).engine
        == "onnxruntime"
    )


def test_no_engine_of_the_target_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit import engines

    built = tiny.write_bundle(tmp_path / "bundle")
    monkeypatch.setattr(engines, "installed", dict)
    with pytest.raises(EngineError, match="none of the target's engines"):
        tune(built, cache=tmp_path / "cache", start=FourCores)


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    built = tiny.write_bundle(tmp_path / "bundle")
    (built / "model.onnx").write_bytes(b"x")
    with pytest.raises(VerifyFailed):
        tune(built, cache=tmp_path / "cache", start=FourCores)


def test_the_cache_folder_follows_xdg() -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/var/cache/me"}) == Path("/var/cache/me/edgekit/tune")
    assert (
        cache_folder({"XDG_CACHE_HOME": "relative"}) == cache_folder({}) == Path.home() / ".cache" / "edgekit" / "tune"
    )


def test_with_real_processes(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    built = tiny.write_bundle(tmp_path / "bundle")
    tuned = tune(built, cache=tmp_path / "cache", plan=Plan(rounds=2))
    assert tuned.engine == "onnxruntime" and tuned.p90_ms > 0
    assert tune(built, cache=tmp_path / "cache").cached
