"""JSON lines, the telemetry file with its bounds, and the terminal view."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import resource
from pathlib import Path

import pytest
from rt_help import PICTURE, SESSION, a_result, a_summary

from edgekit.errors import StorageError
from edgekit.runtime.results import Dropped, Health, SourceDown, SourceUp
from edgekit.runtime.sinks import Fan, Sink
from edgekit.runtime.sinks.json_lines import JsonLines
from edgekit.runtime.sinks.jsonl_file import JsonlFile
from edgekit.runtime.sinks.terminal import Terminal


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_json_lines_are_results_and_the_summary_last() -> None:
    out = io.StringIO()
    sink = JsonLines(out)
    sink.start(SESSION)
    for number in range(3):
        sink.result(a_result(number, label="größe"), PICTURE)
    sink.finish(a_summary())
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line.get("frame") for line in lines] == [0, 1, 2, None]
    assert lines[0]["top"][0] == {"index": 0, "label": "größe", "score": 0.75}
    assert lines[0]["time"] == "2023-11-14T22:13:20.000Z"
    assert list(lines[-1]) == ["summary"]
    wanted = {"frames", "seconds", "fps", "latency_ms", "frame_age_ms", "dropped", "reconnects", "engine", "threads"}
    assert wanted <= set(lines[-1]["summary"])
    assert set(lines[-1]["summary"]["latency_ms"]["total"]) == {"p50", "p90", "p95", "p99", "max"}


def test_telemetry_rotates_and_never_outgrows_its_bounds(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "telemetry.jsonl"
    sink = JsonlFile(path, max_bytes=4096, keep=2)
    sink.start(SESSION)
    for number in range(200):
        sink.result(a_result(number), PICTURE)
    sink.close()
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["telemetry.jsonl", "telemetry.jsonl.1", "telemetry.jsonl.2"]
    assert all(file.stat().st_size <= 4096 for file in files)
    kept = [json.loads(line)["frame"] for file in reversed(files) for line in file.read_text().splitlines()]
    assert kept == list(range(kept[0], 200))


def test_telemetry_goes_on_where_a_crash_cut_a_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"frame": 1}\n{"fra')
    sink = JsonlFile(path)
    sink.start(SESSION)
    sink.result(a_result(7), PICTURE)
    sink.event(SourceDown(0, "gone", True))
    sink.close()
    lines = path.read_text().splitlines()
    assert lines[1] == '{"fra'
    assert json.loads(lines[2])["frame"] == 7
    assert json.loads(lines[3])["reason"] == "gone"


def test_a_telemetry_file_that_cannot_be_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="telemetry cannot be written"):
        JsonlFile(tmp_path / "file" / "t.jsonl").start(SESSION)
    with pytest.raises(StorageError, match="telemetry cannot be written"):
        JsonlFile(tmp_path).start(SESSION)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    sink = JsonlFile(Path("/dev/full"), clock=clock)
    sink.start(SESSION)
    for number in range(100):
        clock.now += 2.0
        sink.result(a_result(number), PICTURE)
    sink.close()
    said = [record.message for record in caplog.records]
    assert sum("the disk is full" in text for text in said) == 1
    assert sink.lost >= 100
    assert any("lost" in text for text in said)


def test_a_disk_that_has_room_again_is_written_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The limit on a file's size stands for the full disk: writing fails, and later does not."""
    import signal

    clock = Clock()
    sink = JsonlFile(tmp_path / "t.jsonl", clock=clock)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        sink.start(SESSION)
        sink.result(a_result(0), PICTURE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        for number in range(1, 30):
            clock.now += 5.0
            sink.result(a_result(number), PICTURE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    clock.now += 60.0
    sink.result(a_result(99), PICTURE)
    sink.close()
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["frame"] == 99
    assert any("written again" in record.message for record in caplog.records)


def test_the_terminal_shows_answer_rivals_and_times() -> None:
    out, clock = io.StringIO(), Clock()
    sink = Terminal(out, live=True, clock=clock)
    sink.start(SESSION)
    sink.event(SourceUp(0, "640x480 at 30 fps, MJPG"))
    sink.event(Dropped(0, "superseded", 4))
    sink.event(Health(temperature_c=71.0, throttled=True, throttle_reasons=("under-voltage",)))
    sink.result(a_result(0), PICTURE)
    sink.finish(a_summary(dropped={"superseded": 4}, reconnects=2, throttled_frames=1))
    sink.close()
    text = out.getvalue()
    parts = (
        "tiny, int8", "door: 640x480 at 30 fps", "75.0%", "green", "= 9.5 ms", "frame age 25 ms", "4 dropped", "71 °C",
        "THROTTLED: under-voltage", "3 frames in 1.0 s", "reconnected 2 times", "dropped: 4 superseded",
    )  # fmt: skip
    for part in parts:
        assert part in text, part


def test_the_terminal_redraws_in_place() -> None:
    out, clock = io.StringIO(), Clock()
    sink = Terminal(out, live=True, clock=clock)
    sink.start(SESSION)
    for number in range(5):
        clock.now += 0.2
        sink.result(a_result(number), PICTURE)
    block = 4  # two classes, the times, the status
    assert out.getvalue().count(f"\x1b[{block}A\x1b[J") == 4


def test_log_lines_are_not_wiped_away_by_a_redraw(monkeypatch: pytest.MonkeyPatch) -> None:
    out, clock = io.StringIO(), Clock()
    monkeypatch.setattr("sys.stderr", out)
    handler = logging.StreamHandler(out)
    logging.getLogger().addHandler(handler)
    try:
        sink = Terminal(out, live=True, clock=clock)
        sink.start(SESSION)
        sink.result(a_result(0), PICTURE)
        logging.getLogger("edgekit.test").warning("camera is gone")
        clock.now += 1.0
        sink.result(a_result(1), PICTURE)
        sink.close()
    finally:
        logging.getLogger().removeHandler(handler)
    assert handler.stream is out
    between = out.getvalue().partition("camera is gone")
    assert between[0].endswith("\x1b[J")  # the block was cleared before the line,
    assert "A\x1b[J" not in between[2]  # and nothing moves up over the line afterwards


def test_without_a_terminal_there_are_plain_lines_now_and_then() -> None:
    out, clock = io.StringIO(), Clock()
    sink = Terminal(out, clock=clock)
    sink.start(SESSION)
    for number in range(40):
        clock.now += 0.1
        sink.result(a_result(number), PICTURE)
    text = out.getvalue()
    assert "\x1b" not in text
    assert text.count("frame ") - text.count("frame age") in (2, 3)


class Failing(Sink):
    def __init__(self) -> None:
        self.calls = 0

    def result(self, result: object, image: object) -> None:
        self.calls += 1
        raise OSError("broken")


class Counting(Sink):
    calls = 0

    def result(self, result: object, image: object) -> None:
        self.calls += 1


def test_a_sink_that_fails_is_left_out_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    failing, counting = Failing(), Counting()
    fan = Fan([failing, counting])
    fan.start(SESSION)
    for number in range(3):
        fan.result(a_result(number), PICTURE)
    assert (failing.calls, counting.calls) == (1, 3)
    assert len(caplog.records) == 1


def test_a_reader_that_went_away_ends_the_run() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        fan = Fan([JsonLines(stream)])
        fan.start(SESSION)
        with pytest.raises(BrokenPipeError):
            fan.result(a_result(), PICTURE)
        stream.flush = lambda: None  # type: ignore[method-assign]
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # so that closing can flush what is left


class Mistaken(Sink):
    def event(self, event: object) -> None:
        raise ValueError("a mistake of ours")


def test_a_mistake_in_a_sink_does_not_end_the_run(caplog: pytest.LogCaptureFixture) -> None:
    fan = Fan([Mistaken()])
    fan.start(SESSION)
    for _ in range(3):
        fan.event(Health())
    assert [record.message for record in caplog.records] == ["Mistaken: no longer used: ValueError: a mistake of ours"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_results_that_cannot_be_printed_end_the_run() -> None:
    stream = Path("/dev/full").open("w")  # noqa: SIM115 (closing it would fail too)
    fan = Fan([JsonLines(stream)])
    fan.start(SESSION)
    with pytest.raises(StorageError, match="results cannot be written"):
        fan.result(a_result(), PICTURE)
    with contextlib.suppress(OSError):
        stream.close()
