"""From a file to a ``Checkpoint``: what kind of file it is, whose naming it follows, what it holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgekit.checkpoints import torch_file
from edgekit.checkpoints.families import recognise
from edgekit.checkpoints.source import Checkpoint
from edgekit.errors import CheckpointError

# Where training scripts put the state dict inside what they save.
CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "weights")
# What wrappers put before every name: DataParallel, torch.compile, Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.")


def load(path: str | Path) -> Checkpoint:
    """Reads a checkpoint of any supported family, recognised by its content.

    Args:
        path: the file.

    Raises:
        CheckpointError: the file is missing, broken, hostile, or holds another network.
    """
    path = Path(path)
    try:
        return _load(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", hint=error.hint) from error


def _load(path: Path) -> Checkpoint:
    if not path.is_file():
        raise CheckpointError("no such file" if not path.exists() else "not a file")
    data = path.read_bytes()
    if not data:
        raise CheckpointError("the file is empty")
    tensors = state_dict(torch_file.read(path))
    reader = recognise(tensors)
    if reader is None:
        raise CheckpointError(f"not a ShuffleNet: tensors are named like {sorted(tensors)[:3]}")
    reading = reader(tensors)
    return Checkpoint(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        family=reading.family,
        architecture=reading.architecture,
        weights=reading.weights,
        normalization=reading.normalization,
        image=reading.image,
        classes=reading.architecture.classes,
        notes=reading.notes,
    )


def state_dict(saved: Any) -> dict[str, Tensor]:
    """The tensors in what a training script saved, without wrappers' prefixes and batch counters."""
    for key in CONTAINERS:
        if isinstance(saved, Mapping) and isinstance(saved.get(key), Mapping):
            saved = saved[key]
            break
    if not isinstance(saved, Mapping):
        raise CheckpointError(
            f"holds a {type(saved).__name__}, expected a state dict", hint="torch.save(model.state_dict(), …)"
        )
    tensors = {str(name): value for name, value in saved.items() if isinstance(value, torch.Tensor)}
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
