"""What a model file says about itself, the same in both formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgekit import __version__
from edgekit.contracts import ImageContract, Normalization
from edgekit.emit.reading import Quantization

Precision = Literal["int8", "fp16", "fp32"]

PRODUCER = "edgekit"


@dataclass(frozen=True)
class ModelMeta:
    """Facts that travel inside a model file.

    ``labels`` has one entry a class, in the order of the scores, or is None where they are unknown. ``image`` is how
    a picture becomes the input's pixels; ``normalization`` what is done to them before the model sees them, None where
    the model eats uint8 pixels. ``extra`` goes into the file under its own keys, and must hold no time stamps: the
    same model gives the same bytes.
    """

    name: str = "ShuffleNet"
    description: str = "Image classifier"
    labels: tuple[str, ...] | None = None
    image: ImageContract | None = None
    normalization: Normalization | None = None
    author: str = ""
    license: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    def properties(self, precision: Precision, output: Quantization | None) -> dict[str, str]:
        """Key/value pairs for the file; ``output`` is the scores' quantization as numbers of *that* file's type."""
        pairs = {
            "edgekit.version": __version__,
            "edgekit.name": self.name,
            "edgekit.precision": precision,
        }
        if self.image is not None:
            pairs["edgekit.image"] = json.dumps(self.image.to_dict(), sort_keys=True)
        if self.normalization is not None:
            pairs["edgekit.normalization"] = json.dumps(self.normalization.to_dict(), sort_keys=True)
        if self.labels is not None:
            pairs["edgekit.labels"] = "\n".join(self.labels)
        if output is not None:
            # repr of the float32 widened to float64: reads back as the same float32.
            pairs["edgekit.output_scale"] = repr(float(output.scale[0]))
            pairs["edgekit.output_zero_point"] = str(output.zero_point)
        return {**pairs, **self.extra}
