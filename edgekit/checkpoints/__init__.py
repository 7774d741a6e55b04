"""Checkpoints of every published ShuffleNet: file → architecture, weights, preprocessing, labels."""

from edgekit.checkpoints.describe import describe
from edgekit.checkpoints.load import load
from edgekit.checkpoints.source import Architecture, Checkpoint

__all__ = ["Architecture", "Checkpoint", "describe", "load"]
