"""The loop against a scripted camera and a fake engine."""

from __future__ import annotations

import json
import statistics
import threading
import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rt_help import SESSION

from edgekit.errors import CameraError, StreamError
from edgekit.runtime import CameraOptions, Decision, Resilience, RunOptions, Stop, run
from edgekit.runtime.fakes import FakeSource, fake_model, fake_spec, solid
from edgekit.runtime.frames import Image
from edgekit.runtime.health import ScriptedHealth
from edgekit.runtime.results import Event, Health, Prediction, Result, Session, StageLatency, Summary
from edgekit.runtime.sinks import Sink

RED, GREEN, BLUE = solid(red=255), solid(green=255), solid(blue=255)


class Recorder(Sink):
    def __init__(self) -> None:
        self.results: list[Result] = []
        self.events: list[Event] = []
        self.session: Session | None = None
        self.summary: Summary | None = None
        self.closed = 0

    def start(self, session: Session) -> None:
        self.session = session

    def result(self, result: Result, image: Image) -> None:
        self.results.append(result)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def finish(self, summary: Summary) -> None:
        self.summary = summary

    def close(self) -> None:
        self.closed += 1


def options(cameras: int = 1, **changes: object) -> RunOptions:
    values: dict[str, object] = {
        "max_seconds": 20.0,
        "resilience": Resilience(stall_timeout_s=0.3, initial_delay_s=0.01),
    }
    return RunOptions(cameras=(CameraOptions("fake"),) * cameras, **{**values, **changes})  # type: ignore[arg-type]


def go(sources: list, opts: RunOptions, *, live: bool = False, delay_s: float = 0.0, **extra: object) -> Recorder:
    recorder = Recorder()
    specs = [fake_spec(make, live=live, name=f"fake {i}") for i, make in enumerate(sources)]
    extra.setdefault("health", ScriptedHealth())
    run(opts, sinks=[recorder], model=fake_model(delay_s=delay_s), specs=specs, **extra)  # type: ignore[arg-type]
    return recorder


def test_a_file_gives_every_frame_in_order_and_a_summary() -> None:
    pictures = [RED, GREEN, BLUE] * 20
    seen = go([lambda: FakeSource(pictures)], options())
    assert [result.label for result in seen.results] == ["red", "green", "blue"] * 20
    assert [result.frame for result in seen.results] == list(range(60))
    assert seen.summary is not None
    assert (seen.summary.frames, seen.summary.stopped_by, seen.summary.dropped) == (60, "end", {})
    assert seen.summary.latency_ms["total"].p50 <= seen.summary.latency_ms["total"].max
    assert seen.closed == 1


def test_a_slow_engine_on_a_live_source_gets_the_newest_and_counts_the_rest() -> None:
    pictures = [RED] * 40
    seen = go([lambda: FakeSource(pictures, interval_s=0.01)], options(max_seconds=0.5), live=True, delay_s=0.05)
    assert seen.summary is not None
    assert 3 <= seen.summary.frames <= 11
    assert seen.summary.dropped["superseded"] > seen.summary.frames
    # A frame waits for at most one interval before it is taken; from a queue, each would be older than the last.
    assert statistics.median(result.frame_age_ms for result in seen.results) < 50 + 10 + 40


def test_frames_are_processed_or_counted_as_dropped() -> None:
    pictures = [RED] * 57
    seen = go([lambda: FakeSource(pictures)], options(every=4, max_frames=9))
    assert seen.summary is not None
    assert seen.summary.stopped_by == "max-frames"
    captured = seen.summary.frames + sum(count for reason, count in seen.summary.dropped.items() if reason != "every")
    assert captured in (9, 10, 11)  # one may be in the mailbox and one in the thread's hand when the loop ends
    assert seen.summary.dropped["every"] >= 24


def test_max_fps_paces_a_file_without_losing_frames() -> None:
    began = time.monotonic()
    seen = go([lambda: FakeSource([RED] * 10)], options(max_fps=50.0))
    assert len(seen.results) == 10
    assert time.monotonic() - began >= 9 / 50


def test_max_fps_on_a_live_source_drops_for_that_reason() -> None:
    seen = go([lambda: FakeSource([RED] * 100, interval_s=0.005)], options(max_fps=20.0, max_seconds=0.4), live=True)
    assert seen.summary is not None
    assert seen.summary.frames <= 10
    assert seen.summary.dropped["max_fps"] > 20


