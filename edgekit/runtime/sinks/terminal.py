"""What a person at a terminal sees while ``run`` runs: the answer, its rivals, and how long it took."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from edgekit.runtime.frames import Image
from edgekit.runtime.results import Dropped, Event, Health, Result, Session, SourceDown, SourceUp, Summary
from edgekit.runtime.sinks.base import Sink

_REDRAW_S = 0.1
_PLAIN_S = 2.0  # how often a line is printed where there is no terminal to redraw
_CHANGE_S = 0.02  # another answer is told sooner; flicker is not a line a frame
_BAR = 24


class Terminal(Sink):
    """Redraws a few lines in place on a terminal; prints a line now and then elsewhere.

    Args:
        live: whether ``stream`` is a terminal that can be redrawn; None asks it.
    """

    def __init__(
        self, stream: TextIO, *, live: bool | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._live = stream.isatty() if live is None else live
        self._clock = clock
        self._session: Session | None = None
        self._latest: dict[int, Result] = {}
        self._told: dict[int, str | None] = {}  # the label of each camera that was last drawn
        self._state: dict[int, str] = {}
        self._dropped = 0
        self._health: Health | None = None
        self._drawn_at = float("-inf")
        self._drawn_lines = 0
        self._counted_at = 0.0
        self._counted = 0
        self._fps = 0.0
        self._lifted: list[tuple[logging.StreamHandler[Any], TextIO]] = []

    def start(self, session: Session) -> None:
        self._session = session
        self._counted_at = self._clock()
        model = ", ".join(session.model[key] for key in ("architecture", "precision", "target") if key in session.model)
        if self._live:
            self._lift_logs()
        what = f" ({model})" if model else ""
        self._print(f"{session.bundle}{what} on {session.engine} {session.engine_version}, {_threads(session.threads)}")

    def result(self, result: Result, image: Image) -> None:
        self._latest[result.camera] = result
        self._counted += 1
        now = self._clock()
        pace = _REDRAW_S if self._live else _PLAIN_S
        if not self._live and self._told.get(result.camera) != result.label:
            pace = _CHANGE_S
        if now - self._drawn_at >= pace:
            self._draw(now)

    def event(self, event: Event) -> None:
        if isinstance(event, Dropped):
            self._dropped += event.count
        elif isinstance(event, Health):
            self._health = event
        elif isinstance(event, SourceUp):
            self._state[event.camera] = event.obtained
            if not event.reconnected:  # outages and returns are logged, here and everywhere else
                self._print(f"{self._name(event.camera)}: {event.obtained}")
        elif isinstance(event, SourceDown):
            self._state[event.camera] = f"down: {event.reason}"

    def finish(self, summary: Summary) -> None:
        if self._latest:
            self._draw(self._clock())
            self._drawn_lines = 0  # leave the last picture standing
        for line in summary_lines(summary):
            self._print(line)

    def close(self) -> None:
        for handler, stream in self._lifted:
            handler.setStream(stream)
        self._lifted.clear()

    def _lift_logs(self) -> None:
        """Lets log lines appear above the redrawn block, which would otherwise wipe them away."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stderr, sys.stdout):
                above = _Above(handler.stream, self._erase)
                self._lifted.append((handler, handler.stream))
                handler.setStream(above)

    def _draw(self, now: float) -> None:
        if now > self._counted_at:
            recent = self._counted / (now - self._counted_at)
            self._fps = recent if not self._fps else 0.7 * self._fps + 0.3 * recent
        self._counted, self._counted_at, self._drawn_at = 0, now, now
        self._told = {camera: latest.label for camera, latest in self._latest.items()}
        width = max(40, shutil.get_terminal_size((100, 24)).columns - 1)
        if self._live:
            lines = [line for camera in sorted(self._latest) for line in self._block(self._latest[camera])]
            lines.append(self._status())
            self._erase()
            for line in lines:
                self._stream.write(line[:width] + "\n")
            self._drawn_lines = len(lines)
        else:
            for camera in sorted(self._latest):
                self._stream.write(self._line(self._latest[camera]) + "\n")
        self._stream.flush()

    def _block(self, result: Result) -> list[str]:
        lines = [f"{self._name(result.camera)}: {result.label}"] if self._several or self._decides else []
        for prediction in result.top:
            filled = round(prediction.score * _BAR)
            lines.append(f"  {prediction.score:6.1%} {'█' * filled}{'·' * (_BAR - filled)} {prediction.label}")
        latency = result.latency_ms
        lines.append(
            f"  preprocess {latency.preprocess:.1f} + inference {latency.inference:.1f} + postprocess "
            f"{latency.postprocess:.1f} = {latency.total:.1f} ms, frame age {result.frame_age_ms:.0f} ms"
        )
        return lines

    def _line(self, result: Result) -> str:
        camera = f"{self._name(result.camera)}: " if self._several else ""
        return (
            f"{camera}frame {result.frame}: {result.label} {result.top[0].score:.1%}, "
            f"{result.latency_ms.total:.1f} ms, frame age {result.frame_age_ms:.0f} ms, {self._fps:.1f} fps"
        )

    def _status(self) -> str:
        parts = [f"{self._fps:.1f} fps"]
        if self._dropped:
            parts.append(f"{self._dropped} dropped")
        health = self._health
        if health is not None and health.temperature_c is not None:
            parts.append(f"{health.temperature_c:.0f} °C")
        if health is not None and health.throttled:
            parts.append("THROTTLED: " + ", ".join(health.throttle_reasons))
        down = [state for state in self._state.values() if state.startswith("down")]
        return "  " + " · ".join(parts + down + ["Ctrl-C ends"])

    def _print(self, line: str) -> None:
        self._erase()
        self._stream.write(line + "\n")
        self._stream.flush()

    def _erase(self) -> None:
        if self._drawn_lines:
            self._stream.write(f"\x1b[{self._drawn_lines}A\x1b[J")  # up, and clear to the end of the screen
            self._stream.flush()
            self._drawn_lines = 0

    @property
    def _several(self) -> bool:
        return self._session is not None and len(self._session.cameras) > 1

    @property
    def _decides(self) -> bool:
        return self._session is not None and self._session.decides

    def _name(self, camera: int) -> str:
        return self._session.cameras[camera] if self._session is not None else f"camera {camera}"


