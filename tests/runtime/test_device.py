"""A Video4Linux camera, with a stand-in for the driver where this machine has none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgekit.errors import CameraError
from edgekit.runtime import CameraOptions, Resilience
from edgekit.runtime.sources import device
from edgekit.runtime.sources.device import DeviceSource, explain_device


class FakeCapture:
    """As much of ``cv2.VideoCapture`` as a webcam shows: it gives 640x480 whatever is asked, in the format asked."""

    opened: bool = True
    stamp_age_s: float | None = 0.015

    def __init__(self, target: object, backend: int) -> None:
        self.target = target
        self.asked: list[tuple[int, float]] = []
        self.released = False
        FakeCapture.last = self

    last: Any = None

    def isOpened(self) -> bool:  # noqa: N802 (its name)
        return self.opened

    def set(self, prop: int, value: float) -> bool:
        self.asked.append((prop, value))
        return True

    def get(self, prop: int) -> float:
        if prop == cv2.CAP_PROP_POS_MSEC:
            return 0.0 if self.stamp_age_s is None else (time.monotonic() - self.stamp_age_s) * 1000
        values = {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480, cv2.CAP_PROP_FPS: 30}
        return values.get(prop, cv2.VideoWriter.fourcc(*"MJPG"))

    def grab(self) -> bool:
        return True

    def retrieve(self, buffer: np.ndarray | None) -> tuple[bool, np.ndarray]:
        return True, np.zeros((480, 640, 3), np.uint8) if buffer is None else buffer

    def release(self) -> None:
        self.released = True


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(device, "explain_device", lambda path: None)
    return FakeCapture


def test_the_format_is_asked_first_and_what_is_obtained_is_said(
    capture: type[FakeCapture], caplog: pytest.LogCaptureFixture
) -> None:
    source = DeviceSource(CameraOptions("0", width=1280, height=720, fps=60.0, fourcc="MJPG"), "0", Resilience())
    assert source.open() == "640x480 at 30 fps, MJPG"
    asked = [prop for prop, _ in capture.last.asked]
    assert asked == [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS]
    assert "asked for 1280x720, gives 640x480 at 30 fps, MJPG" in caplog.text
    source.close()
    assert capture.last.released


@pytest.mark.parametrize(
    ("stamp_age_s", "believed"),
    [(0.015, True), (4.0, True), (None, False), (60.0, False), (-1.0, False)],
    ids=["fresh", "from a full queue", "none", "of another clock", "of the future"],
)
def test_the_drivers_timestamp_counts_where_it_is_one(
    capture: type[FakeCapture], monkeypatch: pytest.MonkeyPatch, stamp_age_s: float | None, believed: bool
) -> None:
    monkeypatch.setattr(capture, "stamp_age_s", stamp_age_s)
    source = DeviceSource(CameraOptions("0"), "0", Resilience())
    source.open()
    shot = source.read(None)
    assert shot is not None
    age = time.monotonic() - shot.captured_at
    assert age == pytest.approx(stamp_age_s if believed else 0.0, abs=0.05)


def test_a_camera_that_gives_nothing_is_said(capture: type[FakeCapture], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "opened", False)
    with pytest.raises(CameraError, match="gives no pictures"):
        DeviceSource(CameraOptions("0"), "0", Resilience()).open()
    assert capture.last.released


def test_why_a_device_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CameraError, match="no such camera"):
        explain_device(str(tmp_path / "video9"))
    (tmp_path / "video0").touch()
    explain_device(str(tmp_path / "video0"))
    import errno
    import os

    def refuse(number: int) -> Any:
        def opening(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        return opening

    for number, says in (
        (errno.EACCES, "not allowed"), (errno.EBUSY, "another program is using it"), (errno.EIO, "cannot be opened"),
    ):  # fmt: skip
        monkeypatch.setattr(device.os, "open", refuse(number))
        with pytest.raises(CameraError, match=says):
            explain_device("/dev/video0")
