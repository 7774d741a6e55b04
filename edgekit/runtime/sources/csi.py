"""A Raspberry Pi CSI camera through picamera2, which the system's Python brings (``apt install python3-picamera2``)."""

from __future__ import annotations

import time
from typing import Any

from edgekit.errors import CameraError, StreamError
from edgekit.runtime.frames import Image
from edgekit.runtime.options import CameraOptions
from edgekit.runtime.sources.base import Shot

_BELIEVED_S = 5.0


class CsiSource:
    """One camera of ``libcamera``.

    Args:
        library: the ``picamera2`` module, or a stand-in for tests; None imports it.
    """

    def __init__(self, camera: CameraOptions, number: int, stall_timeout_s: float, library: Any = None) -> None:
        self._camera = camera
        self._number = number
        self._timeout_s = stall_timeout_s
        self._library = library
        self._picam: Any = None

    def open(self) -> str:
        library = self._library or _import()
        width, height = self._camera.width or 640, self._camera.height or 480
        known = library.Picamera2.global_camera_info()
        if self._number >= len(known):
            raise CameraError(
                f"csi:{self._number}: libcamera sees {len(known)} cameras", hint="check the ribbon cable, then reboot"
            )
        try:
            self._picam = library.Picamera2(self._number)
            controls = {"FrameRate": self._camera.fps} if self._camera.fps else {}
            # libcamera's "RGB888" is blue first in memory: what OpenCV calls BGR.
            main = {"size": (width, height), "format": "RGB888"}
            self._picam.configure(self._picam.create_video_configuration(main=main, controls=controls, buffer_count=3))
            self._picam.start()
        except (RuntimeError, IndexError, OSError) as error:
            self.close()
            raise CameraError(
                f"csi:{self._number}: cannot be started: {error}", hint="another program may be using it"
            ) from error
        obtained = self._picam.camera_configuration()["main"]["size"]
        return f"{obtained[0]}x{obtained[1]}, RGB888"

    def read(self, buffer: Image | None) -> Shot | None:
        request = self._request()
        try:
            image = request.make_array("main")  # copies: the request's memory goes back to the camera
            stamp = request.get_metadata().get("SensorTimestamp")
        finally:
            request.release()
        now = time.monotonic()
        # Nanoseconds of CLOCK_BOOTTIME, which differs from CLOCK_MONOTONIC by the time spent suspended.
        captured = now if stamp is None else stamp / 1e9 - _boottime_offset()
        return Shot(image, captured if now - _BELIEVED_S < captured <= now else now)

    def skip(self) -> bool:
        self._request().release()
        return True

    def interrupt(self) -> None:
        """The request's own timeout ends a blocked call."""

    def close(self) -> None:
        if self._picam is not None:
            self._picam.close()
            self._picam = None

    def _request(self) -> Any:
        try:
            return self._picam.capture_request(wait=self._timeout_s)
        except TimeoutError:
            raise StreamError(f"csi:{self._number}: no picture for {self._timeout_s:g} s") from None


def _import() -> Any:
    try:
        import picamera2
    except ImportError as error:
        raise CameraError(
            "csi: picamera2 is not installed",
            hint="sudo apt install python3-picamera2, in a venv made with --system-site-packages",
        ) from error
    return picamera2


def _boottime_offset() -> float:
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.clock_gettime(clock) - time.monotonic()
