"""What stands behind --camera: each kind of source on real input, and each kind of bad input with its sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from rt_help import Running, environment, free_port, mjpeg_server, rtsp_server, wait_until

from edgekit.errors import CameraError, EdgekitError, StreamError, UsageError
from edgekit.preprocess import IMAGE_SUFFIXES as DECODABLE
from edgekit.runtime import CameraOptions, Resilience
from edgekit.runtime.fakes import solid
from edgekit.runtime.sources import IMAGE_SUFFIXES, redact, specify
from edgekit.runtime.sources.base import CorruptFrameError
from edgekit.runtime.sources.csi import CsiSource
from edgekit.runtime.sources.mjpeg import MjpegParts
from edgekit.runtime.sources.pipe import PipeSource
from edgekit.runtime.sources.urls import split_login, with_login

SETTINGS = Resilience(stall_timeout_s=1.0, open_timeout_s=2.0)
SECRET = "s3cret!pw"  # noqa: S105


def read_all(text: str, limit: int = 100, **options: object) -> list[np.ndarray]:
    source = specify(CameraOptions(text, **options), SETTINGS).make()  # type: ignore[arg-type]
    found: list[np.ndarray] = []
    try:
        source.open()
        while len(found) < limit and (shot := source.read(None)) is not None:
            found.append(shot.image.copy())
    finally:
        source.close()
    return found


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


def test_an_unreadable_picture_among_others_is_counted(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), solid(red=200))
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.jpg").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "d.jpg"), solid(red=200))
    running = Running(str(tmp_path))
    wait_until(lambda: running.summary is not None)
    summary = running.end()
    assert (summary.frames, summary.dropped) == (2, {"corrupt": 2})


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
    "bad http port": (f"http://me:{SECRET}@127.0.0.1:port/x", "not a usable URL"),
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
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@ss:w/rd@10.0.0.5:554/live", "rtsp://***@10.0.0.5:554/live"),
        ("rtsp://admin:hunter2@10.0.0.5/live?x=1", "rtsp://***@10.0.0.5/live?x=1"),
        ("http://cam/stream?user=a&password=hunter2&x=1", "http://cam/stream?user=a&password=***&x=1"),
        ("rtspsrc location=rtsp://a:hunter2@cam/ ! decodebin", "rtspsrc location=rtsp://***@cam/ ! decodebin"),
        ("http://10.0.0.5/plain", "http://10.0.0.5/plain"),
    ],
)
def test_redaction(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert "hunter2" not in redact(text)


def test_logins_survive_any_character() -> None:
    bare, login = split_login("rtsp://me%40home:p%2Fw%3A1@cam:554/x")
    assert bare == "rtsp://cam:554/x"
    assert login is not None and (login.user, login.password) == ("me@home", "p/w:1")
    assert "p/w" not in repr(login)
    assert split_login(with_login(bare, login))[1] == login


@pytest.fixture(scope="module")
def camera() -> Iterator[str]:
    port = free_port()
    with mjpeg_server(port, fps=100).listening(port):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("path", ["/", "/bare"])
def test_mjpeg_with_and_without_lengths(camera: str, path: str) -> None:
    images = read_all(camera + path, limit=8)
    assert [image.shape for image in images] == [(240, 320, 3)] * 8
    assert images[0][5, 5].argmax() == 2  # red, in BGR


def test_a_snapshot_address_is_asked_again_and_again(camera: str) -> None:
    began = time.monotonic()
    assert len(read_all(f"{camera}/snapshot", limit=6, fps=20.0)) == 6
    assert time.monotonic() - began >= 5 / 20


def test_a_web_page_is_no_stream(camera: str) -> None:
    with pytest.raises(CameraError, match="a web page"):
        read_all(f"{camera}/page")


def test_a_path_that_is_not_there(camera: str) -> None:
    with pytest.raises(CameraError, match="404"):
        read_all(f"{camera}/other")


def test_silence_ends_within_the_stall_timeout(camera: str) -> None:
    source = specify(CameraOptions(f"{camera}/silent"), SETTINGS).make()
    source.open()
    assert source.read(None) is not None
    began = time.monotonic()
    with pytest.raises(StreamError, match="silent for 1 s"):
        source.read(None)
    assert 0.5 < time.monotonic() - began < 2.0
    source.close()


def test_corrupt_pictures_in_a_stream_are_counted(camera: str) -> None:
    running = Running(f"{camera}/corrupt", max_frames=20)
    wait_until(lambda: running.summary is not None)
    assert running.end().dropped["corrupt"] >= 5


def test_a_stream_that_changes_its_size(camera: str) -> None:
    running = Running(f"{camera}/resize", max_frames=40)
    wait_until(lambda: running.summary is not None)
    running.end()
    assert set(running.recorder.shapes) == {(240, 320, 3), (120, 160, 3)}


def test_logins_are_used_and_a_wrong_one_is_said() -> None:
    port = free_port()
    with mjpeg_server(port, login=f"me:{SECRET}").listening(port):
        assert len(read_all(f"http://me:{SECRET}@127.0.0.1:{port}/", limit=2)) == 2
        with pytest.raises(CameraError, match="the user name or password is wrong") as caught:
            read_all(f"http://me:wrong{SECRET}@127.0.0.1:{port}/")
        assert SECRET not in str(caught.value)
        with pytest.raises(CameraError, match="it asks for a user name and password"):
            read_all(f"http://127.0.0.1:{port}/")


@pytest.fixture(scope="module")
def rtsp() -> Iterator[str]:
    port = free_port()
    with rtsp_server(port, login=f"me:{SECRET}").listening(port):
        yield f"127.0.0.1:{port}"


def test_rtsp_with_a_login(rtsp: str) -> None:
    images = read_all(f"rtsp://me:{SECRET}@{rtsp}/live", limit=30)
    assert [image.shape for image in images] == [(240, 320, 3)] * 30
    assert images[-1][5, 5].argmax() == 2  # red, in BGR


@pytest.mark.parametrize(
    ("login", "path", "says"),
    [
        (f"me:wrong{SECRET}@", "live", "the user name or password is wrong"),
        ("", "live", "it asks for a user name and password"),
        (f"me:{SECRET}@", "other", "no stream of that path"),
    ],
)
def test_rtsp_that_is_refused(rtsp: str, login: str, path: str, says: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CameraError, match=says) as caught:
        read_all(f"rtsp://{login}{rtsp}/{path}")
    assert SECRET not in str(caught.value) + "".join(capfd.readouterr())


def test_rtsp_that_falls_silent_ends_within_the_stall_timeout(rtsp: str) -> None:
    source = specify(CameraOptions(f"rtsp://me:{SECRET}@{rtsp}/silent"), SETTINGS).make()
    source.open()
    read_at = time.monotonic()
    with pytest.raises(StreamError, match="stopped giving pictures"):
        while source.read(None) is not None:
            read_at = time.monotonic()
    assert 0.5 < time.monotonic() - read_at < 2.0
    source.close()


@pytest.mark.parametrize("sizes", [[10_000], [7], [1], [3, 50, 1]])
@pytest.mark.parametrize("lengths", [True, False])
def test_parts_are_cut_right_however_the_bytes_arrive(sizes: list[int], lengths: bool) -> None:
    bodies = [b"one", b"", b"--not the mark\r\n", bytes(range(256))]
    data = b"preamble\r\n"
    for body in bodies:
        length = b"Content-Length: %d\r\n" % len(body) if lengths else b""
        data += b"--mark\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + body + b"\r\n"
    data += b"--mark--\r\n"
    position = 0

    def read(limit: int) -> bytes:
        nonlocal position
        size = min(limit, sizes[position % len(sizes)])
        position += size
        return data[position - size : position]

    parts = MjpegParts(read, "--mark")
    assert [parts.next() for _ in bodies] == bodies
    assert parts.next() is None


def test_a_part_that_announces_too_much_is_refused() -> None:
    data = iter([b"--m\r\nContent-Length: 99999999999\r\n\r\n"])
    with pytest.raises(StreamError, match="no picture"):
        MjpegParts(lambda _: next(data, b""), "m").next()


@pytest.mark.parametrize("pixel_format", ["bgr24", "rgb24", "gray"])
def test_raw_frames_through_a_pipe(pixel_format: str) -> None:
    channels = 1 if pixel_format == "gray" else 3
    frames = [np.full((4, 6, channels), value, np.uint8) for value in (10, 20, 30)]
    if channels == 3:
        frames = [frame * np.array([1, 2, 3], np.uint8) for frame in frames]
    reading, writing = os.pipe()
    os.write(writing, b"".join(frame.tobytes() for frame in frames))
    os.close(writing)
    camera = CameraOptions("-", width=6, height=4, pixel_format=pixel_format)  # type: ignore[arg-type]
    with os.fdopen(reading, "rb") as stream:
        source = PipeSource(camera, stream)
        source.open()
        shots = [source.read(None) for _ in frames]
        assert source.read(None) is None
    first = [shot.image[0, 0].tolist() for shot in shots if shot is not None]
    expected = {"bgr24": [10, 20, 30], "rgb24": [30, 20, 10], "gray": [10, 10, 10]}[pixel_format]
    assert first == [[value * k for value in expected] for k in (1, 2, 3)]


def test_half_a_frame_at_the_end_is_said() -> None:
    reading, writing = os.pipe()
    os.write(writing, bytes(100))
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        source = PipeSource(CameraOptions("-", width=6, height=4), stream)
        source.open()
        source.read(None)
        with pytest.raises(StreamError, match="28 of a frame's 72 bytes"):
            source.read(None)


def test_a_pipe_into_a_process_of_its_own() -> None:
    script = (
        "from edgekit.runtime import *; from edgekit.runtime.fakes import fake_model\n"
        "options = RunOptions(cameras=(CameraOptions('-', width=64, height=48),))\n"
        "print(run(options, model=fake_model()).frames)"
    )
    frames = b"".join(solid(red=255).tobytes() for _ in range(25))
    done = subprocess.run(
        [sys.executable, "-c", script], input=frames, capture_output=True, timeout=30, env=environment()
    )
    assert done.stdout.decode().strip() == "25", done.stderr.decode()


class FakePicamera2:
    """The part of picamera2 that is used, as its manual describes it."""

    cameras: ClassVar = [{"Num": 0, "Model": "imx708", "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a"}]
    opened: ClassVar[list[FakePicamera2]] = []

    def __init__(self, number: int) -> None:
        self.requests = 0
        self.closed = False
        FakePicamera2.opened.append(self)

    @staticmethod
    def global_camera_info() -> list[dict[str, object]]:
        return FakePicamera2.cameras

    def create_video_configuration(self, *, main: dict, controls: dict, buffer_count: int) -> dict:
        assert main["format"] == "RGB888"
        return {"main": {**main, "size": (640, 480)}, "controls": controls}

    def configure(self, configuration: dict) -> None:
        self.configuration = configuration

    def camera_configuration(self) -> dict:
        return self.configuration

    def start(self) -> None: ...

    def capture_request(self, wait: float) -> FakePicamera2:
        self.requests += 1
        if self.requests > 2:
            raise TimeoutError
        return self

    def make_array(self, name: str) -> np.ndarray:
        return np.zeros((480, 640, 3), np.uint8)

    def get_metadata(self) -> dict[str, int]:
        return {"SensorTimestamp": time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 20_000_000}

    def release(self) -> None: ...

    def close(self) -> None:
        self.closed = True


class FakeLibrary:
    Picamera2 = FakePicamera2


def test_a_csi_camera_through_picamera2() -> None:
    source = CsiSource(CameraOptions("csi", width=800, height=600, fps=30.0), 0, 0.5, FakeLibrary)
    assert source.open() == "640x480, RGB888"
    shot = source.read(None)
    assert shot is not None
    assert time.monotonic() - shot.captured_at == pytest.approx(0.020, abs=0.01)
    assert source.skip()
    with pytest.raises(StreamError, match=r"no picture for 0\.5 s"):
        source.read(None)
    source.close()
    assert FakePicamera2.opened[-1].closed


def test_a_csi_camera_that_is_not_there() -> None:
    with pytest.raises(CameraError, match="libcamera sees 1 cameras"):
        CsiSource(CameraOptions("csi:3"), 3, 0.5, FakeLibrary).open()


def test_picamera2_is_missed_in_words() -> None:
    with pytest.raises(CameraError, match="picamera2 is not installed"):
        read_all("csi")


def test_decoding_refuses_what_is_cut_off() -> None:
    from edgekit.runtime.sources.web import decode_jpeg

    whole = cv2.imencode(".jpg", solid(red=255))[1].tobytes()
    assert decode_jpeg(whole, "x").shape == (48, 64, 3)
    for data in (b"", b"\xff\xd8\xff", whole[: len(whole) // 2], b"hello"):
        with pytest.raises(CorruptFrameError):
            decode_jpeg(data, "x")


@pytest.mark.parametrize(
    "bad",
    [{"width": 0}, {"height": -1}, {"fps": 0.0}, {"fourcc": "MJPEG"}, {"source": ""}],
)
def test_impossible_settings_are_refused(bad: dict) -> None:
    with pytest.raises(UsageError):
        CameraOptions(**{"source": "0", **bad})
