"""OpenTelemetry: the figures as instruments, a collector that gets them, and one that is not there."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rt_help import PICTURE, SESSION, a_result, free_port, wait_until

from edgekit.errors import UsageError
from edgekit.runtime.results import Dropped, Health, SourceDown, SourceUp
from edgekit.runtime.sinks.otel import OpenTelemetry

export = pytest.importorskip("opentelemetry.sdk.metrics.export", reason="the OpenTelemetry SDK is not installed")


def points(reader: object) -> dict[str, dict[tuple[tuple[str, str], ...], object]]:
    data = reader.get_metrics_data()  # type: ignore[attr-defined]
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    return {
        metric.name: {tuple(sorted(point.attributes.items())): point for point in metric.data.data_points}
        for metric in metrics
    }


def test_the_figures_are_instruments() -> None:
    reader = export.InMemoryMetricReader()
    sink = OpenTelemetry("", reader=reader)
    sink.start(SESSION)
    sink.event(SourceUp(0, "x"))
    sink.result(a_result(), PICTURE)
    sink.result(a_result(1), PICTURE)
    sink.event(Dropped(0, "superseded", 3))
    sink.event(Health(temperature_c=44.0, throttled=True))
    found = points(reader)
    camera = (("camera", "door"),)
    assert found["edgekit.stage.duration"][(("stage", "inference"),)].sum == pytest.approx(0.016)
    assert found["edgekit.frame.age"][camera].count == 2
    assert found["edgekit.frames"][camera].value == 2
    assert found["edgekit.frames.dropped"][(*camera, ("reason", "superseded"))].value == 3
    assert found["edgekit.source.up"][camera].value == 1
    assert found["edgekit.device.temperature"][()].value == 44.0
    assert found["edgekit.device.throttled"][()].value == 1
    sink.event(SourceDown(0, "gone", True))
    assert points(reader)["edgekit.source.up"][camera].value == 0
    sink.close()


def test_a_collector_gets_them_over_http() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the OTLP exporter is not installed")
    got: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        sink = OpenTelemetry(f"http://127.0.0.1:{server.server_port}", interval_s=0.1)
        sink.start(SESSION)
        sink.result(a_result(), PICTURE)
        wait_until(lambda: any(b"edgekit.stage.duration" in body for _, body in got))
        sink.close()
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
    assert {path for path, _ in got} == {"/v1/metrics"}


def test_a_collector_that_is_down_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the OTLP exporter is not installed")
    sink = OpenTelemetry(f"http://127.0.0.1:{free_port()}", interval_s=0.2)
    began = time.monotonic()
    sink.start(SESSION)
    for number in range(500):
        sink.result(a_result(number), PICTURE)
    assert time.monotonic() - began < 1.5
    wait_until(lambda: "cannot be reached" in caplog.text, 15)
    time.sleep(1.0)
    sink.close()
    said = [record for record in caplog.records if record.levelno >= 30]
    assert [record.name for record in said] == ["edgekit.runtime.sinks.otel"]


def test_what_is_no_collector_is_refused() -> None:
    with pytest.raises(UsageError, match="not an http URL"):
        OpenTelemetry("localhost").start(SESSION)
