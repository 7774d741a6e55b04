"""Stand-ins for what a test has not got: an engine, a camera, a model. They keep the real ones' promises."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import EdgekitError
from edgekit.runtime.frames import Image
from edgekit.runtime.model import Model
from edgekit.runtime.sources.base import Shot, SourceSpec


class FakeEngine:
    """An engine whose scores are the mean of the input's channels; ``delay_s`` makes it as slow as a small board."""

    name = "fake"
    version = "0"
    threads = 1

    def __init__(self, *, size: int = 8, delay_s: float = 0.0) -> None:
        self.input: NDArray[np.uint8] = np.zeros((1, size, size, 3), np.uint8)
        self.delay_s = delay_s
        self.invocations = 0
        self.closed = False

    def invoke(self) -> NDArray[np.float32]:
        self.invocations += 1
        if self.delay_s:
            time.sleep(self.delay_s)
        return np.asarray(self.input.mean(axis=(1, 2)), np.float32)

    def scores(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(raw / 16.0, np.float32)

    def resize(self, batch: int) -> None:
        self.input = np.zeros((batch, *self.input.shape[1:]), np.uint8)

    def close(self) -> None:
        self.closed = True


def fake_model(*, delay_s: float = 0.0) -> Model:
    """Three classes, ``red``, ``green`` and ``blue``: the strongest colour of the picture wins."""

    def preprocess(frame: Image, out: Image) -> None:
        import cv2

        out[...] = cv2.resize(frame, (out.shape[1], out.shape[0]))[:, :, ::-1]

    engine = FakeEngine(delay_s=delay_s)
    return Model(engine, preprocess, ("red", "green", "blue"), False, "fake-bundle", "0" * 64, {"precision": "fp32"})


def solid(red: int = 0, green: int = 0, blue: int = 0, *, height: int = 48, width: int = 64) -> Image:
    """A picture of one colour, uint8 ``[height, width, 3]`` BGR."""
    return np.full((height, width, 3), (blue, green, red), np.uint8)


class FakeSource:
    """A scripted source.

    Args:
        script: each item is a picture to give, an exception to raise, or a function to call first (it may block).
        interval_s: the time between two pictures; 0 gives them as fast as they are read.
        opening: called by ``open``; may block or raise.
    """

    def __init__(
        self,
        script: Iterable[Image | EdgekitError | Callable[[], None]],
        *,
        interval_s: float = 0.0,
        opening: Callable[[], None] | None = None,
    ) -> None:
        self._script: Iterator[Image | EdgekitError | Callable[[], None]] = iter(script)
        self._interval_s = interval_s
        self._opening = opening
        self._next_at = 0.0
        self.interrupted = threading.Event()
        self.closed = False

    def open(self) -> str:
        if self._opening is not None:
            self._opening()
        self._next_at = time.monotonic()
        return "scripted"

    def read(self, buffer: Image | None) -> Shot | None:
        for item in self._script:
            if isinstance(item, EdgekitError):
                raise item
            if callable(item):
                item()
                continue
            self._next_at += self._interval_s
            wait = self._next_at - time.monotonic()
            if wait > 0 and self.interrupted.wait(wait):
                return None
            if buffer is not None and buffer.shape == item.shape:
                np.copyto(buffer, item)
                return Shot(buffer, time.monotonic())
            return Shot(item.copy(), time.monotonic())
        return None

    def skip(self) -> bool:
        return self.read(None) is not None

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed = True


def fake_spec(make: Callable[[], FakeSource], *, live: bool = False, name: str = "fake") -> SourceSpec:
    return SourceSpec(name, live, make)
