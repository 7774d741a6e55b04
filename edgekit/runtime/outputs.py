"""Which sinks a run has, from flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from edgekit.errors import UsageError
from edgekit.runtime.sinks.base import Sink


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Where results go.

    Attributes:
        json: one object a line on standard output, instead of the terminal view.
        telemetry: the same lines in a file; it and its ``telemetry_keep`` predecessors hold up to
            ``telemetry_max_bytes`` each.
        metrics_port, view_port: 0 lets the system choose, None serves nothing.
        view_token: what viewers must know when ``view_host`` is not loopback; None makes one.
        mqtt: ``mqtt://user:password@host:port``; otel: ``http://host:4318``.
        device: this machine's name in MQTT topics; empty takes its host name.
    """

    json: bool = False
    quiet: bool = False
    telemetry: Path | None = None
    telemetry_max_bytes: int = 16 << 20
    telemetry_keep: int = 3
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    view_port: int | None = None
    view_host: str = "127.0.0.1"
    view_token: str | None = None
    mqtt: str | None = None
    otel: str | None = None
    device: str = ""

    def __post_init__(self) -> None:
        for flag, port in (("--metrics-port", self.metrics_port), ("--view-port", self.view_port)):
            if port is not None and not 0 <= port <= 65535:
                raise UsageError(f"{flag} {port}: not a port", hint="1 to 65535, or 0 for any that is free")
        if self.metrics_port and self.metrics_port == self.view_port:
            raise UsageError(f"--metrics-port and --view-port are both {self.view_port}")
        if self.telemetry_max_bytes < 4096 or self.telemetry_keep < 0:
            raise UsageError("a telemetry file needs at least 4096 bytes, and no fewer than 0 predecessors")


def sinks_for(outputs: OutputOptions, *, stdout: TextIO, stderr: TextIO) -> list[Sink]:
    """The sinks, not yet started; what is not asked for is not imported.

    Raises:
        UsageError: an address that is none.
    """
    sinks: list[Sink] = []
    if outputs.json:
        from edgekit.runtime.sinks.json_lines import JsonLines

        sinks.append(JsonLines(stdout))
    elif not outputs.quiet:
        from edgekit.runtime.sinks.terminal import Terminal

        sinks.append(Terminal(stderr if stderr.isatty() and not stdout.isatty() else stdout))
    if outputs.telemetry is not None:
        from edgekit.runtime.sinks.jsonl_file import JsonlFile

        sinks.append(JsonlFile(outputs.telemetry, max_bytes=outputs.telemetry_max_bytes, keep=outputs.telemetry_keep))
    if outputs.metrics_port is not None:
        from edgekit.runtime.sinks.metrics import Metrics

        sinks.append(Metrics(outputs.metrics_port, host=outputs.metrics_host))
    if outputs.view_port is not None:
        from edgekit.runtime.view.sink import View

        def announce(url: str) -> None:
            print(f"live view: {url}", file=stderr, flush=True)

        sinks.append(View(outputs.view_port, host=outputs.view_host, token=outputs.view_token, announce=announce))
    if outputs.mqtt is not None:
        from edgekit.runtime.sinks.mqtt import Broker, Mqtt

        sinks.append(Mqtt(Broker.parse(outputs.mqtt, device=outputs.device)))
    if outputs.otel is not None:
        from edgekit.runtime.sinks.otel import OpenTelemetry

        sinks.append(OpenTelemetry(outputs.otel))
    return sinks
