"""Raw frames on standard input, as ``ffmpeg -f rawvideo -pix_fmt bgr24 -`` writes them: every one, in order."""

from __future__ import annotations

import select
import sys
import threading
import time
from typing import IO

import numpy as np

from edgekit.errors import CameraError, StreamError
from edgekit.runtime.frames import Image
from edgekit.runtime.options import CameraOptions
from edgekit.runtime.sources.base import Shot

_CHANNELS = {"bgr24": 3, "rgb24": 3, "gray": 1}
_LOOK_S = 0.2  # how often a silent pipe lets the thread see that it should stop


class PipeSource:
    """Frames of a known size from a byte stream.

    Args:
        stream: a binary stream with a file descriptor; None is standard input.
    """

    def __init__(self, camera: CameraOptions, stream: IO[bytes] | None = None) -> None:
        self._camera = camera
        self._stream = stream
        self._stopped = threading.Event()

    def open(self) -> str:
        camera = self._camera
        if camera.width is None or camera.height is None:
            raise CameraError(
                "standard input: raw frames need their size", hint="--width 640 --height 480, and bgr24 pixels"
            )
        if self._stream is None:
            if sys.stdin is None:  # started with it closed, as some supervisors do
                raise CameraError("standard input is closed", hint="--camera - reads what is piped into edgekit")
            self._stream = sys.stdin.buffer
        if self._stream.isatty():
            raise CameraError(
                "standard input is a terminal, not a pipe", hint="ffmpeg … -f rawvideo -pix_fmt bgr24 - | edgekit run …"
            )
        self._raw = np.empty((camera.height, camera.width, _CHANNELS[camera.pixel_format]), np.uint8)
        return f"{camera.width}x{camera.height}, {camera.pixel_format} raw frames"

    def read(self, buffer: Image | None) -> Shot | None:
        shape = (*self._raw.shape[:2], 3)
        image = buffer if buffer is not None and buffer.shape == shape else np.empty(shape, np.uint8)
        direct = self._camera.pixel_format == "bgr24"
        if not self._fill((image if direct else self._raw).data.cast("B")):
            return None
        if not direct:
            import cv2

            code = cv2.COLOR_RGB2BGR if self._camera.pixel_format == "rgb24" else cv2.COLOR_GRAY2BGR
            cv2.cvtColor(self._raw, code, image)
        return Shot(image, time.monotonic())

    def skip(self) -> bool:
        return self._fill(self._raw.data.cast("B"))

    def interrupt(self) -> None:
        self._stopped.set()

    def close(self) -> None: ...

    def _fill(self, view: memoryview) -> bool:
        """Reads exactly one frame; False at an end between two frames."""
        import os

        assert self._stream is not None  # noqa: S101 (open() set it)
        descriptor = self._stream.fileno()
        filled = 0
        while filled < len(view):
            if self._stopped.is_set():
                return False
            if not select.select([descriptor], [], [], _LOOK_S)[0]:
                continue
            got = os.readv(descriptor, [view[filled:]])
            if got == 0:
                if filled:
                    raise StreamError(
                        f"standard input: ended after {filled} of a frame's {len(view)} bytes",
                        hint="--width, --height and the pixel format must be the sender's",
                    )
                return False
            filled += got
        return True
