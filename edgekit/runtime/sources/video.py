"""A video file: every frame, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.errors import CameraError
from edgekit.runtime.sources.opencv import CaptureSource, backend, quiet

# Pixels a frame: handing smaller ones from thread to thread costs more than it gains.
_ONE_THREAD_UP_TO = 1280 * 720
# Text that FFmpeg takes on purpose: playlists and session descriptions.
_TEXT_MEDIA = (b"#EXTM3U", b"ffconcat", b"v=0", b"<?xml")


class VideoSource(CaptureSource):
    def __init__(self, path: Path) -> None:
        super().__init__(str(path), live=False)
        self._path = path

    def open(self) -> str:
        import cv2

        self._refuse_what_is_no_video()
        quiet()
        ffmpeg = backend("FFMPEG")
        self._capture = self._opened(ffmpeg, one_thread=hasattr(cv2, "CAP_PROP_N_THREADS"))
        size = self._capture.get(cv2.CAP_PROP_FRAME_WIDTH) * self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if self._capture.isOpened() and size > _ONE_THREAD_UP_TO:
            self._capture = self._opened(ffmpeg, one_thread=False)
        if not self._capture.isOpened():
            self.close()
            raise CameraError(
                f"{self.name}: OpenCV cannot open it as a video", hint="mp4, avi, mkv and mov with H.264 or MJPEG work"
            )
        return self._obtained()

    def _opened(self, ffmpeg: int | None, *, one_thread: bool) -> Any:
        import cv2

        if ffmpeg is None:
            return cv2.VideoCapture(str(self._path), cv2.CAP_ANY)
        return cv2.VideoCapture(str(self._path), ffmpeg, [cv2.CAP_PROP_N_THREADS, 1] if one_thread else [])

    def _refuse_what_is_no_video(self) -> None:
        try:
            with self._path.open("rb") as file:
                head = file.read(4096)
        except OSError as error:
            raise CameraError(f"{self.name}: cannot be read: {error.strerror}") from error
        if not head:
            raise CameraError(f"{self.name}: the file is empty")
        # FFmpeg "plays" any text file, as a picture of a terminal.
        if not head.startswith(_TEXT_MEDIA) and _is_text(head):
            raise CameraError(
                f"{self.name}: a text file, not a video", hint="--camera takes a video, pictures or a URL"
            )


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head[: head.rfind(b"\n") + 1 or len(head)].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