def test_stop_ends_the_run_with_a_summary() -> None:
    stop = Stop()
    threading.Timer(0.2, stop.request, ["SIGTERM"]).start()
    began = time.monotonic()
    seen = go([lambda: FakeSource([RED] * 10_000, interval_s=0.01)], options(), stop=stop)
    assert time.monotonic() - began < 2.0
    assert seen.summary is not None
    assert seen.summary.stopped_by == "SIGTERM"
    assert seen.summary.frames > 5


def test_a_camera_that_cannot_be_opened_is_an_error() -> None:
    def refuse() -> None:
        raise CameraError("fake: busy")

    with pytest.raises(CameraError, match="busy"):
        go([lambda: FakeSource([], opening=refuse)], options(), live=True)


def test_a_stream_that_ends_at_once_is_an_error() -> None:
    with pytest.raises(StreamError, match="before its first picture"):
        go([lambda: FakeSource([])], options())


def test_an_unexpected_exception_of_a_driver_ends_in_a_sentence() -> None:
    def explode() -> None:
        raise ZeroDivisionError("rtsp://user:secret@host/ broke")

    with pytest.raises(StreamError, match="ZeroDivisionError") as caught:
        go([lambda: FakeSource([RED], opening=explode)], options())
    assert "secret" not in str(caught.value)


def test_on_end_loop_plays_again() -> None:
    seen = go([lambda: FakeSource([RED, GREEN])], options(on_end="loop", max_frames=7))
    assert [result.label for result in seen.results] == ["red", "green", "red", "green", "red", "green", "red"]
    assert seen.summary is not None
    assert seen.summary.reconnects == 0


def test_several_files_take_turns() -> None:
    seen = go(
        [lambda: FakeSource([RED] * 30), lambda: FakeSource([GREEN] * 30)], options(2, max_frames=40), delay_s=0.01
    )
    counts = [sum(result.camera == camera for result in seen.results) for camera in (0, 1)]
    assert min(counts) >= 14  # half and half, but for a reader that the system let wait
    assert seen.session is not None
    assert seen.results[0].to_dict(seen.session)["camera"] in ("fake 0", "fake 1")


def test_a_label_below_the_threshold_is_unknown() -> None:
    gray = solid(100, 100, 100)
    seen = go([lambda: FakeSource([gray, RED])], options(decision=Decision(threshold=0.5)))
    assert [result.label for result in seen.results] == ["unknown", "red"]
    assert seen.session is not None
    assert seen.results[0].to_dict(seen.session)["label"] == "unknown"


def test_results_while_throttled_are_marked_and_the_rate_is_lowered() -> None:
    states = [Health(), *[Health(throttled=True, throttle_reasons=("throttled",))] * 2]
    seen = go([lambda: FakeSource([RED] * 6)], options(), delay_s=0.01, health=ScriptedHealth(states))
    assert [result.throttled for result in seen.results][-1]
    assert seen.summary is not None
    assert seen.summary.throttled_frames >= 4


def test_the_line_of_a_result_is_the_documented_one() -> None:
    seen = go([lambda: FakeSource([RED])], options(top_k=2))
    assert seen.session is not None
    line = json.loads(json.dumps(seen.results[0].to_dict(seen.session)))
    assert list(line) == ["frame", "time", "top", "latency_ms", "frame_age_ms"]
    assert [list(entry) for entry in line["top"]] == [["index", "label", "score"]] * 2
    assert list(line["latency_ms"]) == ["preprocess", "inference", "postprocess", "total"]
    assert line["time"].endswith("Z")


@given(
    score=st.floats(0, 1, width=32),
    times=st.lists(st.floats(0, 1e5), min_size=5, max_size=5),
    moment=st.floats(0, 4e9),
    name=st.text(),
    decides=st.booleans(),
    throttled=st.booleans(),
    cameras=st.lists(st.text(), min_size=1, max_size=2),
)
def test_the_text_of_a_result_says_what_its_object_says(
    score: float, times: list[float], moment: float, name: str, decides: bool, throttled: bool, cameras: list[str]
) -> None:
    from dataclasses import replace

    session = replace(SESSION, cameras=tuple(cameras), decides=decides)
    top = (Prediction(3, name, score), Prediction(0, "b", 0.0))
    result = Result(7, moment, top, name, StageLatency(*times[:4]), times[4], len(cameras) - 1, throttled)
    text = result.to_json(session)
    assert "\n" not in text
    assert json.loads(text) == result.to_dict(session)
    assert datetime.fromisoformat(json.loads(text)["time"]).timestamp() == pytest.approx(moment, abs=2e-3)


def test_no_thread_outlives_a_run() -> None:
    before = set(threading.enumerate())
    go([lambda: FakeSource([RED] * 3)], options())
    assert set(threading.enumerate()) == before
