"""What several tests of the loop need: ports, waiting with an end, a recording sink, an MJPEG server in a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.runtime import CameraOptions, Resilience, RunOptions, Stop, Summary, run
from edgekit.runtime.fakes import fake_model
from edgekit.runtime.health import ScriptedHealth
from edgekit.runtime.latency import Percentiles
from edgekit.runtime.results import Event, Prediction, Result, Session, StageLatency
from edgekit.runtime.sinks import Sink
from edgekit.runtime.sources import specify

SESSION = Session(
    cameras=("door",),
    labels=("red", "green", "blue"),
    engine="fake",
    engine_version="1.2",
    threads=2,
    bundle="build/fake",
    bundle_sha256="ab" * 32,
    model={"architecture": "tiny", "precision": "int8"},
)
PICTURE = np.zeros((120, 160, 3), np.uint8)


def a_result(frame: int = 0, label: str = "red", **changes: Any) -> Result:
    values: dict[str, Any] = {
        "frame": frame,
        "time": 1_700_000_000.0,
        "top": (Prediction(0, label, 0.75), Prediction(1, "green", 0.25)),
        "label": label,
        "latency_ms": StageLatency(1.0, 8.0, 0.5, 9.5),
        "frame_age_ms": 25.0,
    }
    return Result(**{**values, **changes})


def a_summary(**changes: Any) -> Summary:
    figures = Percentiles(1, 2, 3, 4, 5)
    values: dict[str, Any] = {
        "frames": 3, "seconds": 1.0, "fps": 3.0, "latency_ms": {"total": figures}, "frame_age_ms": figures,
        "dropped": {}, "reconnects": 0, "engine": "fake", "threads": 2, "bundle": "b", "bundle_sha256": "ab" * 32,
    }  # fmt: skip
    return Summary(**{**values, **changes})


class Recorder(Sink):
    """Keeps everything it is told."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.events: list[Event] = []
        self.shapes: list[tuple[int, ...]] = []
        self.at: list[float] = []

    def result(self, result: Result, image: Any) -> None:
        self.results.append(result)
        self.shapes.append(image.shape)
        self.at.append(time.monotonic())

    def event(self, event: Event) -> None:
        self.events.append(event)


class Running:
    """``run`` on a thread, for tests that do something to it meanwhile. Ends at the latest with ``max_seconds``."""

    def __init__(self, source: str | tuple[str, ...], *sinks: Sink, delay_s: float = 0.0, **changes: Any) -> None:
        sources = (source,) if isinstance(source, str) else source
        values: dict[str, Any] = {
            "cameras": tuple(CameraOptions(item) for item in sources),
            "max_seconds": 60.0,
            "resilience": Resilience(stall_timeout_s=1.0, open_timeout_s=3.0),
        }
        specs = changes.pop("specs", None)
        health = changes.pop("health", ScriptedHealth())
        self._options = RunOptions(**{**values, **changes})
        self.recorder = Recorder()
        self.stop = Stop()
        self.summary: Summary | None = None
        self.error: BaseException | None = None

        def work() -> None:
            try:
                self.summary = run(
                    self._options,
                    sinks=[self.recorder, *sinks],
                    stop=self.stop,
                    model=fake_model(delay_s=delay_s),
                    specs=specs,
                    health=health,
                )
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def frames(self) -> int:
        return len(self.recorder.results)

    def end(self) -> Summary:
        self.stop.request()
        self._thread.join(15)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        assert self.summary is not None
        return self.summary


def wait_until(condition: Callable[[], Any], timeout_s: float = 10.0, what: str = "") -> Any:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout_s} s: {what or condition}")


class Lateness:
    """How late this machine, busy with other things, wakes a thread that sleeps 10 ms: what a deadline must forgive."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._seconds: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Lateness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        before = time.monotonic()
        while not self._over.wait(0.01):
            now = time.monotonic()
            self._seconds.append(now - before - 0.01)
            self.worst = max(self.worst, self._seconds[-1])
            before = now

    @property
    def p95(self) -> float:
        """What all but one wake-up in twenty keep to, seconds."""
        return sorted(self._seconds)[int(0.95 * len(self._seconds))] if self._seconds else 0.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """A server process of the test's own, ended with it."""

    def __init__(self, *command: str, log: Path | None = None, **extra: Any) -> None:
        self._log = log.open("wb") if log is not None else None
        out = self._log or subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=out, stderr=out, **extra)

    def listening(self, port: int, timeout_s: float = 15.0) -> Daemon:
        def answers() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}"
            with socket.socket() as probe:
                probe.settimeout(0.5)
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers, timeout_s, f"a server on port {port}")
        return self

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        if self._log is not None:
            self._log.close()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def mjpeg_server(port: int, *, fps: float = 30, size: str = "320x240", login: str = "") -> Daemon:
    """An MJPEG camera on ``http://127.0.0.1:port/``, in a process of its own."""
    script = str(Path(__file__).with_name("rt_mjpeg.py"))
    return Daemon(sys.executable, script, str(port), str(fps), size, login)


def rtsp_server(port: int, *, fps: float = 25, login: str = "") -> Daemon:
    """An RTSP camera on ``rtsp://127.0.0.1:port/live``, in a process of its own."""
    script = str(Path(__file__).with_name("rt_rtsp.py"))
    return Daemon(sys.executable, script, str(port), str(fps), login)


def environment() -> dict[str, str]:
    """For a process that imports edgekit from here, installed or not."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def read_all(text: str, limit: int = 100, **options: object) -> list[np.ndarray]:
    """Every picture of a source, up to ``limit``."""
    source = specify(CameraOptions(text, **options), Resilience(stall_timeout_s=1.0, open_timeout_s=2.0)).make()  # type: ignore[arg-type]
    found: list[np.ndarray] = []
    try:
        source.open()
        while len(found) < limit and (shot := source.read(None)) is not None:
            found.append(shot.image.copy())
    finally:
        source.close()
    return found


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("edgekit")}


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def rss_kb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")
