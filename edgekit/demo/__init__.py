"""The embedded demo: twelve printed pictograms, a network that tells them apart, and everything to try it with.

Needs no network and nobody else's data. The modules that draw and play (``pictograms``, ``render``, ``clip``,
``sheet``, ``dataset``) run on a device; only ``train`` needs torch.
"""

from __future__ import annotations

from pathlib import Path

from edgekit.resources import shipped

_DATA = Path(__file__).resolve().parent / "data"


def checkpoint() -> Path:
    """The trained network: ShuffleNet V2 x0.5, a state dict in torchvision's naming."""
    return _DATA / "demo.pth"


def labels() -> Path:
    """Its labels, one a line."""
    return _DATA / "labels.txt"


def calibration() -> Path:
    """The folder of calibration pictures and their ``manifest.yaml``."""
    return shipped("calibration") / "demo"


def heldout(folder: str | Path, n: int = 650, seed: int = 77) -> Path:
    """Writes ``n`` pictures that the network never saw as ``folder/label/*.jpg``, for ``edgekit eval --data``.

    Raises:
        UsageError: ``n`` is below 1, or the folder already holds something.
        StorageError: the folder cannot be written.
    """
    from edgekit.demo.dataset import held_out

    return held_out(folder, n, seed)
