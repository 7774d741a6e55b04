"""Finds the weights in a whole network that ``torch.save(model)`` pickled, without its classes.

A pickled ``torch.nn.Module`` is its attributes: ``_parameters`` and ``_buffers`` by name, and ``_modules``, whose names
join with dots into those of the state dict. None of its code is imported or needed.
"""

from __future__ import annotations

from typing import Any

from edgekit.checkpoints.pickle_names import Opaque
from edgekit.errors import CheckpointError

MAX_DEPTH = 32
MAX_MODULES = 20_000


def is_module(value: Any) -> bool:
    """Whether the object has a module's attributes."""
    return isinstance(value, Opaque) and isinstance(value.state, dict) and isinstance(value.state.get("_modules"), dict)


def state_of(module: Any) -> dict[str, Any]:
    """The state dict of a pickled module, values as the pickle had them.

    Raises:
        CheckpointError: nested or repeated beyond any network.
    """
    state: dict[str, Any] = {}
    pending = [("", module, 0)]
    visited = 0
    while pending:
        prefix, current, depth = pending.pop()
        visited += 1
        if depth > MAX_DEPTH or visited > MAX_MODULES:
            raise CheckpointError("refused: a pickled network of endless modules")
        if not is_module(current):
            continue
        for kind in ("_parameters", "_buffers"):
            found = current.state.get(kind)
            if isinstance(found, dict):
                state.update({f"{prefix}{name}": value for name, value in found.items()})
        pending += [(f"{prefix}{name}.", child, depth + 1) for name, child in current.state["_modules"].items()]
    return state
