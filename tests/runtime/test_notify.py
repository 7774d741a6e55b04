"""sd_notify: what a service manager hears, and above all when it hears nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekit.runtime import CameraOptions, RunOptions, run
from edgekit.runtime.fakes import FakeSource, fake_model, fake_spec, solid
from edgekit.runtime.health import ScriptedHealth
from edgekit.runtime.latency import Percentiles
from edgekit.runtime.notify import Notifier
from edgekit.runtime.results import Prediction, Result, Session, SourceDown, SourceUp, StageLatency, Summary
from edgekit.runtime.sinks.systemd import SystemdSink

IMAGE = np.zeros((2, 2, 3), np.uint8)


class Manager:
    """The receiving end, as systemd has it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Everything since the last call, one line each."""
        lines: list[str] = []
        while True:
            try:
                lines += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines

    def close(self) -> None:
        self._socket.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def manager() -> Iterator[Manager]:
    with tempfile.TemporaryDirectory() as folder:  # a socket's path may not be longer than 107 bytes
        made = Manager(f"{folder}/notify")
        yield made
        made.close()


def test_what_is_said(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    assert notifier.enabled
    notifier.ready("waiting for cam")
    notifier.status("two\nlines  in one")
    notifier.stopping()
    notifier.close()
    notifier.status("nobody listens any more")
    assert manager.heard() == ["READY=1", "STATUS=waiting for cam", "STATUS=two lines in one", "STOPPING=1"]


def test_the_abstract_namespace() -> None:
    manager = Manager(f"@edgekit-test-{os.getpid()}")
    Notifier(manager.address).ready()
    assert manager.heard() == ["READY=1"]
    manager.close()


def test_progress_is_told_at_most_four_times_per_limit(manager: Manager) -> None:
    clock = Clock()
    notifier = Notifier(manager.address, 30.0, clock=clock)
    for _ in range(900):  # 30 s at 30 fps
        notifier.progress()
        clock.now += 1 / 30
    assert manager.heard() == ["WATCHDOG=1"] * 4
    clock.now += 29
    notifier.progress()
    assert manager.heard() == ["WATCHDOG=1"]


def test_without_a_manager_nothing_happens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for notifier in (Notifier(None, 30.0), Notifier(str(tmp_path / "gone"), 30.0)):
        assert not notifier.enabled
        notifier.ready()
        notifier.progress()
        notifier.stopping()
        notifier.close()
    assert "cannot be used" in caplog.text


def test_a_manager_that_goes_away_is_mentioned_once(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(manager.address)
    manager.close()
    notifier.status("a")
    notifier.status("b")
    assert caplog.text.count("could not be told") == 1


def test_a_full_queue_holds_the_loop_up_only_briefly(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    notifier = Notifier(manager.address, 1e-3, clock=clock)
    filler = Notifier(manager.address)
    sent = 0
    while "could not be told" not in caplog.text and sent < 10_000:
        filler.status("x")
        sent += 1
    clock.now += 1
    notifier.progress()
    assert manager.heard(), "and it survived"


def test_the_environment(manager: Manager) -> None:
    def of(**environ: str) -> Notifier:
        return Notifier.from_environment(environ)

    assert not of().enabled and of().watchdog_s is None
    mine = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "30000000"}
    assert of(**mine).enabled and of(**mine).watchdog_s == 30.0
    assert of(**mine, WATCHDOG_PID=str(os.getpid())).watchdog_s == 30.0
    assert of(**mine, WATCHDOG_PID="1").watchdog_s is None, "that watchdog watches another process"
    assert of(WATCHDOG_USEC="0").watchdog_s is None and of(WATCHDOG_USEC="soon").watchdog_s is None


def test_a_child_process_is_heard(manager: Manager, project_root: Path) -> None:
    code = "from edgekit.runtime.notify import Notifier; Notifier.from_environment().ready('up')"
    environ = {**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "5000000"}
    subprocess.run([sys.executable, "-c", code], env=environ, cwd=project_root, check=True)
    assert manager.heard() == ["READY=1", "STATUS=up", "WATCHDOG=1"]


def session(cameras: int = 1) -> Session:
    names = tuple(f"cam{number}" for number in range(cameras))
    return Session(names, ("cat",), "litert", "2.3.0", 2, "build/rpi4", "0" * 64)


def result(frame: int = 0, camera: int = 0) -> Result:
    top = (Prediction(0, "cat", 0.9),)
    return Result(frame, 0.0, top, "cat", StageLatency(1, 2, 3, 6), 41.4, camera)


class Watched:
    """A sink with a watchdog of 30 s, and whether that would have bitten by now."""

    def __init__(self, manager: Manager, cameras: int = 1, longest_outage_s: float | None = 600.0) -> None:
        self.clock = Clock()
        self.manager = manager
        notifier = Notifier(manager.address, 30.0, clock=self.clock)
        self.sink = SystemdSink(notifier, longest_outage_s=longest_outage_s, clock=self.clock)
        self.sink.start(session(cameras))
        self._fed_at = self.clock.now
        self.bitten = False

    def wait(self, seconds: float, *, frames_per_s: float = 0.0, camera: int = 0) -> None:
        """Lets time pass as the loop spends it: a frame, or an idle look around, every 0.2 s."""
        steps = round(seconds / 0.2)
        for step in range(steps):
            if frames_per_s and step % max(1, round(5 / frames_per_s)) == 0:
                self.sink.result(result(step, camera), IMAGE)
            else:
                self.sink.idle()
            self._listen()
            self.clock.now += 0.2
        self._listen()

    def hang(self, seconds: float) -> None:
        """The loop does not come round at all."""
        self.clock.now += seconds
        self._listen()

    def _listen(self) -> None:
        self.bitten = self.bitten or self.clock.now - self._fed_at > 30.0
        if "WATCHDOG=1" in self.manager.heard():
            self._fed_at = self.clock.now


def test_answers_keep_it_alive(manager: Manager) -> None:
    watched = Watched(manager)
    watched.wait(300, frames_per_s=5)
    assert not watched.bitten


def test_a_loop_that_hangs_is_bitten(manager: Manager) -> None:
    watched = Watched(manager)
    watched.wait(60, frames_per_s=5)
    watched.hang(31)
    assert watched.bitten


def test_a_camera_that_is_up_and_silent_is_bitten_although_the_loop_turns(manager: Manager) -> None:
    watched = Watched(manager)
    watched.wait(10, frames_per_s=5)
    watched.wait(32)
    assert watched.bitten


def test_a_camera_known_to_be_away_is_waited_for_but_not_for_ever(manager: Manager) -> None:
    watched = Watched(manager)
    watched.wait(10, frames_per_s=5)
    watched.sink.event(SourceDown(0, "stalled", True))
    watched.wait(500)
    assert not watched.bitten
    watched.sink.event(SourceUp(0, "640x480", True))
    watched.wait(10, frames_per_s=5)
    watched.sink.event(SourceDown(0, "stalled", True))
    watched.wait(590)
    assert not watched.bitten, "each outage counts from its own beginning"
    watched.wait(60)
    assert watched.bitten


def test_an_outage_without_limit(manager: Manager) -> None:
    watched = Watched(manager, longest_outage_s=None)
    watched.wait(2000)
    assert not watched.bitten


def test_one_silent_camera_of_two_that_are_up(manager: Manager) -> None:
    """The other's answers are progress; that the first is silent shows in its own stall time-out."""
    watched = Watched(manager, cameras=2)
    watched.wait(60, frames_per_s=5, camera=1)
    assert not watched.bitten


