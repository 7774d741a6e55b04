"""What ten viewers of the live page, one of them stalled, do to the loop's latency.

    python tests/bench/viewers.py [ROUNDS] [SECONDS]

A 640x480 source at 30 fps and an engine that takes 20 ms without using the processor, as an accelerator would: what is
measured is waiting (for locks, for the interpreter), which is what viewers could cause. Each round runs three ways, in
changing order, with the same number of processes:

    alone     the live view is on, and nobody looks; ten clients sleep
    watched   ten clients look at pictures and figures, one of them never reads
    control   the ten look at a server of their own, in another process, that sends as many bytes as often: what their
              own work on this machine's few cores costs the loop, which in life they do elsewhere

Figures are each run's latency p95, as the loop's own summary has it, and the median over rounds of its ratio to the
same round's ``alone``, with a 95 % interval from resampling rounds.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time

import numpy as np

from edgekit.runtime import CameraOptions, RunOptions, Summary, run
from edgekit.runtime.fakes import FakeSource, fake_model, fake_spec
from edgekit.runtime.health import ScriptedHealth
from edgekit.runtime.view import View
from edgekit.runtime.view.gallery import encode

_VIEWERS = """
import socket, sys, threading, time
port, received = int(sys.argv[1]), [0]
def look(path, reads):
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    viewer.connect(("127.0.0.1", port))
    viewer.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
    while reads and (data := viewer.recv(65536)):
        received[0] += len(data)
    time.sleep(600)
for number in range(10 if port else 0):
    threading.Thread(target=look, args=("/stream.mjpg", number > 0), daemon=True).start()
    if number:  # a page also follows the events
        threading.Thread(target=look, args=("/events", True), daemon=True).start()
print("looking", flush=True)
sys.stdin.readline()
print(received[0], flush=True)
"""

# Sends SIZE bytes ten times a second, and 1500 four times, to whoever asks for pictures or figures.
_DUMMY = """
import socket, sys, time
size = int(sys.argv[1])
server = socket.create_server(("127.0.0.1", 0), backlog=64)
print(server.getsockname()[1], flush=True)
clients, due = [], {True: 0.0, False: 0.0}
server.setblocking(False)
while True:
    try:
        client = server.accept()[0]
        client.setblocking(True)
        pictures = b"stream" in client.recv(4096)
        client.setblocking(False)
        clients.append((client, pictures))
    except BlockingIOError:
        pass
    now = time.monotonic()
    for pictures, every, data in ((True, 0.1, bytes(size)), (False, 0.25, bytes(1500))):
        if now >= due[pictures]:
            due[pictures] = now + every
            for client, wants in clients:
                if wants == pictures:
                    try:
                        client.send(data)
                    except BlockingIOError:
                        pass
                    except OSError:
                        client.close()
            clients = [one for one in clients if one[0].fileno() >= 0]
    time.sleep(0.02)
"""
WAYS = ("alone", "watched", "control")
SHOWN_FPS = 10


def once(way: str, seconds: float, picture: np.ndarray, dummy: int, size: int) -> Summary:
    started: list[subprocess.Popen[bytes]] = []

    def announce(url: str) -> None:
        port = {"alone": 0, "control": dummy, "watched": int(url.rstrip("/").rpartition(":")[2])}[way]
        command = [sys.executable, "-c", _VIEWERS, str(port)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.3)

    spec = fake_spec(lambda: FakeSource([picture] * 100_000, interval_s=1 / 30), live=True)
    options = RunOptions(cameras=(CameraOptions("fake"),), max_seconds=seconds)
    sinks = [View(0, announce=announce)]
    summary = run(options, model=fake_model(delay_s=0.02), specs=[spec], sinks=sinks, health=ScriptedHealth())
    for process in started:
        received = int(process.communicate(b"\n")[0])
        expected = 0 if way == "alone" else 9 * seconds * SHOWN_FPS * size
        assert 0.6 * expected <= received <= 1.5 * expected, (way, received, expected)  # else it measures nothing
    return summary


def interval(ratios: list[float]) -> tuple[float, float]:
    draw = random.Random(1)
    found = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    return found[50], found[-51]


def main() -> None:
    rounds, seconds = (float(value) for value in (*sys.argv[1:], *("12", "6")[len(sys.argv) - 1 :]))
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    picture = np.ascontiguousarray(noise.repeat(8, 0).repeat(8, 1))
    size = len(encode(picture.copy(), "red  75%"))
    dummy = subprocess.Popen([sys.executable, "-c", _DUMMY, str(size)], stdout=subprocess.PIPE)
    assert dummy.stdout is not None
    port = int(dummy.stdout.readline())
    figures: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        for number in range(int(rounds)):
            for step in range(len(WAYS)):
                way = WAYS[(number + step) % len(WAYS)]
                figures[way].append(once(way, seconds, picture, port, size).latency_ms["total"].p95)
    finally:
        dummy.kill()
        dummy.wait()
    print(f"alone: latency p95 {statistics.median(figures['alone']):.2f} ms; a picture has {size} bytes")
    for way in WAYS[1:]:
        ratios = [a / b for a, b in zip(figures[way], figures["alone"], strict=True)]
        low, high = interval(ratios)
        change, least, most = (100 * (value - 1) for value in (statistics.median(ratios), low, high))
        print(f"{way}: {change:+.1f} % ({least:+.1f} to {most:+.1f}) in {rounds:.0f} rounds")
    print("each round:", [tuple(round(figures[way][i], 2) for way in WAYS) for i in range(int(rounds))])


if __name__ == "__main__":
    main()
