"""Checkpoints of every published ShuffleNet: file → architecture, weights, preprocessing, labels.

The names below are imported when they are first used: the catalogue is part of this package, and listing it needs
neither torch nor the seconds that importing torch takes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.checkpoints.description import describe
    from edgekit.checkpoints.reading import load
    from edgekit.checkpoints.source import Architecture, Checkpoint

__all__ = ["Architecture", "Checkpoint", "describe", "load"]

_HOMES = {"Architecture": "source", "Checkpoint": "source", "describe": "description", "load": "reading"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