def test_repeated_news_of_one_outage_do_not_prolong_it(manager: Manager) -> None:
    watched = Watched(manager)
    for _ in range(7):
        watched.sink.event(SourceDown(0, "refused", True))
        watched.wait(100)
    assert watched.bitten


def test_the_status_line(manager: Manager) -> None:
    clock = Clock()
    sink = SystemdSink(Notifier(manager.address, clock=clock), clock=clock)
    sink.start(session(2))
    assert manager.heard() == ["READY=1", "STATUS=waiting for cam0, cam1"]
    for frame in range(150):
        sink.result(result(frame), IMAGE)
        clock.now += 0.1
    assert manager.heard() == ["STATUS=1 frame, cat, age 41 ms", "STATUS=101 frames, 10.0 fps, cat, age 41 ms"]
    sink.event(SourceDown(1, "no frame for 2 s", True))
    assert manager.heard() == ["STATUS=cam1: no frame for 2 s; retrying"]
    sink.finish(summary())
    sink.close()
    assert manager.heard() == ["STOPPING=1"]


def summary() -> Summary:
    return Summary(0, 0.0, 0.0, {}, Percentiles(0, 0, 0, 0, 0), {}, 0, "litert", 2, "b", "0" * 64)


def test_a_whole_run_as_systemd_hears_it(manager: Manager) -> None:
    heard: list[str] = []
    over = threading.Event()

    def listen() -> None:  # all the while: the socket holds only a few datagrams
        while not over.wait(0.001):
            heard.extend(manager.heard())

    listener = threading.Thread(target=listen)
    listener.start()
    script = [solid(red=255)] * 40
    done = run(
        RunOptions(cameras=(CameraOptions("cam"),)),
        sinks=[SystemdSink(Notifier(manager.address, 0.001))],
        model=fake_model(),
        health=ScriptedHealth(),
        specs=[fake_spec(lambda: FakeSource(script, interval_s=0.005))],
    )
    over.set()
    listener.join()
    heard.extend(manager.heard())
    assert done.frames == 40
    assert heard[:2] == ["READY=1", "STATUS=waiting for fake"] and heard[-1] == "STOPPING=1"
    # Two answers that a busy machine brings within the same millisecond are told once.
    assert heard.count("WATCHDOG=1") >= 30, "nearly every answer is told when the limit is this short"
