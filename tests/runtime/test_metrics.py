"""Prometheus metrics: their names, what they count, a real server that scrapes them, and the dashboard's queries."""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from rt_help import PICTURE, SESSION, Daemon, Running, a_result, free_port, wait_until

from edgekit.errors import UsageError
from edgekit.runtime.fakes import FakeSource, fake_spec, solid
from edgekit.runtime.health import ScriptedHealth
from edgekit.runtime.results import Dropped, Health, SourceDown, SourceUp
from edgekit.runtime.sinks.metrics import Metrics

DASHBOARD = Path(__file__).parents[2] / "edgekit/runtime/grafana/edgekit.json"


def started(session: Any = SESSION) -> tuple[Metrics, CollectorRegistry]:
    registry = CollectorRegistry()
    sink = Metrics(registry=registry)
    sink.start(session)
    return sink, registry


def fetch(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        return str(answer.read().decode())


def test_every_metric_has_its_name_unit_and_value() -> None:
    sink, registry = started()
    assert registry.get_sample_value("edgekit_source_up") == 0
    assert math.isnan(registry.get_sample_value("edgekit_device_temperature_celsius") or 0.0)
    sink.event(SourceUp(0, "640x480"))
    for number in range(3):
        sink.result(a_result(number), PICTURE)
    sink.event(Dropped(0, "superseded", 5))
    sink.event(Health(61.5, True, 4, ("throttled",), 50.0, 1800.0, 400, 1000, 90))
    read = registry.get_sample_value
    assert read("edgekit_frames_total") == 3
    assert read("edgekit_stage_duration_seconds_count", {"stage": "inference"}) == 3
    assert read("edgekit_stage_duration_seconds_sum", {"stage": "inference"}) == pytest.approx(0.024)
    assert read("edgekit_frame_age_seconds_sum") == pytest.approx(0.075)
    assert read("edgekit_frames_dropped_total", {"reason": "superseded"}) == 5
    assert read("edgekit_source_up") == 1
    assert read("edgekit_source_reconnects_total") == 0
    assert read("edgekit_predictions_total", {"label": "red"}) == 3
    assert read("edgekit_device_temperature_celsius") == 61.5
    assert read("edgekit_device_throttled") == 1
    assert read("edgekit_device_cpu_usage_ratio") == 0.5
    labels = {"architecture": "tiny", "precision": "int8", "engine": "fake", "engine_version": "1.2", "threads": "2",
              "bundle_sha256": "ab" * 32}  # fmt: skip
    assert read("edgekit_model_info", labels) == 1
    sink.event(SourceDown(0, "gone", True))
    assert read("edgekit_source_up") == 0
    sink.event(SourceUp(0, "640x480", reconnected=True))
    assert read("edgekit_source_reconnects_total") == 1


def test_labels_are_bounded() -> None:
    sink, registry = started()
    for number in range(1000):
        sink.result(a_result(number, label=f"class {number}"), PICTURE)
    (family,) = [family for family in registry.collect() if family.name == "edgekit_predictions"]
    totals = {sample.labels["label"]: sample.value for sample in family.samples if sample.name.endswith("_total")}
    assert len(totals) == 101
    assert totals["other"] == 900


def test_several_cameras_are_told_apart() -> None:
    sink, registry = started(replace(SESSION, cameras=("door", "yard")))
    sink.event(SourceUp(1, "x"))
    sink.result(a_result(camera=1), PICTURE)
    assert registry.get_sample_value("edgekit_source_up", {"camera": "door"}) == 0
    assert registry.get_sample_value("edgekit_source_up", {"camera": "yard"}) == 1
    assert registry.get_sample_value("edgekit_frames_total", {"camera": "yard"}) == 1


def test_it_is_served_on_loopback_and_the_port_is_free_again_afterwards() -> None:
    port = free_port()
    for _ in range(2):
        sink = Metrics(port)
        sink.start(SESSION)
        families = {family.name for family in text_string_to_metric_families(fetch(f"http://127.0.0.1:{port}/metrics"))}
        assert {"edgekit_frames", "edgekit_stage_duration_seconds", "process_resident_memory_bytes"} <= families
        sink.close()


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--metrics-port {port}: another program"):
            Metrics(port).start(SESSION)


@pytest.mark.parametrize(("port", "host"), [(70000, "127.0.0.1"), (0, "203.0.113.7")])
def test_an_impossible_address_is_said(port: int, host: str) -> None:
    with pytest.raises(UsageError, match="--metrics-port"):
        Metrics(port, host=host).start(SESSION)


def ready(url: str) -> bool:
    try:
        return "ready" in fetch(url).lower()
    except urllib.error.HTTPError:
        return False


def queries() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    found += [re.sub(r"label_values\((.*), \w+\)", r"\1", v["definition"])
              for v in dashboard["templating"]["list"] if v["type"] == "query"]  # fmt: skip
    return found


def test_every_metric_the_dashboard_asks_for_exists() -> None:
    sink, registry = started()
    ProcessCollector(registry=registry)
    sink.result(a_result(), PICTURE)
    sink.event(Dropped(0, "superseded", 1))
    known = {sample.name for family in registry.collect() for sample in family.samples}
    asked = {name for query in queries() for name in re.findall(r"\b(?:edgekit|process)_\w+", query)}
    assert len(asked) >= 12
    assert asked <= known


def test_the_manual_names_every_metric_and_no_other() -> None:
    _, registry = started()
    manual = (Path(__file__).parents[2] / "docs/camera-loop.md").read_text("utf-8")
    named = set(re.findall(r"`(edgekit_\w+)", manual))
    counters = {family.name for family in registry.collect() if family.type == "counter"}
    info = {family.name for family in registry.collect() if family.type == "info"}
    real = {family.name for family in registry.collect()} - counters - info
    assert named == real | {f"{name}_total" for name in counters} | {f"{name}_info" for name in info}


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's prometheus is not installed")
def test_a_real_prometheus_scrapes_a_run_and_answers_the_dashboards_queries(tmp_path: Path) -> None:
    port, web = free_port(), free_port()
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: edgekit, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    command = (
        "prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{web}", "--log.level=error",
    )  # fmt: skip

    def ask(query: str) -> list[dict[str, Any]]:
        encoded = urllib.parse.quote(query)
        answer = json.loads(fetch(f"http://127.0.0.1:{web}/api/v1/query?query={encoded}"))
        assert answer["status"] == "success", query
        return list(answer["data"]["result"])

    specs = [fake_spec(lambda: FakeSource([solid(red=255)] * 100_000, interval_s=0.005), live=True)]
    health = ScriptedHealth(Health(55.0, False, 0, (), 30.0, 1500.0, 10**8, 10**9, 10**7) for _ in range(10**6))
    running = Running("fake", Metrics(port), specs=specs, delay_s=0.01, health=health)
    try:
        with Daemon(*command, cwd=tmp_path, log=tmp_path / "log").listening(web):
            wait_until(lambda: ready(f"http://127.0.0.1:{web}/-/ready"), 20)
            wait_until(lambda: (up := ask("edgekit_source_up")) and up[0]["value"][1] == "1", 20)
            wait_until(lambda: ask("rate(edgekit_frames_total[2s]) > 20"), 20)
            for query in queries():
                concrete = query.replace("$__rate_interval", "2s").replace("$job", ".*").replace("$instance", ".*")
                assert ask(concrete), concrete
    finally:
        running.end()
