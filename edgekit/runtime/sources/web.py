"""``http://`` and ``https://``: an MJPEG camera, a snapshot address that is asked again and again, or a video.

MJPEG is read here rather than by FFmpeg, which studies a stream for seconds before its first picture and knows neither
how to notice a silent server in time nor how to say that a password is wrong.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from edgekit.errors import CameraError, StreamError
from edgekit.runtime.frames import Image
from edgekit.runtime.options import CameraOptions, Resilience
from edgekit.runtime.sources.base import CorruptFrameError, Shot
from edgekit.runtime.sources.mjpeg import MjpegParts
from edgekit.runtime.sources.stream import StreamSource
from edgekit.runtime.sources.urls import redact, split_login

_BOUNDARY = re.compile(r'boundary=("[^"]+"|[^;\s]+)', re.I)
_LARGEST_SNAPSHOT = 64 << 20
_CHUNK = 64 << 10


class WebSource:
    def __init__(self, url: str, camera: CameraOptions, resilience: Resilience) -> None:
        self.name = redact(url)
        self._url, self._login = split_login(url)
        self._whole_url = url
        self._interval_s = 1.0 / camera.fps if camera.fps else 0.0
        self._resilience = resilience
        self._stopped = threading.Event()
        self._response: Any = None
        self._opener: Any = None
        self._parts: MjpegParts | None = None
        self._stream: StreamSource | None = None
        self._next_snapshot = 0.0

    def open(self) -> str:
        self._opener = self._make_opener()
        # Up to here is connecting; a silence between pictures is measured by the stall timeout.
        self._response = self._get(min(self._resilience.open_timeout_s, max(self._resilience.stall_timeout_s, 1.0)))
        kind = self._response.headers.get("Content-Type", "").lower()
        if kind.startswith("multipart/"):
            boundary = _BOUNDARY.search(self._response.headers.get("Content-Type", ""))
            self._parts = MjpegParts(self._read_some, boundary[1] if boundary else "")
            return "MJPEG stream"
        if kind.startswith("image/"):
            return "snapshots"
        if kind.startswith("text/html"):
            self.close()
            raise CameraError(
                f"{self.name}: a web page, not a video stream",
                hint="the camera's manual gives the stream's own address",
            )
        ends = self._response.headers.get("Content-Length") is not None
        self._drop_response()
        self._stream = StreamSource(self._whole_url, self._resilience, live=not ends)
        return self._stream.open()

    def read(self, buffer: Image | None) -> Shot | None:
        if self._stream is not None:
            return self._stream.read(buffer)
        data = self._next()
        captured_at = time.monotonic()
        return None if data is None else Shot(decode_jpeg(data, self.name), captured_at)

    def skip(self) -> bool:
        return self._stream.skip() if self._stream is not None else self._next() is not None

    def interrupt(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self._drop_response()
        if self._opener is not None:
            self._opener.close()
            self._opener = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _next(self) -> bytes | None:
        """One picture's bytes; the sockets' timeout ends a silence, so this never blocks for longer."""
        from http.client import HTTPException

        try:
            if self._parts is not None:
                part = self._parts.next()
                if part is None:
                    raise StreamError(f"{self.name}: the server closed the stream")
                return part
            return self._snapshot()
        except TimeoutError:
            raise StreamError(f"{self.name}: silent for {self._resilience.stall_timeout_s:g} s") from None
        except StreamError as error:
            if error.message.startswith(self.name):
                raise
            raise StreamError(f"{self.name}: {error.message}") from None
        except (OSError, HTTPException) as error:
            raise StreamError(f"{self.name}: the connection broke: {redact(str(error)) or 'closed'}") from None

    def _snapshot(self) -> bytes | None:
        wait = self._next_snapshot - time.monotonic()
        if wait > 0 and self._stopped.wait(wait):
            return None
        self._next_snapshot = time.monotonic() + self._interval_s
        response = self._response or self._get(self._resilience.stall_timeout_s)
        self._response = response
        data = bytearray()
        while chunk := self._read_some(_CHUNK):
            data += chunk
            if len(data) > _LARGEST_SNAPSHOT:
                raise StreamError("a snapshot does not end, so this is no picture")
        self._drop_response()
        return bytes(data)

    def _read_some(self, most: int) -> bytes:
        """What has arrived, empty at the end. A server that sends a byte a second must not hold a thread for ever."""
        if self._stopped.is_set():
            raise StreamError("given up")
        data: bytes = self._response.read1(most)
        return data

    def _make_opener(self) -> Any:
        from urllib import request

        handlers: list[Any] = []
        host = urlsplit(self._url).hostname or ""
        if host in ("localhost", "::1") or host.startswith("127."):
            handlers.append(request.ProxyHandler({}))
        if self._login is not None:
            passwords = request.HTTPPasswordMgrWithPriorAuth()
            passwords.add_password(None, self._url, self._login.user, self._login.password)
            handlers += [request.HTTPBasicAuthHandler(passwords), request.HTTPDigestAuthHandler(passwords)]
        return request.build_opener(*handlers)

    def _get(self, timeout_s: float) -> Any:
        from http.client import HTTPException, InvalidURL
        from urllib.error import HTTPError, URLError

        try:
            return self._opener.open(self._url, timeout=timeout_s)
        except HTTPError as error:
            error.close()
            raise self._refused(error.code) from None
        except (InvalidURL, ValueError) as error:
            raise CameraError(f"{self.name}: not a usable URL: {redact(str(error))}") from None
        except (URLError, OSError, HTTPException) as error:
            raise self._unreachable(getattr(error, "reason", error), timeout_s) from None

    def _refused(self, status: int) -> CameraError:
        if status in (401, 403):
            given = "the user name or password is wrong" if self._login else "it asks for a user name and password"
            return CameraError(
                f"{self.name}: {given}", hint="http://user:password@host/path, special characters as %40"
            )
        if status == 404:
            return CameraError(f"{self.name}: the server has nothing at that path (404)")
        return CameraError(f"{self.name}: the server answers {status}")

    def _unreachable(self, reason: object, timeout_s: float) -> CameraError:
        if isinstance(reason, socket.gaierror):
            return CameraError(f"{self.name}: the host name is not known here", hint="check it, or use its IP address")
        if isinstance(reason, ConnectionRefusedError):
            return CameraError(f"{self.name}: the connection is refused", hint="is the server running, on that port?")
        if isinstance(reason, TimeoutError):
            return CameraError(f"{self.name}: no answer in {timeout_s:g} s", hint="is it on, and on this network?")
        return CameraError(f"{self.name}: cannot be reached: {redact(str(reason))}")

    def _drop_response(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
        self._parts = None


def decode_jpeg(data: bytes, name: str) -> Image:
    """A compressed picture as uint8 ``[H, W, 3]`` BGR.

    Raises:
        CorruptFrameError: cut off, or no picture at all.
    """
    import cv2
    import numpy as np

    # OpenCV fills the lost part of a cut JPEG with gray; the missing end marker is what tells.
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-64:]:
        raise CorruptFrameError(f"{name}: a picture arrived cut off")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise CorruptFrameError(f"{name}: a picture could not be decoded: {error.err}") from None
    if image is None or image.size == 0:
        raise CorruptFrameError(f"{name}: a picture could not be decoded")
    return np.asarray(image, np.uint8)
