"""What stands behind --camera: each kind of source on real input, and each kind of bad input with its sentence."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from rt_help import Running, read_all, wait_until

from edgekit.errors import CameraError, EdgekitError, UsageError
from edgekit.preprocess import IMAGE_SUFFIXES as DECODABLE
from edgekit.runtime import CameraOptions, Resilience
from edgekit.runtime.fakes import solid
from edgekit.runtime.sources import IMAGE_SUFFIXES

SETTINGS = Resilience(stall_timeout_s=1.0, open_timeout_s=2.0)
SECRET = "s3cret!pw"  # noqa: S105


def test_the_suffixes_of_pictures_are_those_that_can_be_decoded() -> None:
    assert IMAGE_SUFFIXES == DECODABLE


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames of rising brightness."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    for number in range(30):
        writer.write(np.full((48, 64, 3), 8 * number, np.uint8))
    writer.release()
    return path


def test_a_video_gives_every_frame_in_order(clip: Path) -> None:
    means = [image.mean() for image in read_all(str(clip))]
    assert len(means) == 30
    assert means == sorted(means)
    assert means[-1] > 220


def test_file_urls_are_paths(clip: Path) -> None:
    assert len(read_all(f"file://{clip}")) == 30


def test_every_skips_without_losing_count(clip: Path) -> None:
    running = Running(str(clip), every=7)
    wait_until(lambda: running.summary is not None)
    summary = running.end()
    assert (summary.frames, summary.dropped) == (5, {"every": 25})


def test_a_looped_video_plays_on(clip: Path) -> None:
    running = Running(str(clip), on_end="loop", max_frames=70)
    wait_until(lambda: running.summary is not None)
    assert running.end().frames == 70


def test_a_folder_a_glob_and_one_picture(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name, value in (("b.png", 200), ("a.png", 100), ("deep/c.png", 50)):
        cv2.imwrite(str(tmp_path / name), np.full((5, 5, 3), value, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    assert [int(image.mean()) for image in read_all(str(tmp_path))] == [100, 200, 50]
    assert [int(image.mean()) for image in read_all(f"{tmp_path}/*.png")] == [100, 200]
    assert [int(image.mean()) for image in read_all(str(tmp_path / "b.png"))] == [200]


@pytest.mark.parametrize(
    "pixels",
    [
        np.full((1, 1, 3), 9, np.uint8),
        np.full((30, 40), 90, np.uint8),
        np.full((30, 40, 4), 90, np.uint8),
        np.full((30, 40, 3), 900, np.uint16),
        np.zeros((4320, 7680, 3), np.uint8),
    ],
    ids=["1x1", "gray", "alpha", "16 bits", "8K"],
)
def test_pictures_of_every_kind_go_through_the_loop(tmp_path: Path, pixels: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), pixels)
    running = Running(str(tmp_path))
    wait_until(lambda: running.summary is not None)
    assert running.end().frames == 1


def test_an_unreadable_picture_among_others_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), solid(red=200))
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.jpg").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "d.jpg"), solid(red=200))
    running = Running(str(tmp_path))
    wait_until(lambda: running.summary is not None)
    summary = running.end()
    assert (summary.frames, summary.dropped) == (2, {"corrupt": 2})
    # The first is named; of thousands, the count in the summary says enough.
    assert [record.message for record in caplog.records] == [f"{tmp_path}/b.jpg: the JPEG is cut off"]


def test_a_text_file_as_a_picture_says_what_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("Dear camera,\n")
    running = Running(str(tmp_path / "a.jpg"))
    wait_until(lambda: running.error is not None)
    with pytest.raises(EdgekitError, match=r"a\.jpg: not a picture"):
        running.end()


def test_a_followed_folder_gives_pictures_that_arrive_later(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), solid(red=200))
    running = Running(str(tmp_path), on_end="wait")
    wait_until(lambda: running.frames() == 1)
    cv2.imwrite(str(tmp_path / "b.png"), solid(green=200))
    wait_until(lambda: running.frames() == 2)
    running.end()
    assert [result.label for result in running.recorder.results] == ["red", "green"]


BAD = {
    "missing file": ("nowhere.mp4", "no such file, folder or camera"),
    "empty folder": ("{tmp}/empty", "holds no pictures"),
    "glob without a match": ("{tmp}/*.jpg", "no such file"),
    "text as a video": ("{tmp}/text.mp4", "a text file, not a video"),
    "empty video": ("{tmp}/zero.mp4", "the file is empty"),
    "noise as a video": ("{tmp}/noise.mp4", "cannot open it as a video"),
    "no such device": ("/dev/video4711", "no such camera"),
    "no such index": ("4711", "no such camera"),
    "refused rtsp": (f"rtsp://me:{SECRET}@127.0.0.1:1/x", "the connection is refused"),
    "refused http": (f"http://me:{SECRET}@127.0.0.1:1/x", "the connection is refused"),
    "unknown host": (f"http://me:{SECRET}@nowhere.invalid/x", "."),
    "bad port": (f"rtsp://me:{SECRET}@127.0.0.1:99999/x", "the port is not a number"),
    "bad http port": (f"http://me:{SECRET}@127.0.0.1:port/x", "the port is not a number"),
    "large http port": (f"http://me:{SECRET}@127.0.0.1:99999/x", "the port is not a number"),
    "half an address": (f"http://me:{SECRET}@[::1", "not a URL"),
    "no host": ("rtsp:///x", "a URL without a host"),
    "space in a password": (f"rtsp://me:an open {SECRET}@127.0.0.1/x", "a URL holds no spaces"),
    "unheard-of scheme": ("gopher://127.0.0.1/x", "no stream there"),
    "raw frames without a size": ("-", "need their size"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_bad_input_ends_in_a_sentence_without_a_password(
    text: str, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("Dear camera,\n" * 100)
    (tmp_path / "zero.mp4").write_bytes(b"")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    began = time.monotonic()
    with pytest.raises(EdgekitError, match=says) as caught:
        read_all(text.format(tmp=tmp_path))
    assert caught.value.exit_code == 3
    assert time.monotonic() - began < 10
    everything = str(caught.value) + repr(caught.value.args) + caplog.text + "".join(capfd.readouterr())
    assert SECRET not in everything


def test_gstreamer_is_missed_in_words() -> None:
    if any(cv2.videoio_registry.getBackendName(b) == "GSTREAMER" and cv2.videoio_registry.hasBackend(b)
           for b in cv2.videoio_registry.getBackends()):  # fmt: skip
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(CameraError, match="built without GStreamer"):
        read_all("videotestsrc ! appsink")


@pytest.mark.parametrize(
    "bad",
    [{"width": 0}, {"height": -1}, {"fps": 0.0}, {"fps": float("inf")}, {"fourcc": "MJPEG"}, {"source": ""}],
)
def test_impossible_settings_are_refused(bad: dict) -> None:
    with pytest.raises(UsageError):
        CameraOptions(**{"source": "0", **bad})


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_timeouts_are_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="stall timeout"):
        Resilience(stall_timeout_s=seconds)