class _Above:
    """A stream for log lines that first clears the block standing there; it comes back with the next drawing."""

    def __init__(self, stream: TextIO, clear: Callable[[], None]) -> None:
        self._stream = stream
        self._clear = clear

    def write(self, text: str) -> int:
        self._clear()
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


def summary_lines(summary: Summary) -> list[str]:
    """The summary for people: one line of counts and a small table of latencies."""
    lines = [
        f"{summary.frames} frames in {summary.seconds:.1f} s, {summary.fps:.1f} fps, "
        f"{summary.engine} with {_threads(summary.threads)} ({summary.stopped_by})"
    ]
    if summary.frames:
        lines.append(f"{'ms':>12} {'p50':>8} {'p90':>8} {'p95':>8} {'p99':>8} {'max':>8}")
        for name, figures in (*summary.latency_ms.items(), ("frame age", summary.frame_age_ms)):
            values = (figures.p50, figures.p90, figures.p95, figures.p99, figures.max)
            lines.append(f"{name:>12} " + " ".join(f"{value:8.2f}" for value in values))
    if summary.dropped:
        lines.append("dropped: " + ", ".join(f"{count} {reason}" for reason, count in summary.dropped.items()))
    if summary.reconnects:
        lines.append(f"reconnected {summary.reconnects} times")
    if summary.throttled_frames:
        lines.append(f"{summary.throttled_frames} frames were measured while the device was throttled")
    return lines


def _threads(count: int) -> str:
    return f"{count} thread{'' if count == 1 else 's'}"
