"""``--metrics-port``: the run as Prometheus metrics, with base units in the names (seconds, bytes, celsius, ratio).

With one camera the metrics carry only the labels given here; with several, those of a source also carry ``camera``.

    edgekit_stage_duration_seconds{stage}      histogram: preprocess, inference, postprocess, total
    edgekit_frame_age_seconds                  histogram: capture timestamp to answer
    edgekit_frames_total                       answers given
    edgekit_frames_dropped_total{reason}       captured and not answered
    edgekit_source_up                          1 while pictures come
    edgekit_source_reconnects_total
    edgekit_predictions_total{label}           at most 100 labels, the rest as "other"
    edgekit_device_temperature_celsius         NaN where the device does not say
    edgekit_device_throttled                   1 while heat or a weak supply slow the device down
    edgekit_device_cpu_usage_ratio, edgekit_device_memory_used_bytes, edgekit_device_memory_total_bytes
    edgekit_model_info{architecture, precision, engine, …}  1

The usual ``process_*`` metrics (resident memory, CPU seconds, open files) come with them.
"""

from __future__ import annotations

import errno
import math
from typing import TYPE_CHECKING, Any

from edgekit.errors import UsageError
from edgekit.runtime.frames import Image
from edgekit.runtime.results import STAGES, Dropped, Event, Health, Result, Session, SourceDown, SourceUp
from edgekit.runtime.sinks.base import Sink

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

# Seconds. Fine where small networks on small boards are (Pi 5: 3 ms, Pi 3: 80 ms), coarse where only "bad" matters.
_STAGE_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5)
_AGE_BUCKETS = (0.005, 0.01, 0.02, 0.033, 0.05, 0.067, 0.1, 0.133, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 60)
_MOST_LABELS = 100


