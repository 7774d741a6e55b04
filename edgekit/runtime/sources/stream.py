"""RTSP and every other network stream that FFmpeg reads."""

from __future__ import annotations

from edgekit.errors import CameraError
from edgekit.runtime.options import Resilience
from edgekit.runtime.sources.opencv import CaptureSource, backend, quiet
from edgekit.runtime.sources.urls import redact


class StreamSource(CaptureSource):
    """Args: live: whether an end is an outage, or the end of a recording."""

    def __init__(self, url: str, resilience: Resilience, *, live: bool = True) -> None:
        super().__init__(redact(url), live=live)
        self._url = url
        self._resilience = resilience

    def open(self) -> str:
        import cv2

        from edgekit.runtime.sources.probe import explain_stream

        number = backend("FFMPEG")
        if number is None:
            raise CameraError(
                f"{self.name}: this OpenCV was built without FFmpeg", hint="pip install opencv-python-headless"
            )
        quiet()
        # FFmpeg's own calls end after these times, so a blocked thread always comes back. One decoder thread:
        # each further one would hold back a picture.
        settings = [
            (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(self._resilience.open_timeout_s * 1000)),
            (cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(self._resilience.stall_timeout_s * 1000)),
        ]
        if hasattr(cv2, "CAP_PROP_N_THREADS"):
            settings.append((cv2.CAP_PROP_N_THREADS, 1))
        self._capture = cv2.VideoCapture(self._url, number, [part for pair in settings for part in pair])
        if not self._capture.isOpened():
            self.close()
            explain_stream(self._url, min(3.0, self._resilience.open_timeout_s))
        return self._obtained()
