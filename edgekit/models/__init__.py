"""Torch reference networks: the oracle that every later stage is compared with."""

from edgekit.models.build import build, empty
from edgekit.models.cost import Cost, cost

__all__ = ["Cost", "build", "cost", "empty"]