class Metrics(Sink):
    """Keeps the metrics, and serves them at ``http://host:port/metrics`` if a port is given.

    Args:
        port: 0 lets the system choose one; None serves nothing (the registry is the caller's to expose).
        host: loopback unless somebody else is meant to read them.
        registry: where the metrics live; None makes one of its own, with ``process_*`` metrics in it.

    Attributes:
        port: the port really used, after ``start``.
    """

    def __init__(
        self, port: int | None = None, *, host: str = "127.0.0.1", registry: CollectorRegistry | None = None
    ) -> None:
        self.port = port
        self._host = host
        self._registry = registry
        self._server: Any = None
        self._thread: Any = None
        self._known: set[str] = set()
        self._cameras: list[dict[str, str]] = []

    def start(self, session: Session) -> None:
        """Raises UsageError: the port is taken, not allowed, or the host is not this machine's."""
        import prometheus_client as client

        registry = self._registry
        if registry is None:
            registry = client.CollectorRegistry()
            client.ProcessCollector(registry=registry)
        several = len(session.cameras) > 1
        self._cameras = [{"camera": name} if several else {} for name in session.cameras]
        self._define(client, registry, ["camera"] if several else [])
        # Series that exist from the start: a rate over a series that appears with its first event misses that event.
        for labels in self._cameras:
            for metric in (self._frames, self._up, self._reconnects):
                _child(metric, labels)
        model = {key: value for key, value in session.model.items() if key.isidentifier()}
        self._info.info(
            {
                **model,
                "engine": session.engine,
                "engine_version": session.engine_version,
                "threads": str(session.threads),
                "bundle_sha256": session.bundle_sha256,
            }
        )
        if self.port is not None:
            self._serve(client, registry, self.port)

    def result(self, result: Result, image: Image) -> None:
        for stage, child in self._stage_children:
            child.observe(getattr(result.latency_ms, stage) / 1e3)
        labels = self._cameras[result.camera]
        _child(self._age, labels).observe(result.frame_age_ms / 1e3)
        _child(self._frames, labels).inc()
        self._predictions.labels(label=self._bounded(result.label)).inc()

    def event(self, event: Event) -> None:
        if isinstance(event, Dropped):
            self._dropped.labels(**self._cameras[event.camera], reason=event.reason).inc(event.count)
        elif isinstance(event, SourceUp):
            _child(self._up, self._cameras[event.camera]).set(1)
            if event.reconnected:
                _child(self._reconnects, self._cameras[event.camera]).inc()
        elif isinstance(event, SourceDown):
            _child(self._up, self._cameras[event.camera]).set(0)
        elif isinstance(event, Health):
            self._device(event)

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(2.0)
            self._server = None

    def _define(self, client: Any, registry: CollectorRegistry, camera: list[str]) -> None:
        def make(kind: Any, name: str, text: str, labels: list[str] | None = None, **extra: Any) -> Any:
            return kind(f"edgekit_{name}", text, labels or [], registry=registry, **extra)

        stage = make(
            client.Histogram, "stage_duration_seconds", "Time each stage took", ["stage"], buckets=_STAGE_BUCKETS
        )
        self._stage_children = [(name, stage.labels(stage=name)) for name in STAGES]
        self._age = make(client.Histogram, "frame_age_seconds", "From capture to answer", camera, buckets=_AGE_BUCKETS)
        self._frames = make(client.Counter, "frames", "Frames answered", camera)
        self._dropped = make(client.Counter, "frames_dropped", "Frames not answered", [*camera, "reason"])
        self._up = make(client.Gauge, "source_up", "1 while the source gives pictures", camera)
        self._reconnects = make(client.Counter, "source_reconnects", "Times the source came back", camera)
        self._predictions = make(client.Counter, "predictions", "Answers by label", ["label"])
        self._temperature = make(client.Gauge, "device_temperature_celsius", "Temperature of the processor")
        self._temperature.set(math.nan)
        self._throttled = make(client.Gauge, "device_throttled", "1 while the device slows itself down")
        self._cpu = make(client.Gauge, "device_cpu_usage_ratio", "Share of all cores in use, 0 to 1")
        self._cpu.set(math.nan)
        self._memory_used = make(client.Gauge, "device_memory_used_bytes", "Memory not available to a new program")
        self._memory_total = make(client.Gauge, "device_memory_total_bytes", "Memory of the device")
        self._info = make(client.Info, "model", "What is running")

    def _device(self, health: Health) -> None:
        self._temperature.set(math.nan if health.temperature_c is None else health.temperature_c)
        self._throttled.set(1 if health.throttled else 0)
        if health.cpu_percent is not None:
            self._cpu.set(health.cpu_percent / 100.0)
        if health.memory_used_bytes is not None and health.memory_total_bytes is not None:
            self._memory_used.set(health.memory_used_bytes)
            self._memory_total.set(health.memory_total_bytes)

    def _bounded(self, label: str) -> str:
        """``label``, or ``other`` once there are too many: each label is a time series in somebody's database."""
        if label not in self._known:
            if len(self._known) >= _MOST_LABELS:
                return "other"
            self._known.add(label)
        return label

    def _serve(self, client: Any, registry: CollectorRegistry, port: int) -> None:
        try:
            self._server, self._thread = client.start_http_server(port, self._host, registry)
        except (OSError, OverflowError) as error:
            raise port_error("--metrics-port", self._host, port, error) from None
        self.port = self._server.server_port


def _child(metric: Any, labels: dict[str, str]) -> Any:
    return metric.labels(**labels) if labels else metric


def port_error(flag: str, host: str, port: int, error: Exception) -> UsageError:
    """Why a port cannot be listened on, as a sentence."""
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return UsageError(f"{flag} {port}: another program listens there", hint="choose another port, or 0 for any")
    if number == errno.EACCES:
        return UsageError(f"{flag} {port}: not allowed", hint="ports below 1024 need root; choose a higher one")
    if number == errno.EADDRNOTAVAIL:
        return UsageError(f"{flag} {port}: {host} is not an address of this machine", hint="0.0.0.0 is all of them")
    return UsageError(f"{flag} {port} on {host}: {getattr(error, 'strerror', None) or error}")
