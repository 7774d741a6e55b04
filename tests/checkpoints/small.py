"""A small torchvision-named network, and the files that hold it."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from framework_answers import tensor

from edgekit.checkpoints.source import Architecture

HALF = (2, 4, 6)
ARCHITECTURE = Architecture(2, 4, (4, 8, 12), HALF, HALF, HALF, classes=3, head_channels=5, repeats=(2, 2, 1))


def state_dict() -> dict[str, torch.Tensor]:
    """Its tensors, filled from their names."""
    from edgekit.models import empty

    shapes = {name: value.shape for name, value in empty(ARCHITECTURE).state_dict().items()}
    return {
        name: torch.from_numpy(tensor(name, tuple(shape)))
        for name, shape in shapes.items()
        if not name.endswith("num_batches_tracked")
    }


def zipped(saved: Any) -> bytes:
    """As torch.save writes today."""
    file = io.BytesIO()
    torch.save(saved, file)
    return file.getvalue()


def legacy(saved: Any) -> bytes:
    """As torch.save wrote before 1.6."""
    file = io.BytesIO()
    torch.save(saved, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def paddle(state: dict[str, torch.Tensor]) -> bytes:
    """As paddle.save writes: a pickle of numpy arrays (the names stay torchvision's here)."""
    return pickle.dumps({name: value.numpy() for name, value in state.items()}, protocol=4)


def safetensors(state: dict[str, torch.Tensor]) -> bytes:
    from safetensors.torch import save

    return save(state)
