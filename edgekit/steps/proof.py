"""What a build proves of its graphs: float against the source framework, and goldens for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit import engines
from edgekit.bundle import Expected, Golden, golden, tolerance
from edgekit.checkpoints import Checkpoint
from edgekit.contracts import Normalization
from edgekit.engines import litert
from edgekit.errors import EngineError, GraphError
from edgekit.graph import Lowered

Pictures = NDArray[np.uint8]
PARITY_PICTURES = 8
GOLDENS = 32
# float32 keeps 24 bits; a network's worth of roundings in another order leaves about 20 of them.
FLOAT_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class FloatParity:
    """The lowered float graph against the source framework's own network over ``n`` pictures.

    ``relative_error`` is the norm of the difference over the norm of the reference's scores.
    """

    n: int
    relative_error: float
    reference: str  # what answered: "torch", or "onnx" where the checkpoint is an ONNX file


def normalized(pictures: Pictures, normalization: Normalization) -> NDArray[np.float32]:
    """Pixels as the source network takes them: uint8 RGB ``[N, H, W, 3]`` → float32 ``[N, 3, H, W]``."""
    ordered = pictures if normalization.order == "rgb" else pictures[..., ::-1]
    mean, std = (np.array(v, dtype=np.float32) for v in (normalization.mean, normalization.std))
    return np.ascontiguousarray(((ordered.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2))


def float_parity(checkpoint: Checkpoint, lowered: Lowered, pictures: Pictures) -> FloatParity:
    """Runs the oracle and the lowered graph on the same pictures.

    Raises:
        GraphError: they differ by more than float rounding: the lowering is wrong for this network.
    """
    some = pictures[:: max(1, len(pictures) // PARITY_PICTURES)][:PARITY_PICTURES]
    inputs = normalized(some, checkpoint.normalization)
    name, reference = _reference(checkpoint, inputs)
    ours = scores_of(lowered.model, some).astype(np.float64)
    if lowered.dropped_softmax:
        ours = np.exp(ours - ours.max(axis=1, keepdims=True))
        ours /= ours.sum(axis=1, keepdims=True)
    error = float(np.linalg.norm(ours - reference)) / max(float(np.linalg.norm(reference)), 1e-30)
    # A file that computes in integers rounds at every layer, and we do not: then the figure is told, not judged.
    if not error <= FLOAT_TOLERANCE and not checkpoint.quantized:
        raise GraphError(
            f"{checkpoint.path}: the lowered graph differs from {name} by {error:.1e} on {len(some)} pictures",
            hint="this network is not lowered correctly; please report it with the file",
        )
    return FloatParity(len(some), error, name)


def _reference(checkpoint: Checkpoint, inputs: NDArray[np.float32]) -> tuple[str, NDArray[np.float64]]:
    if checkpoint.architecture is not None:
        import torch

        from edgekit import models

        with torch.inference_mode():
            scores = models.build(checkpoint.architecture, checkpoint.weights)(torch.from_numpy(inputs))
        return "torch", scores.reshape(len(inputs), -1).double().numpy()
    if checkpoint.graph is None:
        raise GraphError(f"{checkpoint.path}: holds no network")
    return "onnx", scores_of(checkpoint.graph, inputs).astype(np.float64)


class Session:
    """An ONNX graph loaded into ONNX Runtime on this machine."""

    def __init__(self, model: ir.Model) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3
        content = ir.to_proto(model).SerializeToString()
        self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name

    def __call__(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """The first output ``[N, classes]`` for one batch."""
        scores = np.asarray(self._session.run(None, {self._name: batch})[0], dtype=np.float32)
        return scores.reshape(len(batch), -1)


def scores_of(model: ir.Model, pictures: NDArray[Any]) -> NDArray[np.float32]:
    """A batch-1 graph's scores ``[n, classes]`` for n pictures in the graph's own input layout."""
    session = Session(model)
    return np.concatenate([session(picture[None]) for picture in pictures])


def make_golden(
    files: Mapping[str, Path], pictures: Pictures, truth: NDArray[np.int64], reference: NDArray[np.float32]
) -> tuple[Golden, dict[str, str]]:
    """Chooses goldens among the pictures and records what every installed engine answers.

    Args:
        files: format → model file.
        pictures: uint8 ``[n, H, W, 3]``.
        truth: class of each picture, -1 where unknown.
        reference: the float graph's scores ``[n, classes]``.

    Returns:
        the goldens, and the version of each engine that answered.

    Raises:
        EngineError: no engine could run either model.
    """
    chosen = golden.choose(reference, truth, GOLDENS)
    inputs = np.ascontiguousarray(pictures[chosen])
    family = golden.isa_family()
    expected: list[Expected] = []
    ran: dict[str, str] = {}
    reasons: list[str] = []
    for name, kind in engines.ENGINES.items():
        path = files.get(kind.suffix.lstrip("."))
        if path is None or not kind.installed_version():
            continue
        try:
            engine = engines.open(path, name, threads=1)
        except EngineError as error:
            reasons.append(f"{name}: {error.message}")
            continue
        expected.append(Expected(name, family, _answers(engine, inputs)))
        ran[name] = engine.version
        engine.close()
        if name == "litert" and np.issubdtype(expected[-1].raw.dtype, np.integer):
            # What 32-bit ARM's build of tflite-runtime answers, and how far another rounding may be.
            engine = litert.load(path, 1, fixed_point=True)
            expected.append(Expected("tflite-runtime", golden.FIXED_POINT, _answers(engine, inputs)))
            engine.close()
    if not expected:
        raise EngineError(
            f"no engine on this machine runs the models: {'; '.join(reasons) or 'none is installed'}",
            hint="pip install ai-edge-litert onnxruntime",
        )
    made = Golden(inputs, truth[chosen].astype(np.int32), tuple(expected), reference[chosen].astype(np.float32))
    return made, ran


def _answers(engine: engines.Engine, inputs: Pictures) -> NDArray[Any]:
    """Raw output ``[n, classes]``, one picture at a time as a device runs them."""
    rows = []
    for picture in inputs:
        engine.input[0] = picture
        rows.append(engine.invoke())
    return np.concatenate(rows)


def golden_notes(made: Golden) -> dict[str, Any]:
    """How the goldens were chosen and how far answers may be from them, for the manifest."""
    return {
        "chosen": "by class and margin of the float model",
        "tolerance": tolerance.derive(made).to_dict(),
    }
