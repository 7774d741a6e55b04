"""A camera of this machine: Video4Linux on Linux, whatever OpenCV has elsewhere."""

from __future__ import annotations

import errno
import logging
import os
import sys

from edgekit.errors import CameraError
from edgekit.runtime.options import CameraOptions, Resilience
from edgekit.runtime.sources.opencv import CaptureSource, backend, quiet

_log = logging.getLogger(__name__)


class DeviceSource(CaptureSource):
    """``where`` is an index, a device path, or a camera's name, which is looked up at every opening."""

    def __init__(self, camera: CameraOptions, where: str, resilience: Resilience) -> None:
        super().__init__(f"camera {where}" if where.isdecimal() else where, live=True, timestamps=True)
        self._camera = camera
        self._where = where

    def open(self) -> str:
        import cv2

        target, path = self._resolve()
        if path is not None:
            explain_device(path)
        quiet()
        v4l2 = backend("V4L2") if sys.platform.startswith("linux") else None
        self._capture = cv2.VideoCapture(target, cv2.CAP_ANY if v4l2 is None else v4l2)
        if not self._capture.isOpened():
            self.close()
            raise CameraError(
                f"{self.name}: there, but it gives no pictures",
                hint="another program may be using it; a Raspberry Pi CSI camera is --camera csi",
            )
        asked = self._camera
        # The pixel format first: which sizes and rates a camera has depends on it.
        if asked.fourcc is not None:
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*asked.fourcc))
        for prop, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, asked.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, asked.height),
            (cv2.CAP_PROP_FPS, asked.fps),
        ):
            if value is not None:
                self._capture.set(prop, value)
        obtained = self._obtained()
        size = (int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        wanted = (asked.width or size[0], asked.height or size[1])
        if size != wanted:
            _log.warning("%s: asked for %dx%d, gives %s", self.name, *wanted, obtained)
        return obtained

    def _resolve(self) -> tuple[int | str, str | None]:
        """What OpenCV is given, and the device file to look at when that fails."""
        if self._where.isdecimal():
            number = int(self._where)
            return number, f"/dev/video{number}" if sys.platform.startswith("linux") else None
        if self._where.startswith("/dev/"):
            return self._where, self._where
        from edgekit.runtime.cameras import find_by_name

        found = find_by_name(self._where)
        if found is None:
            raise CameraError(f"{self._where}: no such camera now", hint="`edgekit cameras` lists what is plugged in")
        return found.path, found.path


def explain_device(path: str) -> None:
    """Opens and closes the device file, to turn what OpenCV would only call a failure into its reason.

    Raises:
        CameraError: it does not exist, may not be opened, or is busy.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except FileNotFoundError:
        raise CameraError(f"{path}: no such camera", hint="`edgekit cameras` lists what is plugged in") from None
    except PermissionError:
        raise CameraError(
            f"{path}: not allowed to open it", hint='sudo usermod -aG video "$USER", then log in again'
        ) from None
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise CameraError(f"{path}: another program is using it", hint=f"fuser -v {path} names it") from None
        raise CameraError(f"{path}: cannot be opened: {error.strerror}") from error
