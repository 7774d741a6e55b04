"""The embedded demo's clip, rendered as it plays: needs no camera, no file and no network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from edgekit.runtime.frames import Image
from edgekit.runtime.sources.base import Shot


class DemoSource:
    def __init__(self) -> None:
        self._frames: Iterator[Any] = iter(())

    def open(self) -> str:
        from edgekit.demo.clip import frames

        self._frames = iter(frames())
        return "rendered clip"

    def read(self, buffer: Image | None) -> Shot | None:
        image = next(self._frames, None)
        return None if image is None else Shot(image, time.monotonic())

    def skip(self) -> bool:
        return next(self._frames, None) is not None

    def interrupt(self) -> None: ...

    def close(self) -> None:
        self._frames = iter(())
