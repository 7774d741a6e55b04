"""What an inference engine is: one method that runs a batch, and the facts a manifest wants to know."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Scores = NDArray[np.float32]


class Engine(Protocol):
    """A model loaded into one runtime on this machine.

    ``input`` is the engine's own buffer, uint8 ``[N, H, W, 3]`` RGB: write pixels into it and call :meth:`invoke`.
    """

    name: str  # "litert" | "onnxruntime" | "tflite-runtime"
    version: str  # of the runtime, e.g. "2.3.0"
    threads: int
    input: Images

    def invoke(self) -> NDArray[Any]:
        """Runs the model on :attr:`input`; returns its raw output ``[N, classes]`` (uint8, int8 or float32).

        Raises:
            EngineError: the runtime failed.
        """
        ...

    def scores(self, raw: NDArray[Any]) -> Scores:
        """``raw`` as real numbers, float32 ``[N, classes]``: (raw - zero point) × scale for an integer output."""
        ...

    def resize(self, batch: int) -> None:
        """Gives :attr:`input` a batch of N images (a new buffer)."""
        ...

    def close(self) -> None: ...
