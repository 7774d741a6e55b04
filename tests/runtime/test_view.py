"""The live view over HTTP: who may look, what they get, and that none of them is felt by the loop."""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from rt_help import SESSION, Running, a_result, free_port, wait_until

from edgekit.errors import UsageError
from edgekit.runtime.fakes import FakeSource, fake_spec, solid
from edgekit.runtime.results import Dropped, Health, SourceUp
from edgekit.runtime.view import View
from edgekit.runtime.view.access import Access, is_loopback
from edgekit.runtime.view.gallery import ascii_only, encode

PICTURE = solid(red=255, height=240, width=320)


@pytest.fixture
def view() -> Iterator[View]:
    made = View(0)
    made.start(SESSION)
    yield made
    made.close()


def get(view: View, path: str, **headers: str) -> http.client.HTTPResponse:
    port = int(view.url.split(":")[2].split("/")[0])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def feed(view: View, seconds: float = 0.3) -> None:
    """Results as the loop would give them."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        view.result(a_result(number), PICTURE)
        number += 1
        time.sleep(0.01)


def test_the_page_needs_nothing_from_elsewhere(view: View) -> None:
    answer = get(view, "/")
    page = answer.read().decode()
    assert answer.status == 200
    for mark in ("http://", "https://", "//cdn", "@import"):
        assert mark not in page.replace("http://www.w3.org/2000/svg", ""), mark
    assert "default-src 'none'" in (answer.getheader("Content-Security-Policy") or "")


def test_the_state_is_what_the_loop_said(view: View) -> None:
    view.event(SourceUp(0, "640x480 at 30 fps"))
    view.event(Dropped(0, "superseded", 4))
    view.event(Health(temperature_c=61.0, throttled=True, throttle_reasons=("under-voltage",)))
    view.result(a_result(label="größe"), PICTURE)
    state = json.loads(get(view, "/state.json").read())
    assert state["sources"][0]["label"] == "größe"
    assert state["sources"][0]["state"] == "640x480 at 30 fps"
    assert state["sources"][0]["latency_ms"]["inference"] == 8.0
    assert state["dropped"] == {"superseded": 4}
    assert state["health"]["reasons"] == ["under-voltage"]
    assert state["model"]["engine"] == "fake 1.2"


def test_events_begin_with_the_card_and_go_on_with_ticks(view: View) -> None:
    answer = get(view, "/events")
    assert answer.readline() == b"event: card\n"
    assert json.loads(answer.readline().removeprefix(b"data: "))["cameras"] == ["door"]
    answer.readline()
    view.result(a_result(), PICTURE)
    ticks = []
    for _ in range(3):
        ticks.append(json.loads(answer.readline().removeprefix(b"data: ")))
        answer.readline()
    assert max(tick["point"][0] for tick in ticks) == 9.5
    assert ticks[-1]["frames"] == 1


def test_the_stream_is_mjpeg_with_the_overlay(view: View) -> None:
    answer = get(view, "/stream.mjpg?camera=0")
    assert answer.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=frame"
    feed(view)
    assert answer.readline() == b"--frame\r\n"
    assert answer.readline() == b"Content-Type: image/jpeg\r\n"
    size = int(answer.readline().split(b":")[1])
    answer.readline()
    picture = cv2.imdecode(np.frombuffer(answer.read(size), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (240, 320, 3)
    assert picture[20, 160].argmax() == 2 and picture[20, 160, 2] > 240
    strip = picture[-14:]
    assert strip[..., 2].min() < 130 and strip[..., 0].max() > 200  # darkened, with white letters


def test_pictures_are_not_encoded_while_nobody_looks(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgekit.runtime.view import gallery

    encoded = []
    monkeypatch.setattr(gallery, "encode", lambda image, caption: encoded.append(caption) or b"jpeg")
    feed(view, 0.2)
    assert encoded == []
    answer = get(view, "/stream.mjpg")
    feed(view, 0.4)
    answer.close()
    assert 3 <= len(encoded) <= 6  # 10 a second, not 100


@pytest.mark.parametrize("path", ["/other", "/stream.mjpg?camera=1", "/stream.mjpg?camera=x", "/../etc/passwd"])
def test_what_is_not_there(view: View, path: str) -> None:
    assert get(view, path).status == 404


def test_a_snapshot_without_a_camera_says_so(view: View) -> None:
    assert get(view, "/snapshot.jpg").status == 503


def test_another_sites_name_for_this_machine_is_refused(view: View) -> None:
    """DNS rebinding: a web page whose host name resolves to 127.0.0.1 must not get the picture."""
    assert get(view, "/state.json", Host="evil.example:80").status == 403
    assert get(view, "/state.json", Host="localhost:9").status == 200


@pytest.fixture
def guarded() -> Iterator[View]:
    made = View(0, host="0.0.0.0")  # noqa: S104
    made.start(SESSION)
    yield made
    made.close()


def test_off_loopback_a_token_is_asked_for(guarded: View) -> None:
    token = guarded.url.partition("token=")[2]
    assert len(token) >= 20
    for path in ("/", "/state.json", "/stream.mjpg", "/events", "/snapshot.jpg"):
        assert get(guarded, path).status == 403
        assert get(guarded, f"{path}?token=wrong").status == 403
    first = get(guarded, f"/?token={token}")
    cookie = first.getheader("Set-Cookie") or ""
    assert first.status == 200
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert get(guarded, "/state.json", Cookie=cookie.partition(";")[0]).status == 200
    assert get(guarded, "/state.json", Authorization=f"Bearer {token}").status == 200
    assert get(guarded, "/state.json", Host="pi.local", Cookie=cookie.partition(";")[0]).status == 200


def test_tokens_are_different_each_time_and_can_be_given() -> None:
    assert Access.for_host("0.0.0.0").token != Access.for_host("0.0.0.0").token  # noqa: S104
    assert Access.for_host("192.168.1.2", "mine").token == "mine"  # noqa: S105
    assert Access.for_host("127.0.0.1").token is None
    assert not Access("täglich").allows("/", {"Cookie": "edgekit-token=\x80"})


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("pi", False)],  # noqa: S104
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="another program listens there"):
            View(taken.getsockname()[1]).start(SESSION)


def test_the_port_is_free_again_afterwards() -> None:
    port = free_port()
    for _ in range(2):
        made = View(port)
        made.start(SESSION)
        answer = get(made, "/events")
        answer.readline()
        made.close()


def test_too_many_viewers_are_turned_away(view: View) -> None:
    held = [get(view, "/events") for _ in range(40)]
    assert get(view, "/events").status == 503
    assert get(view, "/state.json").status == 200
    for answer in held:
        answer.close()


def test_connections_that_ask_for_nothing_are_bounded(view: View) -> None:
    """Each is a thread: without a bound, anybody on the network could make thousands."""
    port = int(view.url.split(":")[2].split("/")[0])
    idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(150)]
    try:
        wait_until(lambda: len(select.select(idle, [], [], 0)[0]) >= 40)  # closed by the server
        assert sum("process_request_thread" in thread.name for thread in threading.enumerate()) <= 100
    finally:
        for connection in idle:
            connection.close()
    wait_until(lambda: get_status(view) == 200)


def get_status(view: View) -> int:
    try:
        return get(view, "/state.json").status
    except OSError:
        return 0


def stalled_viewer(port: int) -> socket.socket:
    """Asks for the stream and then never reads."""
    viewer = socket.socket()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    viewer.connect(("127.0.0.1", port))
    viewer.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return viewer


def test_a_viewer_that_never_reads_holds_up_nobody() -> None:
    port = free_port()
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    specs = [fake_spec(lambda: FakeSource([noise] * 100_000, interval_s=0.005), live=True)]
    running = Running("fake", view := View(port), specs=specs)
    try:
        wait_until(lambda: view.url)
        stalled = stalled_viewer(port)
        answer = get(view, "/stream.mjpg")
        # Well before the server gives up the stalled viewer, after 10 s: whoever waited for that would fail here.
        before, deadline = running.frames(), time.monotonic() + 8.0
        received = 0
        while received < 600_000:
            received += len(answer.read(65536))
        wait_until(lambda: running.frames() > before + 50, deadline - time.monotonic())
        stalled.close()
    finally:
        running.end()


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (1081, 1923), (4320, 7680)])
def test_pictures_of_any_size_are_shown_no_larger_than_the_page(view: View, size: tuple[int, int]) -> None:
    answer = get(view, "/stream.mjpg")
    picture = np.full((*size, 3), (0, 0, 255), np.uint8)

    def show() -> bool:
        view.result(a_result(), picture)
        return bool(select.select([answer.fileno()], [], [], 0.02)[0])

    wait_until(show)
    answer.readline()
    answer.readline()
    jpeg = answer.read(int(answer.readline().split(b":")[1]) + 2)[2:]
    shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert max(shown.shape) < 2 * 960
    if min(size) > 960:
        assert shown.shape[1] / shown.shape[0] == pytest.approx(size[1] / size[0], rel=0.01)
    assert shown[0, 0].argmax() == 2
    answer.close()


def test_a_viewer_that_leaves_is_forgotten(view: View) -> None:
    from pathlib import Path

    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in ("/stream.mjpg", "/events"):
        for _ in range(10):
            get(view, path).close()
    feed(view, 0.6)
    wait_until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 1)


def test_captions_are_cut_to_the_picture_and_to_ascii() -> None:
    assert ascii_only("größe – café") == "gro?e ? cafe"
    picture = np.zeros((100, 120, 3), np.uint8)
    assert encode(picture, "a label that is far too long for so small a picture")[:2] == b"\xff\xd8"
    assert encode(np.zeros((1, 1, 3), np.uint8), "x")[:2] == b"\xff\xd8"
