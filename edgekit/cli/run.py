"""Commands of the device: run, cameras."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.output import INTERRUPTED, Json, answer, note

if TYPE_CHECKING:
    from edgekit.cli.settings import RunSettings
    from edgekit.runtime.sinks.base import Sink


class OnEnd(StrEnum):
    exit = "exit"
    loop = "loop"
    wait = "wait"


class PixelFormat(StrEnum):
    bgr24 = "bgr24"
    rgb24 = "rgb24"
    gray = "gray"


class Flip(StrEnum):
    none = "none"
    horizontal = "horizontal"
    vertical = "vertical"


# What each option means when neither the flag nor deploy.yaml's `run:` says anything is RunOptions' business.
def run(
    camera: Annotated[
        list[str] | None,
        typer.Option(
            "--camera", help="0, /dev/…, camera name, file, folder, glob, URL, GStreamer pipeline, csi, demo, or -."
        ),
    ] = None,
    bundle: Annotated[Path | None, typer.Option("--bundle", help="A bundle's directory. [default: build/rpi4]")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="auto, litert, onnxruntime or tflite-runtime.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1)] = None,
    max_frames: Annotated[int | None, typer.Option("--max-frames", min=1, help="End after so many results.")] = None,
    max_seconds: Annotated[float | None, typer.Option("--max-seconds", help="End after so long, s.")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, help="Classes in a result. [default: 5]")] = None,
    max_fps: Annotated[float | None, typer.Option("--max-fps", help="Upper limit of results per second.")] = None,
    every: Annotated[int | None, typer.Option("--every", min=1, help="Classify every Nth frame.")] = None,
    roi: Annotated[
        str | None,
        typer.Option("--roi", help="x,y,width,height of the picture to look at; pixels, or fractions as 0.5."),
    ] = None,
    rotate: Annotated[int | None, typer.Option("--rotate", help="Clockwise: 0, 90, 180 or 270.")] = None,
    flip: Annotated[Flip | None, typer.Option("--flip")] = None,
    width: Annotated[int | None, typer.Option("--width", help="Asked of the camera, pixels.")] = None,
    height: Annotated[int | None, typer.Option("--height", help="Asked of the camera, pixels.")] = None,
    fps: Annotated[float | None, typer.Option("--fps", help="Asked of the camera, frames per second.")] = None,
    fourcc: Annotated[
        str | None, typer.Option("--fourcc", help="Pixel format asked of the camera, such as MJPG.")
    ] = None,
    pixel_format: Annotated[
        PixelFormat | None, typer.Option("--pixel-format", help="Of raw frames on standard input (`--camera -`).")
    ] = None,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--every-frame",
            help="Newest frame wins, a file playing at its own speed or at --fps; or each counts. "
            "[default: as the source is]",
        ),
    ] = None,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Keep trying when a camera cannot be opened at the start, instead of ending."),
    ] = False,
    smoothing: Annotated[
        float | None, typer.Option("--smoothing", help="Weight of the newest frame in the running mean; 1: none.")
    ] = None,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Below this probability: unknown.")] = None,
    hysteresis: Annotated[
        float | None, typer.Option("--hysteresis", help="By how much another label must win to replace the current.")
    ] = None,
    on_end: Annotated[OnEnd | None, typer.Option("--on-end", help="When a file or stream ends.")] = None,
    stall_timeout: Annotated[
        float | None, typer.Option("--stall-timeout", help="No frame for so long is a stall, s.")
    ] = None,
    telemetry: Annotated[Path | None, typer.Option("--telemetry", help="File for one JSON line per result.")] = None,
    metrics_port: Annotated[int | None, typer.Option("--metrics-port", help="Prometheus metrics at this port.")] = None,
    view_port: Annotated[int | None, typer.Option("--view-port", help="Live view at this port.")] = None,
    view_host: Annotated[
        str | None, typer.Option("--view-host", help="Address of the live view; not loopback: asks for a token.")
    ] = None,
    mqtt: Annotated[str | None, typer.Option("--mqtt", help="mqtt://host[:port] to publish to.")] = None,
    otel: Annotated[str | None, typer.Option("--otel", help="OpenTelemetry collector, http://host:4318.")] = None,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Start without checking the golden answers.")] = False,
    as_json: Json = False,
) -> None:
    """Classify what a camera shows, with latency telemetry."""
    # Before NumPy is imported: its threads would only spin at the start, since no product here is large enough for two.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from edgekit.cli.settings import run_settings
    from edgekit.runtime.loop import run as loop
    from edgekit.runtime.signals import Stop, graceful

    flags = {
        "camera": camera, "bundle": bundle, "engine": engine, "threads": threads, "max_frames": max_frames,
        "max_seconds": max_seconds, "top_k": top_k, "max_fps": max_fps, "every": every, "roi": roi, "rotate": rotate,
        "flip": None if flip is None else flip.value,
        "width": width, "height": height, "fps": fps, "fourcc": fourcc, "live": live, "retry": retry or None,
        "pixel_format": None if pixel_format is None else pixel_format.value, "smoothing": smoothing,
        "threshold": threshold, "hysteresis": hysteresis, "on_end": None if on_end is None else on_end.value,
        "stall_timeout": stall_timeout, "telemetry": telemetry, "metrics_port": metrics_port, "view_port": view_port,
        "view_host": view_host, "verify": False if no_verify else None,
    }  # fmt: skip
    settings = run_settings(flags)
    with graceful(Stop()) as stop:
        summary = loop(settings.options, sinks=_sinks(settings, mqtt, otel, as_json), stop=stop)
    if summary.stopped_by == "SIGINT":
        raise typer.Exit(INTERRUPTED)


def _sinks(settings: RunSettings, mqtt: str | None, otel: str | None, as_json: bool) -> list[Sink]:
    """One for each place that was asked for; the terminal or JSON lines always."""
    sinks: list[Sink] = []
    if as_json:
        from edgekit.runtime.sinks.json_lines import JsonLines

        sinks.append(JsonLines(sys.stdout))
    else:
        from edgekit.runtime.sinks.terminal import Terminal

        sinks.append(Terminal(sys.stdout))
    if settings.telemetry is not None:
        from edgekit.runtime.sinks.jsonl_file import JsonlFile

        sinks.append(JsonlFile(settings.telemetry))
    if settings.metrics_port is not None:
        from edgekit.runtime.sinks.metrics import Metrics

        sinks.append(Metrics(settings.metrics_port))
    if settings.view_port is not None:
        from edgekit.runtime.view import View

        sinks.append(View(settings.view_port, host=settings.view_host, announce=lambda url: note(f"live view: {url}")))
    if os.environ.get("NOTIFY_SOCKET"):  # systemd waits for word from us
        from edgekit.runtime.sinks.systemd import SystemdSink

        sinks.append(SystemdSink())
    if mqtt is not None:
        from edgekit.runtime.sinks.mqtt import Mqtt, broker

        sinks.append(Mqtt(broker(mqtt)))
    if otel is not None:
        from edgekit.runtime.sinks.otel import OpenTelemetry

        sinks.append(OpenTelemetry(otel))
    return sinks


def cameras(as_json: Json = False) -> None:
    """List the cameras of this machine."""
    from edgekit.runtime.cameras import list_cameras

    found = list_cameras()
    lines = [f"{camera.source:<16} {camera.name}" for camera in found] or ["no cameras found: see `edgekit doctor`"]
    answer({"cameras": [camera.to_dict() for camera in found]}, "\n".join(lines), as_json=as_json)
