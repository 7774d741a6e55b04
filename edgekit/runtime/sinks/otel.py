"""``--otel ENDPOINT``: the run's metrics over OTLP/HTTP. Needs ``pip install edgekit[otel]``.

The same figures as the Prometheus sink, under OpenTelemetry's naming (dots, unit as an attribute of the instrument).
"""

from __future__ import annotations

import logging
from typing import Any

from edgekit.errors import UsageError
from edgekit.runtime.frames import Image
from edgekit.runtime.results import STAGES, Dropped, Event, Health, Result, Session, SourceDown, SourceUp
from edgekit.runtime.sinks.base import Sink
from edgekit.runtime.sources.urls import redact

_log = logging.getLogger(__name__)

# A logger's filter does not hold for its children, so each that speaks is named.
_NOISY = (
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.sdk.metrics",
    "opentelemetry.sdk.metrics._internal.export",
    "opentelemetry.sdk.metrics._internal.measurement_consumer",
)


class OpenTelemetry(Sink):
    """Exports every ``interval_s`` from a thread of the SDK's own; a collector that is down does not slow the loop.

    Args:
        endpoint: of the collector, ``http://host:4318`` (``/v1/metrics`` is added where it has no path).
        reader: an SDK metric reader to use instead of the exporter, for tests and for other exporters.
    """

    def __init__(self, endpoint: str, *, interval_s: float = 10.0, reader: Any = None) -> None:
        self._endpoint = endpoint
        self._interval_s = interval_s
        self._reader = reader
        self._provider: Any = None
        self._quiet: _SayOnce | None = None
        self._health = Health()
        self._up: dict[str, int] = {}

    def start(self, session: Session) -> None:
        """Raises UsageError: the SDK is not installed, or the endpoint is no URL."""
        if self._reader is None and not self._endpoint.startswith(("http://", "https://")):
            raise UsageError(f"--otel {redact(self._endpoint)}: not an http URL", hint="http://localhost:4318")
        try:
            from opentelemetry.metrics import Observation
            from opentelemetry.sdk.metrics import MeterProvider
            from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
            from opentelemetry.sdk.resources import Resource
        except ImportError:
            raise UsageError(
                "--otel needs the OpenTelemetry SDK, which is not installed", hint="pip install 'edgekit[otel]'"
            ) from None
        reader = self._reader
        if reader is None:
            reader = PeriodicExportingMetricReader(
                _exporter(self._endpoint), export_interval_millis=self._interval_s * 1000, export_timeout_millis=3000
            )
            self._quiet = _SayOnce(redact(self._endpoint))
            for name in _NOISY:
                logging.getLogger(name).addFilter(self._quiet)
        facts = {f"edgekit.model.{key}": value for key, value in session.model.items()}
        resource = Resource.create(
            {
                "service.name": "edgekit",
                "edgekit.bundle.sha256": session.bundle_sha256,
                "edgekit.engine": f"{session.engine} {session.engine_version}",
                **facts,
            }
        )
        self._provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        meter = self._provider.get_meter("edgekit")
        self._names = session.cameras
        self._up = dict.fromkeys(session.cameras, 0)
        self._stage = meter.create_histogram("edgekit.stage.duration", "s", "Time each stage took")
        self._age = meter.create_histogram("edgekit.frame.age", "s", "From capture to answer")
        self._frames = meter.create_counter("edgekit.frames", "{frame}", "Frames answered")
        self._dropped = meter.create_counter("edgekit.frames.dropped", "{frame}", "Frames not answered")
        self._reconnects = meter.create_counter("edgekit.source.reconnects", "{reconnect}", "Times a source came back")
        meter.create_observable_gauge(
            "edgekit.source.up", [lambda _: [Observation(up, {"camera": name}) for name, up in self._up.items()]]
        )
        meter.create_observable_gauge(
            "edgekit.device.throttled", [lambda _: [Observation(int(self._health.throttled))]]
        )
        meter.create_observable_gauge(
            "edgekit.device.temperature",
            [lambda _: [] if (heat := self._health.temperature_c) is None else [Observation(heat)]],
            "Cel",
        )

    def result(self, result: Result, image: Image) -> None:
        camera = {"camera": self._names[result.camera]}
        for stage in STAGES:
            self._stage.record(getattr(result.latency_ms, stage) / 1e3, {"stage": stage})
        self._age.record(result.frame_age_ms / 1e3, camera)
        self._frames.add(1, camera)

    def event(self, event: Event) -> None:
        if isinstance(event, Health):
            self._health = event
            return
        camera = {"camera": self._names[event.camera]}
        if isinstance(event, Dropped):
            self._dropped.add(event.count, {**camera, "reason": event.reason})
        elif isinstance(event, SourceUp):
            self._up[self._names[event.camera]] = 1
            if event.reconnected:
                self._reconnects.add(1, camera)
        elif isinstance(event, SourceDown):
            self._up[self._names[event.camera]] = 0

    def close(self) -> None:
        if self._provider is not None:
            self._provider.shutdown(timeout_millis=3000)
            self._provider = None
        if self._quiet is not None:
            for name in _NOISY:
                logging.getLogger(name).removeFilter(self._quiet)
            self._quiet = None


def _exporter(endpoint: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError:
        raise UsageError(
            "--otel needs the OTLP exporter, which is not installed", hint="pip install 'edgekit[otel]'"
        ) from None
    from urllib.parse import urlsplit

    path = urlsplit(endpoint).path
    return OTLPMetricExporter(endpoint.rstrip("/") + "/v1/metrics" if path in ("", "/") else endpoint, timeout=2)


class _SayOnce(logging.Filter):
    """Turns the SDK's tracebacks about an absent collector into one sentence of ours."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where
        self._said = False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING and not self._said:
            self._said = True
            _log.warning("OpenTelemetry collector %s cannot be reached; tried again, and the run goes on", self._where)
        return False
