"""The two halves of preprocessing, as frozen values that travel with a model from checkpoint to bundle.

A picture becomes scores in two steps. ``ImageContract`` says how a decoded picture becomes the uint8 RGB
``[H, W, 3]`` tensor that every bundled model takes; the device does that. ``Normalization`` says what the source
network expects of those pixels (channel order, mean, standard deviation); the build folds it into the first
convolution, so that it costs nothing at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Interpolation = Literal["linear", "area", "antialias"]


@dataclass(frozen=True, slots=True)
class ImageContract:
    """How a decoded picture of any size becomes the model's input, uint8 RGB ``[height, width, 3]``.

    ``resize`` is the length in pixels that the short side is scaled to, keeping the aspect ratio, before a centre
    crop of ``height`` × ``width``.
    """

    height: int = 224
    width: int = 224
    resize: int = 256
    interpolation: Interpolation = "antialias"

    def to_dict(self) -> dict[str, Any]:
        """The manifest's spelling, with the parts that every bundle shares written out."""
        return {**asdict(self), "crop": "center", "color": "rgb", "layout": "NHWC", "dtype": "uint8"}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImageContract:
        return cls(int(data["height"]), int(data["width"]), int(data["resize"]), data["interpolation"])


@dataclass(frozen=True, slots=True)
class Normalization:
    """What the source network's float input is, given pixels p in 0–255: ``(p[order] - mean) / std``, per channel.

    ``mean`` and ``std`` are in pixel units (0–255) and in the order of the *network's* channels, so for ``order="bgr"``
    the first entry belongs to blue.
    """

    order: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        return {"order": self.order, "mean": list(self.mean), "std": list(self.std)}


# torchvision.models: mean and std of ImageNet in 0–1 units, times 255.
IMAGENET = Normalization("rgb", (0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255))
