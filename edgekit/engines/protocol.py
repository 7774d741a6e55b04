"""What an inference engine is: one method that runs a batch, and the facts a manifest wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import GraphError

Images = NDArray[np.uint8]
Scores = NDArray[np.float32]


class Engine(Protocol):
    """A model loaded into one runtime on this machine. Not for two threads at once.

    ``input`` is the engine's own buffer, uint8 ``[N, H, W, 3]`` RGB: write pixels into it and call :meth:`invoke`. It
    stays the same array, with the same content, until :meth:`resize` replaces it.
    """

    name: str  # "litert" | "onnxruntime" | "tflite-runtime"
    version: str  # of the runtime, e.g. "2.3.0"
    threads: int
    input: Images

    def invoke(self) -> NDArray[Any]:
        """Runs the model on :attr:`input`; returns a new array, its raw output ``[N, classes]`` (uint8, int8, float32).

        Raises:
            EngineError: the runtime failed.
        """
        ...

    def scores(self, raw: NDArray[Any]) -> Scores:
        """``raw`` as real numbers, float32 ``[N, classes]``: (raw - zero point) × scale for an integer output."""
        ...

    def resize(self, batch: int) -> None:
        """Gives :attr:`input` a batch of N images (a new buffer, its content undefined).

        Raises:
            GraphError: the model was made for another batch.
        """
        ...

    def close(self) -> None:
        """Frees the model. The engine cannot be used afterwards."""
        ...


def dequantize(raw: NDArray[Any], scale: float, zero_point: int) -> Scores:
    """``raw`` ``[N, classes]`` as float32: (raw - zero point) × scale, or unchanged where it is float already."""
    if np.issubdtype(raw.dtype, np.floating):
        return raw.astype(np.float32, copy=False)
    return (raw.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def require_images(path: Path, inputs: Sequence[tuple[str, list[Any], str]]) -> None:
    """Checks a model's inputs, each (name, shape, dtype): exactly one, uint8 ``[N, H, W, 3]`` with H and W known.

    Raises:
        GraphError: anything else, such as a file made with ``--input float``.
    """
    said = ", ".join(f"{name} {dtype}{shape}" for name, shape, dtype in inputs) or "nothing"
    if len(inputs) == 1:
        _, shape, dtype = inputs[0]
        if dtype == "uint8" and len(shape) == 4 and shape[3] == 3 and all(_known(size) for size in shape[1:3]):
            return
    raise GraphError(
        f"{path}: takes {said}, not one uint8 [N, H, W, 3] image",
        hint="convert the checkpoint with --input uint8, or build a bundle",
    )


def _known(size: Any) -> bool:
    return not isinstance(size, str) and size is not None and int(size) > 0
