"""One picture on its way through the loop, and the buffers it lives in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class BufferPool:
    """A few picture buffers used in turn, so that the loop allocates nothing once the resolution is known.

    Three are enough: one being filled, one in the mailbox, one being classified.
    """

    def __init__(self, size: int = 3) -> None:
        self._size = size
        self._free: list[Image] = []

    def take(self) -> Image | None:
        """A used buffer of whatever shape it last had, or None: the source then allocates one."""
        try:
            return self._free.pop()
        except IndexError:
            return None

    def give(self, image: Image) -> None:
        if len(self._free) < self._size:
            self._free.append(image)


@dataclass(slots=True)
class Frame:
    """A picture with its moment.

    Attributes:
        image: uint8 ``[H, W, 3]`` BGR, C-contiguous.
        captured_at: ``time.monotonic`` seconds: the driver's own timestamp where it has one.
        epoch: which opening of the source it came from; changes on every reconnect.
        pool: where ``image`` goes back to, or None for a buffer that nobody reuses.
    """

    image: Image
    captured_at: float
    camera: int = 0
    epoch: int = 0
    pool: BufferPool | None = None

    def release(self) -> None:
        """Gives the buffer back; ``image`` must not be used afterwards."""
        if self.pool is not None:
            self.pool.give(self.image)
            self.pool = None
