"""Measures every activation of a float graph over the calibration images, a batch at a time, in ONNX Runtime."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import CalibrationError
from edgekit.quantize.network import Network, read
from edgekit.quantize.points import observed
from edgekit.quantize.statistics import TensorStatistics

log = logging.getLogger(__name__)

# Activations asked for at once; the batch shrinks on wide networks so that this holds.
_BATCH_BYTES = 192 * 2**20
Progress = Callable[[int, int], None]


class ImageSource(Protocol):
    """Preprocessed calibration images: an array uint8 ``[N, H, W, 3]`` RGB, or anything that can be sliced like one.

    A source that decodes its files when sliced keeps memory bounded for any number of images.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


def batch(images: ImageSource, start: int, stop: int) -> NDArray[np.uint8]:
    """Images ``start`` to ``stop``, checked.

    Raises:
        CalibrationError: not uint8 ``[N, H, W, 3]``.
    """
    part = np.ascontiguousarray(images[start:stop])
    if part.dtype != np.uint8 or part.ndim != 4 or part.shape[-1] != 3:
        raise CalibrationError(f"calibration images must be uint8 [N, H, W, 3], not {part.dtype} {list(part.shape)}")
    return part


def measure(
    model: ir.Model, images: ImageSource, *, threads: int = 2, progress: Progress | None = None
) -> tuple[dict[str, TensorStatistics], str]:
    """Statistics of every activation that needs a range, and the sha256 of the images' pixels.

    Memory is bounded: a batch of activations and one histogram per tensor, however many images there are.

    Raises:
        CalibrationError: no images, or an activation that is not finite.
    """
    if len(images) == 0:
        raise CalibrationError("there are no calibration images", hint="point --calibration at a folder of photos")
    network = read(model)
    names = observed(network)
    session = _session(model, names, threads)
    size = batch_size(network, names)
    statistics = {name: TensorStatistics() for name in names}
    digest = hashlib.sha256()
    for start in range(0, len(images), size):
        part = batch(images, start, min(start + size, len(images)))
        digest.update(part.tobytes())
        for name, values in zip(names, session.run(list(names), {network.input: part}), strict=True):
            if not np.isfinite(values).all():
                raise CalibrationError(f"activation {name!r} is not finite on calibration images {start}…")
            statistics[name].update(values)
        if progress is not None:
            progress(min(start + size, len(images)), len(images))
    return statistics, digest.hexdigest()


def batch_size(network: Network, names: Iterable[str]) -> int:
    """Images per batch such that the named activations (float32) stay within the budget; at most 16."""
    per_image = 4 * sum(network.elements[name] for name in names)
    return int(np.clip(_BATCH_BYTES // max(per_image, 1), 1, 16))


def _session(model: ir.Model, names: tuple[str, ...], threads: int) -> Any:
    import onnxruntime as ort

    from edgekit.graph.batch import dynamic_batch

    copy = dynamic_batch(model)
    present = {value.name for value in copy.graph.outputs}
    for node in copy.graph:
        for value in node.outputs:
            if value.name in names and value.name not in present:
                copy.graph.outputs.append(value)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(ir.to_proto(copy).SerializeToString(), options, providers=["CPUExecutionProvider"])
