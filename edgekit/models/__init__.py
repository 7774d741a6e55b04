"""Torch reference networks: the oracle that every later stage is compared with."""

from edgekit.models.build import build, empty

__all__ = ["build", "empty"]
