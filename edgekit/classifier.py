"""Classifying pictures from Python, with a bundle and nothing else.

import edgekit

classifier = edgekit.Classifier("build/rpi4")
answer = classifier.predict("photo.jpg")
print(answer.label, answer.score, answer.top)
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from edgekit.errors import ImageError
from edgekit.runtime.decide import top_k
from edgekit.runtime.model import load
from edgekit.runtime.results import Prediction

__all__ = ["Answer", "Classifier", "Prediction"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a picture shows: the best class, and ``top``, the best ones, best first. Scores are probabilities, 0–1."""

    top: tuple[Prediction, ...]

    @property
    def label(self) -> str:
        return self.top[0].label

    @property
    def score(self) -> float:
        return self.top[0].score

    @property
    def index(self) -> int:
        return self.top[0].index

    def __str__(self) -> str:
        return f"{self.label} {self.score:.1%}"


class Classifier:
    """A bundle opened in the fastest engine of this machine.

    One instance answers one call at a time; give each thread its own. Close it, or use it in a ``with`` statement, to
    free the engine before the process ends.

    Args:
        bundle: the directory that ``edgekit build`` made. Every hash is checked.
        engine: ``auto``, ``litert``, ``onnxruntime`` or ``tflite-runtime``.
        threads: of the engine; None takes what the bundle's target profile says.

    Raises:
        BundleError, VerifyFailed: not a bundle, or not what its manifest says.
        EngineError: no engine here can run it.
    """

    def __init__(self, bundle: str | PathLike[str], *, engine: str = "auto", threads: int | None = None) -> None:
        self._model = load(Path(bundle), engine, threads)

    @property
    def labels(self) -> tuple[str, ...]:
        return self._model.labels

    @property
    def engine(self) -> str:
        """The engine in use, by name."""
        return self._model.engine.name

    def predict(self, image: Any, *, top_k: int = 5, color: Literal["bgr", "rgb"] = "bgr") -> Answer:
        """Classifies one picture.

        Args:
            image: a path; a file's bytes; a PIL image; or pixels, uint8 or uint16, gray ``[H, W]``, ``[H, W, 3]`` or
                with alpha ``[H, W, 4]``, of any size.
            top_k: how many classes ``Answer.top`` holds, at most as many as there are.
            color: the channel order of an array: ``bgr`` as OpenCV reads and captures it, or ``rgb``.

        Raises:
            ImageError: it cannot be read, or is no picture.
        """
        if top_k < 1:
            raise ImageError(f"top_k {top_k}: not above zero")
        self._model.prepare(_pixels(image, color))
        scores = self._model.probabilities(self._model.infer())
        return Answer(_top(scores, self._model.labels, top_k))

    def close(self) -> None:
        self._model.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_top = top_k  # ``predict`` has an argument of that name


def _pixels(image: Any, color: str) -> Any:
    """Pixels as the preprocessor takes them: blue first where there is colour."""
    from edgekit import preprocess

    if isinstance(image, str | PathLike):
        return preprocess.decode(Path(image))
    if isinstance(image, bytes | bytearray | memoryview):
        return _decode_bytes(bytes(image))
    if not isinstance(image, np.ndarray):
        # A PIL image, without importing PIL: it has a mode and can be converted.
        if not (hasattr(image, "convert") and hasattr(image, "mode")):
            raise ImageError(
                f"a picture of type {type(image).__name__} cannot be used",
                hint="give a path, a file's bytes, a PIL image or a NumPy array",
            )
        image, color = np.asarray(image.convert("RGB")), "rgb"
    if color not in ("bgr", "rgb"):
        raise ImageError(f"color {color!r}: not 'bgr' or 'rgb'")
    if color == "rgb" and image.ndim == 3 and image.shape[2] in (3, 4):
        order = [2, 1, 0] if image.shape[2] == 3 else [2, 1, 0, 3]
        image = np.ascontiguousarray(image[:, :, order])
    return image


def _decode_bytes(data: bytes) -> Any:
    import cv2

    if not data:
        raise ImageError("a picture of no bytes at all")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if picture is None or picture.size == 0:
        raise ImageError("these bytes are not a picture that OpenCV can decode", hint="JPEG, PNG, WebP, BMP, TIFF work")
    return picture
