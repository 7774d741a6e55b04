"""Protobuf's wire format, as far as a look at a message before parsing it needs.

See protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Walker:
    """Goes over the fields of messages in ``data`` without copying them, ``left`` fields in all."""

    data: bytes
    left: int = 200_000

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Number, start and end of each field's content in the message between ``start`` and ``end``.

        Raises:
            ValueError: not a message, or more fields than allowed.
        """
        at = start
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise ValueError("too many fields")
            tag, at = varint(self.data, at)
            first = at
            if tag & 7 == 0:
                _, at = varint(self.data, at)
            elif tag & 7 in (1, 5):
                at += 8 if tag & 7 == 1 else 4
            elif tag & 7 == 2:
                size, first = varint(self.data, at)
                at = first + size
            else:
                raise ValueError("an unknown kind of field")
            if at > end:
                raise ValueError("a field leaves its message")
            yield tag >> 3, first, at


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and where it ends.

    Raises:
        ValueError: longer than 64 bits, or cut off.
    """
    value = shift = 0
    while shift < 64 and at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a broken number")
