"""Cuts a ``multipart/x-mixed-replace`` body into its JPEG parts (RFC 2046, 5.1; as webcams send it)."""

from __future__ import annotations

import re
from collections.abc import Callable

from edgekit.errors import StreamError

_LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.I | re.M)
_LARGEST_PART = 64 << 20  # an 8K JPEG of the best quality is under 32 MB
_LARGEST_HEADER = 16 << 10
_CHUNK = 64 << 10


class MjpegParts:
    """Parts of a multipart stream, by ``Content-Length`` where they give it, else up to the next boundary.

    Args:
        read: gives up to that many bytes as soon as some are there, empty at the end.
        boundary: as the Content-Type header says it; cameras disagree on whether it holds the leading dashes.
    """

    def __init__(self, read: Callable[[int], bytes], boundary: str) -> None:
        self._read = read
        self._mark = b"--" + boundary.strip().strip('"').encode("latin-1").lstrip(b"-")
        self._data = bytearray()

    def next(self) -> bytes | None:
        """The next part's body, or None when the stream ends.

        Raises:
            StreamError: what comes is no multipart stream.
        """
        start = self._find(self._mark, _LARGEST_PART)
        if start < 0:
            return None
        del self._data[: start + len(self._mark)]
        while len(self._data) < 2:
            if not self._more():
                return None
        if self._data.startswith(b"--"):  # the closing boundary
            return None
        end, gap = self._header_end()
        if end < 0:
            return None
        length = _LENGTH.search(bytes(self._data[:end]))
        del self._data[: end + gap]
        if length is None:
            stop = self._find(b"\r\n" + self._mark, _LARGEST_PART)
            return None if stop < 0 else bytes(self._cut(stop))
        size = int(length[1])
        if size > _LARGEST_PART:
            raise StreamError(f"a part of {size} bytes is announced, which is no picture")
        while len(self._data) < size:
            if not self._more():
                return None
        return bytes(self._cut(size))

    def _header_end(self) -> tuple[int, int]:
        """Where the part's headers end, and how many bytes the empty line takes; -1 at the end of the stream."""
        while True:
            for blank in (b"\r\n\r\n", b"\n\n"):
                end = self._data.find(blank)
                if end >= 0:
                    return end, len(blank)
            if len(self._data) > _LARGEST_HEADER:
                raise StreamError("a part's headers do not end, so this is no MJPEG stream")
            if not self._more():
                return -1, 0

    def _find(self, mark: bytes, limit: int) -> int:
        searched = 0
        while True:
            found = self._data.find(mark, searched)
            if found >= 0:
                return found
            if len(self._data) > limit:
                raise StreamError(f"no boundary in {limit} bytes, so this is no MJPEG stream")
            searched = max(0, len(self._data) - len(mark))
            if not self._more():
                return -1

    def _cut(self, size: int) -> bytearray:
        part = self._data[:size]
        del self._data[:size]
        return part

    def _more(self) -> bool:
        data = self._read(_CHUNK)
        self._data += data
        return bool(data)
