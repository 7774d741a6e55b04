"""A GStreamer pipeline, for OpenCV builds that have it (Debian's ``python3-opencv`` does, pip's wheels do not)."""

from __future__ import annotations

from edgekit.errors import CameraError
from edgekit.runtime.options import Resilience
from edgekit.runtime.sources.opencv import CaptureSource, backend, quiet
from edgekit.runtime.sources.urls import redact


class GStreamerSource(CaptureSource):
    def __init__(self, pipeline: str, resilience: Resilience) -> None:
        super().__init__("the GStreamer pipeline", live=True)
        self._pipeline = pipeline
        self._resilience = resilience

    def open(self) -> str:
        import cv2

        number = backend("GSTREAMER")
        if number is None:
            raise CameraError(
                f"{redact(self._pipeline)}: this OpenCV was built without GStreamer",
                hint="apt install python3-opencv brings one that has it",
            )
        quiet()
        pipeline = self._pipeline
        if "appsink" not in pipeline:
            # One buffer, the newest: GStreamer's own queue would make every picture old.
            pipeline += " ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
        settings = [
            (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(self._resilience.open_timeout_s * 1000)),
            (cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(self._resilience.stall_timeout_s * 1000)),
        ]
        self._capture = cv2.VideoCapture(pipeline, number, [part for pair in settings for part in pair])
        if not self._capture.isOpened():
            self.close()
            raise CameraError(
                f"{redact(self._pipeline)}: GStreamer cannot run this pipeline",
                hint="try it with gst-launch-1.0, ending in fakesink",
            )
        return self._obtained()
