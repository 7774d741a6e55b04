"""Reads what ``torch.save`` wrote, without running code from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from edgekit.errors import CheckpointError


def read(path: Path) -> Any:
    """The object in the file, tensors on the CPU."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"not a file that can be read safely: {error}") from error
