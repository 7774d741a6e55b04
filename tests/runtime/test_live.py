"""--live and --every-frame: which frames count, whatever the source is by itself."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from rt_help import Running, environment, free_port, mjpeg_server, wait_until

from edgekit.runtime import CameraOptions, Resilience
from edgekit.runtime.fakes import FakeSource, solid
from edgekit.runtime.sources import specify
from edgekit.runtime.sources.paced import PacedSource


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames, 20 a second."""
    path = tmp_path_factory.mktemp("live") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), 8 * number, np.uint8))
    writer.release()
    return path


def ended(running: Running) -> Running:
    wait_until(lambda: running.summary is not None or running.error is not None, 20)
    return running


def play(path: Path, *, delay_s: float = 0.0, **camera: object) -> Running:
    options = (CameraOptions(str(path), **camera),)  # type: ignore[arg-type]
    return ended(Running("x", cameras=options, delay_s=delay_s))


def test_a_live_file_plays_at_its_own_speed(clip: Path) -> None:
    running = play(clip, live=True)
    summary = running.end()
    assert summary.frames + summary.dropped.get("superseded", 0) == 20
    assert 0.9 <= running.recorder.at[-1] - running.recorder.at[0] <= 2.0
    assert summary.stopped_by == "end" and summary.reconnects == 0
    assert play(clip).end().seconds < 0.9  # without it: as fast as it goes


def test_a_slow_engine_misses_frames_of_a_live_file_and_does_not_fall_behind(clip: Path) -> None:
    summary = play(clip, live=True, delay_s=0.12).end()
    assert 5 <= summary.frames <= 12
    assert summary.dropped["superseded"] == 20 - summary.frames
    assert summary.frame_age_ms.max < 120 + 50 + 150
    assert summary.seconds < 2.5


def test_fps_sets_the_pace_of_a_live_file(clip: Path) -> None:
    running = play(clip, live=True, fps=100.0)
    assert running.end().seconds < 0.9


def test_a_live_folder_does_not_stall_between_its_pictures(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), solid(red=255))
    options = (CameraOptions(str(tmp_path), live=True, fps=2.0),)
    running = ended(Running("x", cameras=options, resilience=Resilience(stall_timeout_s=0.2)))
    summary = running.end()
    assert (summary.frames, summary.reconnects) == (3, 0)


def test_every_frame_of_a_live_stream_counts_when_asked_for() -> None:
    port = free_port()
    with mjpeg_server(port, fps=50).listening(port):
        options = (CameraOptions(f"http://127.0.0.1:{port}/", live=False),)
        running = Running("x", cameras=options, delay_s=0.05)
        wait_until(lambda: running.frames() >= 20)
        summary = running.end()
    assert "superseded" not in summary.dropped


def test_a_player_that_was_held_up_does_not_hurry() -> None:
    source = PacedSource(FakeSource([solid()] * 10), 50.0)
    source.open()
    source.read(None)
    time.sleep(0.7)
    began = time.monotonic()
    for _ in range(5):
        source.read(None)
    assert time.monotonic() - began >= 0.07


def test_a_player_that_waits_can_be_interrupted() -> None:
    source = PacedSource(FakeSource([solid()] * 3), 0.01)
    source.open()
    source.read(None)
    source.interrupt()
    began = time.monotonic()
    assert source.read(None) is None and not source.skip()
    assert time.monotonic() - began < 1.0


def test_cameras_stay_cameras_whichever_frames_count() -> None:
    kinds = {live: specify(CameraOptions("rtsp://x/", live=live), Resilience()) for live in (None, True, False)}
    assert all(spec.live and not spec.recorded for spec in kinds.values())
    assert [spec.newest_wins for spec in kinds.values()] == [True, True, False]


def test_the_flags(clip: Path) -> None:
    import subprocess
    import sys

    script = (
        "import sys; from edgekit.cli.settings import run_settings\n"
        "import edgekit.cli.settings as s; s.camera_defaults = lambda bundle: {}\n"
        "import edgekit.runtime.loop as loop\n"
        "loop.run = lambda options, **_: print(options.cameras[0].live) or sys.exit(0)\n"
        "from edgekit.cli.app import app; app()\n"
    )
    for flags, expected in (([], "None"), (["--live"], "True"), (["--every-frame"], "False")):
        command = [sys.executable, "-c", script, "run", "--bundle", "b", "--camera", str(clip), "--json", *flags]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
        assert done.stdout.strip() == expected, (done.stdout, done.stderr, flags)
