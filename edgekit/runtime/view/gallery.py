"""The newest picture of each camera as JPEG, encoded once however many look, and not at all when nobody does."""

from __future__ import annotations

import threading
import time
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.runtime.bell import Bell
from edgekit.runtime.frames import Image

# A viewer that has not asked for this long is gone.
_INTEREST_S = 3.0
_QUALITY = 75
_LONGEST_SIDE = 960


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture; ``number`` grows with each new one of its camera."""

    number: int
    jpeg: bytes


class Gallery:
    """Takes frames from the loop and holds the newest picture of each camera; a viewer never makes the loop wait.

    The loop only copies the frame, and only if someone is looking and the last one is old enough. Scaling, overlay and
    encoding happen on the thread that calls :meth:`encode_waiting`, mostly outside the GIL.

    Args:
        bell: rung when there is a picture to encode.
        max_fps: how often a picture is taken over, per camera.
    """

    def __init__(self, cameras: int, bell: Bell, *, max_fps: float = 10.0) -> None:
        self._interval_s = 1.0 / max_fps
        self._rooms = [_Room() for _ in range(cameras)]
        self._bell = bell
        self._news = threading.Condition()

    def show(self, camera: int, image: Image, caption: str) -> None:
        """Called by the loop with each answered frame; copies it at most ``max_fps`` times a second."""
        room = self._rooms[camera]
        now = time.monotonic()
        if now - room.asked_at > _INTEREST_S or now - room.taken_at < self._interval_s or room.waiting:
            return
        room.taken_at = now
        # Every k-th pixel of a large frame: the page shows no more, and copying 8K would be felt by the loop.
        height, width = image.shape[:2]
        step = max(1, max(height, width) // _LONGEST_SIDE)
        shape = (max(1, height // step), max(1, width // step), 3)
        if room.raw is None or room.raw.shape != shape:
            room.raw = np.empty(shape, np.uint8)
        if step == 1:
            np.copyto(room.raw, image)
        else:
            import cv2

            cv2.resize(image, shape[1::-1], room.raw, interpolation=cv2.INTER_NEAREST)
        room.caption = caption
        room.waiting = True
        self._bell.ring()

    def ask(self, camera: int) -> None:
        """Someone looks at this camera: pictures are taken over for a while."""
        self._rooms[camera].asked_at = time.monotonic()

    def latest(self, camera: int) -> Picture | None:
        return self._rooms[camera].picture

    def wait(self, camera: int, after: int, timeout_s: float) -> Picture | None:
        """A picture newer than number ``after``, waiting up to ``timeout_s`` for one; None if none came."""

        def newer() -> bool:
            picture = self.latest(camera)
            return picture is not None and picture.number > after

        self.ask(camera)
        with self._news:
            return self.latest(camera) if self._news.wait_for(newer, timeout_s) else None

    def encode_waiting(self) -> None:
        """Makes pictures of what the loop has left; always called by the same thread."""
        for room in self._rooms:
            if room.waiting and room.raw is not None:
                number = 0 if room.picture is None else room.picture.number + 1
                picture = Picture(number, encode(room.raw, room.caption))
                with self._news:
                    room.picture = picture
                    self._news.notify_all()
                room.waiting = False


class _Room:
    """What is held for one camera. ``raw`` is the encoder's while ``waiting`` is set, else the loop's."""

    def __init__(self) -> None:
        self.asked_at = float("-inf")
        self.taken_at = float("-inf")
        self.raw: Image | None = None
        self.caption = ""
        self.waiting = False
        self.picture: Picture | None = None


def encode(image: Image, caption: str) -> bytes:
    """JPEG of ``image`` (uint8 ``[H, W, 3]`` BGR, drawn upon) with the caption on a dark strip along its lower edge."""
    import cv2

    height, width = image.shape[:2]
    if caption and min(height, width) >= 64:
        scale = max(0.4, width / 900)
        text = _fit(ascii_only(caption), scale, width - 12, cv2)
        (_, text_height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        top = height - text_height - 2 * baseline
        strip = image[max(0, top) :]
        np.multiply(strip, 0.35, out=strip, casting="unsafe")
        cv2.putText(
            image, text, (6, height - baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA
        )
    ok, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    return data.tobytes() if ok else b""


def _fit(text: str, scale: float, width: int, cv2: Any) -> str:
    """``text``, cut where it would run over ``width`` pixels."""
    if cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0] <= width:
        return text
    while text and cv2.getTextSize(text + "...", cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0] > width:
        text = text[:-1]
    return text + "..."


def ascii_only(text: str) -> str:
    """OpenCV's own font has no more than ASCII: accents are dropped, the rest becomes ``?``."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).encode("ascii", "replace").decode("ascii")
