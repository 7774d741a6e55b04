"""From a file to a ``Checkpoint``: what kind of file it is, whose naming it follows, what it holds."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

from edgekit.checkpoints import catalogue, download, tensorflow_file
from edgekit.checkpoints.content import StateDict, kind_of, read_state_dict
from edgekit.checkpoints.families import recognise, tensorflow
from edgekit.checkpoints.families.family import Reading
from edgekit.checkpoints.limits import MAX_FILE_BYTES
from edgekit.checkpoints.source import Checkpoint
from edgekit.checkpoints.statistics import input_statistics
from edgekit.errors import CheckpointError

log = logging.getLogger(__name__)


def load(path: str | Path) -> Checkpoint:
    """Reads a checkpoint of any supported family, recognised by its content.

    Args:
        path: the file, a name of the catalogue (downloaded once), or ``demo``. For a TensorFlow checkpoint its
            ``.index`` or data file, their common prefix, or their folder.

    Raises:
        CheckpointError: the file is missing, broken, hostile, or holds another network; a download that failed.
        StorageError: the download cache cannot be written.
    """
    name, path = str(path), Path(path)
    if not path.is_file():
        if name == "demo":
            return _demo()
        if (entry := catalogue.find(name)) is not None:
            path = download.fetch(entry)
    try:
        path = tensorflow_file.resolve(path)
        if not path.exists():
            raise catalogue.unknown(name)
        return _as_published(_load(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        # The readers name what they foresee. Whatever else a damaged file provokes is the file's fault too.
        log.debug("%s", path, exc_info=True)
        raise CheckpointError(
            f"{path}: damaged, or written in a way that is not understood ({type(error).__name__}: {error})",
            hint="download or save it again",
        ) from error


def _demo() -> Checkpoint:
    """The embedded demo's own network, with its class names."""
    data = Path(__file__).resolve().parent.parent / "demo" / "data"
    labels = (data / "labels.txt").read_text(encoding="utf-8").splitlines() if (data / "labels.txt").is_file() else []
    checkpoint = load(data / "demo.pth")
    return replace(checkpoint, labels=tuple(label for label in labels if label) or None)


def _as_published(checkpoint: Checkpoint) -> Checkpoint:
    """A published file is resized as its source says, which the file itself cannot."""
    entry = catalogue.of_sha256(checkpoint.sha256)
    if entry is None or entry.resize == checkpoint.image.resize:
        return checkpoint
    return replace(checkpoint, image=replace(checkpoint.image, resize=entry.resize))


def read_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        CheckpointError: a folder, or larger than any checkpoint of these networks.
        OSError: unreadable.
    """
    if not path.is_file():
        raise CheckpointError("this is a folder or a device", hint="give the file in it")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise CheckpointError(f"{size} bytes are more than any ShuffleNet checkpoint has ({MAX_FILE_BYTES})")
    return path.read_bytes()


def _load(path: Path) -> Checkpoint:
    data = read_bytes(path)
    digest = hashlib.sha256(data)
    kind = kind_of(data)
    if kind == "onnx":
        return _from_onnx(path, digest.hexdigest(), data)
    if kind == "tensorflow":
        tensors, files = tensorflow_file.read(path, data, tensorflow.PATTERN)
        for shard in files:
            digest.update(shard)
        state = StateDict(tensors)
    else:
        state = read_state_dict(data, kind)
    return _from_state_dict(path, digest.hexdigest(), state)


def _from_onnx(path: Path, sha256: str, data: bytes) -> Checkpoint:
    from edgekit.checkpoints import onnx_contract, onnx_file

    graph, quantized = onnx_file.read(data, path.parent)
    classes = onnx_file.classes(graph)
    contract = onnx_contract.read(graph)
    labels = contract.labels if contract.labels is not None and len(contract.labels) == classes else None
    return Checkpoint(
        path=path,
        sha256=sha256,
        family="onnx",
        graph=graph,
        normalization=contract.normalization,
        image=contract.image,
        labels=labels,
        classes=classes,
        quantized=quantized,
        notes=contract.notes,
    )


def _scale_note(reading: Reading) -> tuple[str, ...]:
    """A warning where the network was trained on other inputs than its family's convention."""
    weights, std = reading.weights, reading.normalization.std[0]
    seen = input_statistics(weights["conv1.0.weight"], weights["conv1.1.running_mean"], weights["conv1.1.running_var"])
    # A stage of its own between: ±1 has a spread of 0.5, which says nothing.
    if seen is None or reading.family == "tensorflow" or reading.notes:
        return ()
    expected = "pixels" if std == 1 else "unit" if std == 255 else "normalized"
    if seen.scale == expected:
        return ()
    kind = {"pixels": "pixels of 0–255", "unit": "pixels of 0–1", "normalized": "normalized pixels"}[expected]
    return (f"{seen.describe()}, but {reading.family}'s convention of {kind} is used",)


def _from_state_dict(path: Path, sha256: str, state: StateDict) -> Checkpoint:
    reader = recognise(state.tensors)
    if reader is None:
        names = ", ".join(repr(name) for name in sorted(state.tensors)[:3])
        named = f", named {names}, ..." if names else " of a known naming"
        raise CheckpointError(f"not a ShuffleNet: {len(state.tensors)} tensors{named}")
    reading = reader(state.tensors, path.name)
    notes = (*reading.notes, *_scale_note(reading))
    labels = state.labels
    if labels is not None and len(labels) != reading.architecture.classes:
        labels = None
    return Checkpoint(
        path=path,
        sha256=sha256,
        family=reading.family,
        architecture=reading.architecture,
        weights=reading.weights,
        normalization=reading.normalization,
        image=reading.image,
        labels=labels,
        classes=reading.architecture.classes,
        notes=notes,
    )
