"""Engines that answer from a table, so that tests know every figure beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


class TableEngine:
    """Answers ``table[pixel value at 0, 0, 0]``: a picture's top left red value chooses its scores."""

    version = "0"
    threads = 1

    def __init__(self, table: NDArray[np.float32], name: str = "fake", size: int = 4) -> None:
        self.name = name
        self.table = np.asarray(table, np.float32)
        self.input = np.zeros((1, size, size, 3), np.uint8)
        self.closed = False
        self.invocations = 0

    def invoke(self) -> NDArray[Any]:
        self.invocations += 1
        return self.table[self.input[:, 0, 0, 0]]

    def scores(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(raw, np.float32)

    def resize(self, batch: int) -> None:
        self.input = np.zeros((batch, *self.input.shape[1:]), np.uint8)

    def close(self) -> None:
        self.closed = True


def solid(size: int = 4) -> Callable[[int], NDArray[np.uint8]]:
    """value → a picture of that value everywhere, uint8 ``[size, size, 3]``."""
    return lambda value: np.full((size, size, 3), value, np.uint8)
