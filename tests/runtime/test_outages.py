"""A real MJPEG or RTSP server killed, frozen and brought back: what is noticed, when, and what is left behind."""

from __future__ import annotations

import gc
import time

import pytest
from prometheus_client import CollectorRegistry
from rt_help import (
    Lateness,
    Running,
    free_port,
    mjpeg_server,
    open_descriptors,
    rss_kb,
    rtsp_server,
    threads,
    wait_until,
)

from edgekit.runtime import Resilience
from edgekit.runtime.results import SourceDown, SourceUp
from edgekit.runtime.sinks.metrics import Metrics

STALL_S = 1.0
RECOVER_S = 3.0


def outages(kind: str, count: int, *, freeze_every: int) -> None:
    """``count`` times: the server dies (or freezes, which no connection error tells), and comes back after a while."""
    serve, scheme, path = {"mjpeg": (mjpeg_server, "http", ""), "rtsp": (rtsp_server, "rtsp", "live")}[kind]
    port = free_port()
    registry = CollectorRegistry()
    settings = Resilience(stall_timeout_s=STALL_S, open_timeout_s=2.0)
    server = serve(port).listening(port)
    running = Running(
        f"{scheme}://127.0.0.1:{port}/{path}", Metrics(registry=registry), resilience=settings, max_seconds=20.0 * count
    )

    def up() -> float | None:
        return registry.get_sample_value("edgekit_source_up")

    noticed, late, recovered, descriptors, alive = [], [], [], [], []
    try:
        wait_until(lambda: running.frames() > 5)
        for number in range(count):
            assert up() == 1
            frozen = number % freeze_every == freeze_every - 1
            with Lateness() as lateness:
                if frozen:
                    server.freeze()
                else:
                    server.kill()
                began = time.monotonic()
                wait_until(lambda: up() == 0, 5 * STALL_S)
                noticed.append(time.monotonic() - began)
            late.append(lateness.worst)
            time.sleep(0.15 * (number % 5))
            seen = running.frames()
            if frozen:
                server.thaw()
            else:
                server = serve(port).listening(port)
            back = time.monotonic()
            with Lateness() as lateness:
                wait_until(lambda seen=seen: running.frames() > seen and up() == 1)  # type: ignore[misc]
                recovered.append(time.monotonic() - back)
            assert recovered[-1] <= RECOVER_S + 5 * lateness.worst, (recovered, lateness.worst)
            wait_until(lambda seen=seen: running.frames() > seen + 3)  # type: ignore[misc]
            descriptors.append(open_descriptors())
            alive.append(len(threads()))
        assert registry.get_sample_value("edgekit_source_reconnects_total") == count
        downs = [event for event in running.recorder.events if isinstance(event, SourceDown)]
        ups = [event for event in running.recorder.events if isinstance(event, SourceUp)]
        assert (len(downs), len(ups)) == (count, count + 1)
        assert all(after <= STALL_S + more for after, more in zip(noticed, late, strict=True)), (noticed, late)
        # The first cycles may still be warming something up; after that nothing may grow.
        assert max(descriptors) <= descriptors[0] + 1, descriptors
        assert max(alive) <= alive[0] + 1, alive
        assert running.end().reconnects == count
    finally:
        running.stop.request()
        server.kill()
    wait_until(lambda: not threads())
    print(
        f"{kind}: noticed {max(noticed):.2f} s at worst, recovered {max(recovered):.2f} s at worst"
    )  # shown by pytest -s


@pytest.mark.parametrize("kind", ["mjpeg", "rtsp"])
def test_outages_are_noticed_and_survived(kind: str) -> None:
    outages(kind, 3, freeze_every=3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mjpeg", "rtsp"])
def test_twenty_outages_leak_nothing(kind: str) -> None:
    outages(kind, 20, freeze_every=5)


@pytest.mark.slow
def test_memory_stays_flat_for_a_minute_at_full_speed() -> None:
    from edgekit.runtime.fakes import FakeSource, fake_spec, solid
    from edgekit.runtime.view import View

    picture = solid(red=255, height=480, width=640)
    specs = [fake_spec(lambda: FakeSource([picture] * 10**7), live=True)]
    running = Running("fake", Metrics(0), View(0), specs=specs, max_seconds=75.0)
    running.recorder.result = lambda result, image: running.recorder.at.clear()  # type: ignore[method-assign]
    time.sleep(10)
    gc.collect()
    before = rss_kb()
    time.sleep(60)
    gc.collect()
    growth = rss_kb() - before
    summary = running.end()
    assert summary.frames > 10_000
    assert growth <= 2048, f"{growth} kB in 60 s and {summary.frames} frames"


@pytest.mark.slow
def test_a_slow_engine_on_a_live_camera_never_answers_about_the_past() -> None:
    port = free_port()
    with mjpeg_server(port, fps=30, size="640x480").listening(port), Lateness() as lateness:
        running = Running(f"http://127.0.0.1:{port}/", delay_s=0.1, max_seconds=20.0)
        wait_until(lambda: running.summary is not None or running.error is not None, 40)
        summary = running.end()
    assert summary.frames > 100
    # Between the server's frame and the answer, five threads wake one another, each as late as the machine is.
    assert summary.frame_age_ms.p95 <= 150 + 5 * 1000 * lateness.p95, (summary.frame_age_ms, lateness.p95)
    assert summary.dropped["superseded"] > summary.frames
    late = f"machine late by {1000 * lateness.p95:.1f} ms"
    print(f"frame age p95 {summary.frame_age_ms.p95:.0f} ms over {summary.frames} frames, {late}")
