"""Mailbox, backoff, and a feed whose source stalls, breaks, hangs in its driver or changes its mind about the size."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from rt_help import Lateness, Running, threads, wait_until

from edgekit.errors import CameraError, StreamError
from edgekit.runtime import Resilience
from edgekit.runtime.bell import Bell
from edgekit.runtime.capture.backoff import Backoff
from edgekit.runtime.capture.mailbox import Mailbox
from edgekit.runtime.fakes import FakeSource, fake_spec, solid
from edgekit.runtime.frames import BufferPool, Frame
from edgekit.runtime.results import SourceDown, SourceUp
from edgekit.runtime.sources.base import CorruptFrameError

RED = solid(red=255)
QUICK = Resilience(stall_timeout_s=0.2, open_timeout_s=0.3, initial_delay_s=0.02, longest_delay_s=0.1)


def frame(number: int = 0) -> Frame:
    return Frame(np.full((1, 1, 3), number, np.uint8), float(number))


def test_the_newest_frame_wins_and_the_replaced_one_is_counted_by_reason() -> None:
    mailbox = Mailbox(Bell(), live=True)
    for number in range(3):
        mailbox.put(frame(number))
    mailbox.replaced_because = "max_fps"
    mailbox.put(frame(3))
    taken = mailbox.take()
    assert taken is not None and taken.captured_at == 3.0
    assert mailbox.take() is None
    assert mailbox.take_drops() == {"superseded": 2, "max_fps": 1}
    assert mailbox.take_drops() == {}


def test_a_writer_of_files_waits_for_the_reader() -> None:
    mailbox = Mailbox(Bell(), live=False)
    taken: list[float] = []

    def write() -> None:
        for number in range(50):
            mailbox.room(lambda: False)
            mailbox.put(frame(number))

    writer = threading.Thread(target=write)
    writer.start()

    def read() -> bool:
        got = mailbox.take()
        if got is not None:
            taken.append(got.captured_at)
        return len(taken) == 50

    wait_until(read)
    writer.join(5)
    assert taken == [float(number) for number in range(50)]
    assert mailbox.take_drops() == {}


def test_a_waiting_writer_can_be_cancelled() -> None:
    mailbox = Mailbox(Bell(), live=False)
    assert mailbox.room(lambda: False)
    mailbox.put(frame())
    began = time.monotonic()
    assert not mailbox.room(lambda: time.monotonic() - began > 0.1)
    mailbox.empty("shutdown")
    assert mailbox.take_drops() == {"shutdown": 1}


def test_replaced_frames_give_their_buffers_back() -> None:
    pool = BufferPool()
    mailbox = Mailbox(Bell(), live=True)
    first = np.zeros((2, 2, 3), np.uint8)
    mailbox.put(Frame(first, 0.0, pool=pool))
    mailbox.put(Frame(np.ones((2, 2, 3), np.uint8), 0.0, pool=pool))
    assert pool.take() is first
    assert pool.take() is None


def test_a_bell_keeps_one_ring_for_who_comes_late() -> None:
    bell = Bell()
    assert not bell.wait(0.01)
    bell.ring()
    bell.ring()
    assert bell.wait(0.0)
    assert not bell.wait(0.01)
    threading.Timer(0.05, bell.ring).start()
    began = time.monotonic()
    assert bell.wait(5.0)
    assert time.monotonic() - began < 2.0


def test_backoff_grows_to_its_cap_with_jitter_and_never_overflows() -> None:
    settings = Resilience(initial_delay_s=0.1, factor=2.0, longest_delay_s=2.0)
    longest = Backoff(settings, uniform=lambda low, high: high)
    assert [longest.next_delay_s() for _ in range(7)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
    longest.reset()
    assert longest.next_delay_s() == pytest.approx(0.1)
    real = Backoff(settings, uniform=random.Random(1).uniform)
    delays = [real.next_delay_s() for _ in range(5000)]
    assert all(0.05 <= delay <= 2.0 for delay in delays)
    assert len({round(delay, 3) for delay in delays}) > 500


def live(make: Callable[[], FakeSource], **changes: object) -> Running:
    return Running("fake", specs=[fake_spec(make, live=True)], resilience=QUICK, **changes)


def events(running: Running, kind: type) -> list:
    return [event for event in running.recorder.events if isinstance(event, kind)]


def test_a_stall_is_noticed_in_time_and_the_source_comes_back() -> None:
    openings, release = itertools.count(), threading.Event()

    def make() -> FakeSource:
        if next(openings) == 0:
            return FakeSource([RED, RED, lambda: release.wait(20) and None], interval_s=0.01)
        return FakeSource([RED] * 1000, interval_s=0.01)

    with Lateness() as late:
        running = live(make)
        wait_until(lambda: events(running, SourceDown))
        noticed_after = time.monotonic() - running.recorder.at[-1]
    wait_until(lambda: running.frames() > 10)
    release.set()
    summary = running.end()
    wait_until(lambda: not threads())
    assert noticed_after <= QUICK.stall_timeout_s + 0.01 + 2 * late.worst  # 0.01: this test's own looking
    assert events(running, SourceDown)[0].retrying
    assert [event.reconnected for event in events(running, SourceUp)] == [False, True]
    assert summary.reconnects == 1


def test_a_driver_that_hangs_for_ever_leaves_no_more_than_two_threads_behind() -> None:
    release = threading.Event()
    openings = itertools.count()
    waiting = []

    def make() -> FakeSource:
        number = next(openings)
        if number == 0:
            return FakeSource([RED] * 5 + [StreamError("unplugged")], interval_s=0.01)

        def hang() -> None:
            waiting.append(number)
            release.wait(30)

        return FakeSource([], opening=hang)

    running = live(make)
    wait_until(lambda: len(waiting) == 2)
    time.sleep(1.5)  # long enough for four more attempts, were they made
    assert len(waiting) == 2
    blocked = {name for name in threads() if name.startswith("edgekit-camera")}
    assert len(blocked) == 2
    release.set()
    wait_until(lambda: not any(name in threads() for name in blocked))
    summary = running.end()
    assert summary.frames + summary.dropped.get("superseded", 0) == 5
    assert not threads()


def test_opening_happens_off_the_loops_thread() -> None:
    """One camera hangs in opening; the other must not notice."""
    release = threading.Event()
    specs = [
        fake_spec(lambda: FakeSource([RED] * 10_000, interval_s=0.005), live=True, name="good"),
        fake_spec(lambda: FakeSource([], opening=lambda: release.wait(30) and None), live=True, name="hangs"),
    ]
    running = Running(("a", "b"), specs=specs, resilience=Resilience(open_timeout_s=20.0, retry_first=True))
    wait_until(lambda: running.frames() > 50, 15.0)
    running.stop.request()
    release.set()
    assert running.end().frames > 50


def test_an_outage_is_said_once_however_often_it_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    openings = itertools.count()

    def make() -> FakeSource:
        number = next(openings)
        if 0 < number < 6:
            return FakeSource([CameraError("http://door:secret@cam/: refused").with_traceback(None)])
        return FakeSource([RED] * 3 + ([StreamError("broke")] if number == 0 else [RED] * 500), interval_s=0.01)

    running = live(make)
    wait_until(lambda: running.frames() > 5)
    running.end()
    said = [record.message for record in caplog.records]
    assert sum("trying again" in text for text in said) == 1
    assert sum("back" in text for text in said) == 1


def test_corrupt_frames_are_counted_and_passed_over() -> None:
    script = [RED, CorruptFrameError("spoilt"), RED, CorruptFrameError("spoilt"), RED]
    running = Running("fake", specs=[fake_spec(lambda: FakeSource(script))])
    wait_until(lambda: running.frames() == 3)
    assert running.end().dropped == {"corrupt": 2}


def test_a_live_source_of_nothing_but_corrupt_frames_is_reopened() -> None:
    openings = itertools.count()

    def make() -> FakeSource:
        if next(openings) == 1:
            return FakeSource([CorruptFrameError("spoilt")] * 150)
        return FakeSource([RED] * 3 + [StreamError("broke")], interval_s=0.005)

    running = live(make)
    wait_until(lambda: running.frames() >= 6)
    assert running.end().dropped["corrupt"] == 100


def test_the_size_may_change_in_mid_stream() -> None:
    sizes = [(48, 64), (48, 64), (96, 128), (1, 1), (48, 64)]
    script = [solid(red=255, height=height, width=width) for height, width in sizes]
    running = Running("fake", specs=[fake_spec(lambda: FakeSource(script))])
    wait_until(lambda: running.frames() == len(sizes))
    running.end()
    assert running.recorder.shapes == [(*size, 3) for size in sizes]


def test_buffers_are_reused_from_frame_to_frame() -> None:
    seen: set[int] = set()

    class Watching(FakeSource):
        def read(self, buffer):  # type: ignore[no-untyped-def]
            if buffer is not None:
                seen.add(id(buffer))
            return super().read(buffer)

    running = Running("fake", specs=[fake_spec(lambda: Watching([RED] * 200))])
    wait_until(lambda: running.frames() == 200)
    running.end()
    assert len(seen) <= 3


def test_four_sources_share_a_slow_engine_fairly() -> None:
    specs = [
        fake_spec(lambda fps=fps: FakeSource([RED] * 5000, interval_s=1 / fps), live=True, name=f"cam {fps}")
        for fps in (200, 100, 60, 30)
    ]
    running = Running(("a", "b", "c", "d"), specs=specs, delay_s=0.02, max_seconds=2.0)
    wait_until(lambda: running.summary is not None)
    counts = list(running.end().cameras.values())
    # 50 answers a second for four cameras of at least 30: each gets its quarter.
    assert min(counts) >= 0.8 * sum(counts) / 4


def test_on_end_wait_stays_until_it_is_told_to_stop() -> None:
    running = Running("fake", specs=[fake_spec(lambda: FakeSource([RED] * 3))], on_end="wait")
    wait_until(lambda: running.frames() == 3)
    time.sleep(0.8)
    assert running.summary is None
    assert running.end().frames == 3


def test_a_source_that_breaks_off_after_working_still_gives_its_summary() -> None:
    running = Running("fake", specs=[fake_spec(lambda: FakeSource([RED, RED, StreamError("cut off")]))])
    wait_until(lambda: running.summary is not None or running.error is not None)
    assert running.end().frames == 2


def test_a_mistake_while_opening_is_an_error_and_not_an_end() -> None:
    def make() -> FakeSource:
        raise ZeroDivisionError("rtsp://me:hunter2@cam/")

    running = Running("fake", specs=[fake_spec(make)])
    wait_until(lambda: running.error is not None)
    with pytest.raises(StreamError, match="ZeroDivisionError") as caught:
        running.end()
    assert "hunter2" not in str(caught.value)
