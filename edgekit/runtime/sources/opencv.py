"""What every source that OpenCV reads has in common."""

from __future__ import annotations

import os
import time
from typing import Any

from edgekit.errors import StreamError
from edgekit.runtime.frames import Image
from edgekit.runtime.sources.base import CorruptFrameError, Shot

# A driver's timestamp is believed when it is on our clock: not in the future, not older than this.
_BELIEVED_S = 5.0


class CaptureSource:
    """A ``cv2.VideoCapture`` read with ``grab`` and ``retrieve``, into the caller's buffer.

    Subclasses open it: :attr:`_capture` is theirs to set. OpenCV's calls release the GIL while they block.
    """

    name: str
    live: bool

    def __init__(self, name: str, *, live: bool, timestamps: bool = False) -> None:
        self.name = name
        self.live = live
        self._timestamps = timestamps
        self._capture: Any = None
        self.fps: float | None = None  # once open, where the source says it

    def read(self, buffer: Image | None) -> Shot | None:
        if not self._grab():
            return None
        captured_at = self._moment()
        ok, image = self._capture.retrieve(buffer)
        if not ok or image is None or image.size == 0:
            raise CorruptFrameError(f"{self.name}: a picture could not be decoded")
        if image.ndim == 2:
            import cv2

            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        return Shot(image, captured_at)

    def skip(self) -> bool:
        return self._grab()

    def interrupt(self) -> None:
        """Nothing to do: the timeouts given at opening end a blocked call."""

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _grab(self) -> bool:
        if self._capture.grab():
            return True
        if self.live:
            raise StreamError(f"{self.name}: stopped giving pictures")
        return False

    def _moment(self) -> float:
        """When the picture just grabbed was taken: the driver's timestamp where it is one of our clock, else now."""
        now = time.monotonic()
        if self._timestamps:
            import cv2

            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            if now - _BELIEVED_S < stamp <= now:
                return float(stamp)
        return now

    def _obtained(self) -> str:
        """``640x480 at 30 fps, MJPG``: what the source says it gives."""
        import cv2

        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        text = f"{width}x{height}"
        if 0.1 < fps < 1000:  # streams that do not know report 90000 or 0
            self.fps = float(fps)
            text += f" at {fps:.4g} fps"
        code = int(self._capture.get(cv2.CAP_PROP_FOURCC))
        letters = bytes((code >> shift) & 0xFF for shift in (0, 8, 16, 24)) if code > 0 else b""
        if len(letters) == 4 and all(32 < letter < 127 for letter in letters):
            text += f", {letters.decode('ascii')}"
        return text


def quiet() -> None:
    """Prepares OpenCV before its first opening of anything.

    Complaints of OpenCV and FFmpeg stay off stderr: they may hold a URL, and we say it better, and once. And OpenCV's
    lock around FFmpeg goes: FFmpeg has needed none since version 4, and with it a camera that does not answer keeps
    every other one from opening.
    """
    import cv2

    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET
    os.environ.setdefault("OPENCV_FFMPEG_IS_THREAD_SAFE", "1")

    if hasattr(cv2, "setLogLevel"):
        cv2.setLogLevel(0)
    elif hasattr(cv2, "utils"):
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def backend(name: str) -> int | None:
    """OpenCV's number of a backend (``FFMPEG``, ``GSTREAMER``, ``V4L2``) if this build has it, else None."""
    import cv2

    for number in cv2.videoio_registry.getBackends():
        if cv2.videoio_registry.getBackendName(number) == name and cv2.videoio_registry.hasBackend(number):
            return int(number)
    return None
