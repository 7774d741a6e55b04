"""MJPEG, snapshots, RTSP and recordings over the network, from real servers; and URLs with passwords in them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import cv2
import pytest
from rt_help import Running, free_port, mjpeg_server, read_all, rtsp_server, threads, wait_until

from edgekit.errors import CameraError, StreamError
from edgekit.runtime import CameraOptions, Resilience
from edgekit.runtime.capture.attempt import blocked
from edgekit.runtime.fakes import solid
from edgekit.runtime.sources import redact, specify
from edgekit.runtime.sources.base import CorruptFrameError
from edgekit.runtime.sources.mjpeg import MjpegParts
from edgekit.runtime.sources.urls import split_login, with_login

SETTINGS = Resilience(stall_timeout_s=1.0, open_timeout_s=2.0)
SECRET = "s3cret!pw"  # noqa: S105


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:hunter2@ss:w/rd@10.0.0.5:554/live", "rtsp://***@10.0.0.5:554/live"),
        ("rtsp://admin:hunter2@10.0.0.5/live?x=1", "rtsp://***@10.0.0.5/live?x=1"),
        ("http://cam/stream?user=a&password=hunter2&x=1", "http://cam/stream?user=a&password=***&x=1"),
        ("rtspsrc location=rtsp://a:hunter2@cam/ ! decodebin", "rtspsrc location=rtsp://***@cam/ ! decodebin"),
        ("no answer from rtsp://me:my hunter2@cam/x today", "no answer from rtsp://***@cam/x today"),
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


def test_a_dead_camera_does_not_keep_another_from_opening(rtsp: str) -> None:
    """One accepts the connection and never answers; OpenCV would hold a lock around its opening."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        dead = f"rtsp://127.0.0.1:{hole.getsockname()[1]}/x"
        resilience = Resilience(stall_timeout_s=1.0, open_timeout_s=6.0, retry_first=True)
        running = Running((dead, f"rtsp://me:{SECRET}@{rtsp}/live"), resilience=resilience)
        try:
            wait_until(lambda: running.frames() > 10, 5.0)
        finally:
            running.end()
        assert blocked() == 1
    wait_until(lambda: not blocked(), 10.0)


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


def test_decoding_refuses_what_is_cut_off() -> None:
    from edgekit.runtime.sources.web import decode_jpeg

    whole = cv2.imencode(".jpg", solid(red=255))[1].tobytes()
    assert decode_jpeg(whole, "x").shape == (48, 64, 3)
    for data in (b"", b"\xff\xd8\xff", whole[: len(whole) // 2], b"hello"):
        with pytest.raises(CorruptFrameError):
            decode_jpeg(data, "x")


def test_a_server_that_trickles_does_not_hold_a_thread_for_ever(camera: str) -> None:
    """A byte at a time keeps every socket timeout away; the stall is noticed by the supervisor."""
    running = Running(f"{camera}/trickle", resilience=Resilience(stall_timeout_s=0.4, retry_first=True))
    wait_until(lambda: running.frames() >= 1)
    time.sleep(3.0)
    blocked = [name for name in threads() if name.startswith("edgekit-camera")]
    running.end()
    assert len(blocked) <= 2
    wait_until(lambda: not threads())


def test_a_recording_over_http_gives_every_frame_and_ends(camera: str) -> None:
    running = Running(f"{camera}/clip.avi")
    wait_until(lambda: running.summary is not None or running.error is not None)
    summary = running.end()
    assert (summary.frames, summary.dropped, summary.stopped_by) == (12, {}, "end")


def test_a_video_without_a_telling_name_ends_too(camera: str) -> None:
    running = Running(f"{camera}/clip")
    wait_until(lambda: running.summary is not None or running.error is not None)
    summary = running.end()
    assert summary.stopped_by == "end"
    assert summary.frames + sum(summary.dropped.values()) == 12
