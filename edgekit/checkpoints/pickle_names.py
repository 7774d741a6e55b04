"""What a pickle may name, and what stands for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgekit.errors import CheckpointError

Handler = Callable[..., Any]


class Opaque:
    """Stands for an object of a class that is of no interest (an optimizer's, a logger's); nothing is imported."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: Any = None

    def build(self, state: Any) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Name:
    """A global that the pickle named and the table knows."""

    def __init__(self, name: str, handler: Handler) -> None:
        self.name, self.handler = name, handler


class Globals:
    """What a pickle may name: exact names with their handlers, and modules whose classes become ``Opaque``."""

    def __init__(self, handlers: Mapping[str, Handler], inert_prefixes: tuple[str, ...] = ()) -> None:
        self.handlers, self.inert_prefixes = handlers, inert_prefixes

    def find(self, module: str, name: str) -> Name:
        full = f"{module}.{name}"
        if full in self.handlers:
            return Name(full, self.handlers[full])
        if full.startswith(self.inert_prefixes):
            return Name(full, lambda *_, **__: Opaque(full))
        raise CheckpointError(
            f"refused: the pickle asks for {full!r}, which no checkpoint needs; nothing was run",
            hint="save only the weights: torch.save(model.state_dict(), ...)",
        )
