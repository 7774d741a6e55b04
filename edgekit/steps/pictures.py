"""The pictures of a build as the model will see them: calibration, parity and goldens all use these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.contracts import ImageContract
from edgekit.labels import Label
from edgekit.quantize import calibration_set
from edgekit.quantize.calibration_set import CalibrationSet
from edgekit.resources import shipped
from edgekit.steps.order import Order, require_pictures


@dataclass(frozen=True)
class Pictures:
    """The drawn set, and the class of each picture: ``truth`` int64 ``[n]``, -1 where nothing says."""

    chosen: CalibrationSet
    truth: NDArray[np.int64] = field(repr=False)

    @property
    def pixels(self) -> NDArray[Any]:
        """uint8 RGB ``[n, H, W, 3]``."""
        return self.chosen.pixels


def read_pictures(
    order: Order, image: ImageContract, labels: Sequence[Label], progress: Callable[[int, int], None] | None = None
) -> Pictures:
    """Draws and decodes the calibration pictures of an order.

    A float model needs no calibration, but its goldens are real pictures too: the demo's where none were given.

    Raises:
        CalibrationError: the set cannot be used.
        UsageError: int8 was ordered without pictures.
    """
    if order.precision == "int8" or order.calibration is not None:
        source = require_pictures(order)
    else:
        source = shipped("calibration") / "demo" / "manifest.yaml"
    wanted = order.target.quantization
    chosen = calibration_set.load(source, image, wanted.calibration_images, seed=wanted.seed, progress=progress)
    return Pictures(chosen, np.array([_class_of(entry.label, labels) for entry in chosen.entries], dtype=np.int64))


def _class_of(name: str | None, labels: Sequence[Label]) -> int:
    """The one class whose WordNet id or name ``name`` is; -1 where that is none or several."""
    if name is None:
        return -1
    meant = [index for index, label in enumerate(labels) if name in (label.id, label.name)]
    return meant[0] if len(meant) == 1 else -1
