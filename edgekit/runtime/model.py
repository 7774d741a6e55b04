"""A bundle, ready to answer: engine, preprocessing and labels together."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekit.config.fit import fit
from edgekit.config.machine import Machine
from edgekit.engines.protocol import Engine
from edgekit.errors import BundleError, EngineError, VerifyFailed
from edgekit.runtime.decide import ByteProbabilities, Scores, softmax

if TYPE_CHECKING:
    from edgekit.bundle import Bundle

log = logging.getLogger(__name__)

_FORMATS = {"litert": "tflite", "tflite-runtime": "tflite", "onnxruntime": "onnx"}


@dataclass(slots=True)
class Model:
    """Turns one frame into class probabilities. Not for several threads at once: the engine has one input buffer.

    Attributes:
        preprocess: ``(frame, out)``: writes uint8 ``[H, W, 3]`` BGR of any size as the engine's uint8 RGB input.
        ends_in_softmax: whether the network's own output already is probabilities.
        facts: what a person wants to know of it: architecture, precision, target, …
    """

    engine: Engine
    preprocess: Callable[[NDArray[np.uint8], NDArray[np.uint8]], None]
    labels: tuple[str, ...]
    ends_in_softmax: bool = False
    bundle: str = ""
    sha256: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    _by_table: ByteProbabilities | None = None

    def prepare(self, frame: NDArray[np.uint8]) -> None:
        """Writes ``frame`` into the engine's input. Raises ImageError for a picture that cannot be used."""
        self.preprocess(frame, self.engine.input[0])

    def infer(self) -> NDArray[Any]:
        """Runs the network on what :meth:`prepare` wrote; its raw output ``[1, classes]``."""
        return self.engine.invoke()

    def probabilities(self, raw: NDArray[Any]) -> Scores:
        """``raw`` as probabilities, float32 ``[classes]``.

        Raises:
            EngineError: the network answered with something that is no number.
        """
        if raw.dtype.itemsize == 1:
            if self._by_table is None:
                every = np.arange(256, dtype=np.uint8).view(raw.dtype)[None]
                self._by_table = ByteProbabilities(self.engine.scores(every)[0], ends_in_softmax=self.ends_in_softmax)
            return self._by_table(raw[0])
        scores: Scores = self.engine.scores(raw)[0]
        highest = float(scores.max())
        if not math.isfinite(highest):
            raise EngineError(
                f"{self.engine.name}: the answer of {self.bundle} holds numbers that are none",
                hint="`edgekit verify` compares it with the bundle's golden answers; int8 cannot overflow",
            )
        return scores if self.ends_in_softmax else softmax(scores, highest)

    def close(self) -> None:
        self.engine.close()


def load(
    bundle: Path,
    engine: str = "auto",
    threads: int | None = None,
    *,
    verify: bool = False,
    machine: Machine | None = None,
) -> Model:
    """Opens a bundle after checking every hash, and runs the network once so that the first frame is not the slow one.

    Warns, in the log, where the bundle was made for another processor.

    Args:
        machine: the processor at hand; tests pass their own.
        verify: also compare some golden answers, which proves the engine on this processor.

    Raises:
        BundleError, VerifyFailed: it is not a bundle, or not what its manifest says, or answers differently.
        EngineError: no engine here can run it.
    """
    from edgekit import bundle as bundles
    from edgekit import engines
    from edgekit.preprocess import Preprocessor

    read = bundles.read(bundle)
    opened = engines.open(bundle, engine=engine, threads=threads)
    manifest = read.manifest
    image = manifest.image
    if tuple(opened.input.shape[1:]) != (image.height, image.width, 3):
        opened.close()
        raise BundleError(
            f"{bundle}: the model takes {list(opened.input.shape[1:])} and the manifest says "
            f"{[image.height, image.width, 3]}",
            hint="build the bundle again",
        )
    fits = fit(manifest.about(), machine or Machine(), opened.name)
    if fits.warns:
        log.warning("%s %s (try: %s)", bundle, fits.says, fits.mend)
    if verify:
        _compare_goldens(read, opened)
    entry = manifest.model(_FORMATS.get(opened.name, ""))
    softmaxes = entry is not None and any(name.upper() == "SOFTMAX" for name in entry.ops)
    opened.invoke()
    facts = {
        "architecture": _fact(manifest.checkpoint, "architecture"),
        "family": _fact(manifest.checkpoint, "family"),
        "target": _fact(manifest.target, "name"),
        "precision": entry.precision if entry is not None else manifest.precision,
        "classes": str(manifest.classes),
        "input": f"{image.width}x{image.height}",
    }
    return Model(
        opened,
        Preprocessor(image),
        tuple(str(label) for label in read.labels),
        softmaxes,
        str(bundle),
        read.sha256,
        {key: value for key, value in facts.items() if value},
    )


def _compare_goldens(bundle: Bundle, engine: Engine) -> None:
    """Raises VerifyFailed: the engine answers some goldens differently than the bundle records."""
    from edgekit.evaluate.verify import check_engine

    result = check_engine(bundle, engine)
    if not result.passed:
        engine.close()
        raise VerifyFailed(
            f"{bundle.path}: {result.text()}",
            hint=f"edgekit verify {bundle.path} tells more; --no-verify runs it anyway",
        )


def _fact(section: Any, key: str) -> str:
    value = section.get(key)
    return str(value) if isinstance(value, str | int | float) else ""
