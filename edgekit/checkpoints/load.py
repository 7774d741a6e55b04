"""From a file to a ``Checkpoint``: what kind of file it is, whose naming it follows, what it holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgekit.checkpoints import tensorflow_file
from edgekit.checkpoints.content import MAX_FILE_BYTES, StateDict, kind_of, read_state_dict
from edgekit.checkpoints.families import recognise, tensorflow
from edgekit.checkpoints.source import Checkpoint
from edgekit.errors import CheckpointError


def load(path: str | Path) -> Checkpoint:
    """Reads a checkpoint of any supported family, recognised by its content.

    Args:
        path: the file. For a TensorFlow checkpoint its ``.index`` or data file, their common prefix, or their folder.

    Raises:
        CheckpointError: the file is missing, broken, hostile, or holds another network.
    """
    path = Path(path)
    try:
        path = tensorflow_file.resolve(path)
        return _load(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def read_bytes(path: Path) -> bytes:
    """The whole file.

    Raises:
        CheckpointError: missing, a folder, or larger than any checkpoint of these networks.
        OSError: unreadable.
    """
    if not path.exists():
        raise CheckpointError("no such file", hint="`edgekit checkpoints list` names published weights")
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


def _from_state_dict(path: Path, sha256: str, state: StateDict) -> Checkpoint:
    reader = recognise(state.tensors)
    if reader is None:
        names = ", ".join(repr(name) for name in sorted(state.tensors)[:3])
        named = f", named {names}, ..." if names else " of a known naming"
        raise CheckpointError(f"not a ShuffleNet: {len(state.tensors)} tensors{named}")
    reading = reader(state.tensors, path.name)
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
        notes=reading.notes,
    )
