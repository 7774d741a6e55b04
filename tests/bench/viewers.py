"""What ten viewers of the live page, one of them stalled, do to the loop's latency.

    python tests/bench/viewers.py [ROUNDS] [SECONDS]

A 640x480 source at 30 fps and an engine that takes 20 ms without using the processor, as an accelerator would: what is
measured is waiting (for locks, for the interpreter), which is what viewers could cause, and not how many cores this
machine has left. Runs without and with viewers take turns; the viewers live in a process of their own, at a priority
that leaves the processor to the loop, since in life they are on other machines.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time

import numpy as np

from edgekit.runtime import CameraOptions, RunOptions, Summary, run
from edgekit.runtime.fakes import FakeSource, fake_model, fake_spec
from edgekit.runtime.health import ScriptedHealth
from edgekit.runtime.view import View

_VIEWERS = """
import os, socket, sys, threading, time
os.nice(15)
port = int(sys.argv[1])
def look(path, reads):
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    viewer.connect(("127.0.0.1", port))
    viewer.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
    while reads and viewer.recv(65536):
        pass
    time.sleep(600)
for number in range(10):
    threading.Thread(target=look, args=("/stream.mjpg", number > 0), daemon=True).start()
    if number:  # a page also follows the events
        threading.Thread(target=look, args=("/events", True), daemon=True).start()
print("looking", flush=True)
time.sleep(600)
"""


def once(viewers: bool, seconds: float, picture: np.ndarray) -> Summary:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    view = View(port)
    started: list[subprocess.Popen[bytes]] = []

    def announce(_: str) -> None:
        if viewers:
            process = subprocess.Popen([sys.executable, "-c", _VIEWERS, str(port)], stdout=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.readline()
            started.append(process)
        time.sleep(0.2)

    view._announce = announce
    spec = fake_spec(lambda: FakeSource([picture] * 100_000, interval_s=1 / 30), live=True)
    options = RunOptions(cameras=(CameraOptions("fake"),), max_seconds=seconds)
    try:
        return run(options, model=fake_model(delay_s=0.02), specs=[spec], sinks=[view], health=ScriptedHealth())
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> None:
    rounds, seconds = (float(value) for value in (*sys.argv[1:], *("5", "6")[len(sys.argv) - 1 :]))
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    picture = np.ascontiguousarray(noise.repeat(8, 0).repeat(8, 1))
    figures: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(int(rounds)):
        for viewers in (False, True):
            summary = once(viewers, seconds, picture)
            figures[viewers].append(summary.latency_ms["total"].p95)
    alone, watched = statistics.median(figures[False]), statistics.median(figures[True])
    print(
        f"latency p95 without viewers {alone:.2f} ms, with ten {watched:.2f} ms: {100 * (watched / alone - 1):+.1f} %"
    )
    print("each round:", [(round(a, 2), round(b, 2)) for a, b in zip(figures[False], figures[True], strict=True)])


if __name__ == "__main__":
    main()
