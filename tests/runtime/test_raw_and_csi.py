"""Raw frames through a pipe, and a Raspberry Pi's own camera through picamera2."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import ClassVar

import numpy as np
import pytest
from rt_help import environment, read_all

from edgekit.errors import CameraError, StreamError
from edgekit.runtime import CameraOptions, Resilience
from edgekit.runtime.fakes import solid
from edgekit.runtime.sources.csi import CsiSource
from edgekit.runtime.sources.pipe import PipeSource

SETTINGS = Resilience(stall_timeout_s=1.0, open_timeout_s=2.0)
SECRET = "s3cret!pw"  # noqa: S105


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


def test_a_closed_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CameraError, match="standard input is closed"):
        PipeSource(CameraOptions("-", width=6, height=4)).open()


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
