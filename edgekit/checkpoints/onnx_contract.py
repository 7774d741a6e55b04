"""What an ONNX file's input expects of pixels, which the format has no field for.

In this order: what the graph itself does to its input first (scaling inside means that it takes pixels), what the first
batch norm remembers of its training input (see ``statistics``), and else ImageNet's mean and standard deviation, which
most exported classifiers use. Each choice is written down as a note.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from edgekit.checkpoints.onnx_file import input_size
from edgekit.checkpoints.statistics import UNIT_RGB, input_statistics
from edgekit.contracts import IMAGENET, ImageContract, Normalization

RAW_RGB = Normalization("rgb")
RAW_BGR = Normalization("bgr")
# How much darker blue has to be than red to call the first channel blue: in ImageNet it is 20 of 255.
_BLUE_DARKER = 8.0


@dataclass(frozen=True)
class Contract:
    """What the graph's input is made of, and the class names where the file carries them."""

    normalization: Normalization
    image: ImageContract
    labels: tuple[str, ...] | None
    notes: tuple[str, ...]


def read(model: ir.Model) -> Contract:
    """The contract of a model as ``onnx_file.read`` returns it."""
    height, width = input_size(model)
    height, width = height or 224, width or 224
    normalization, note = _normalization(model)
    # The classifier's usual margin: 256 for 224.
    image = ImageContract(height, width, round(min(height, width) * 256 / 224), "antialias")
    return Contract(normalization, image, _labels(model), (note,))


def _normalization(model: ir.Model) -> tuple[Normalization, str]:
    picture = model.graph.inputs[0]
    first = [use.node for use in picture.uses()]
    if len(first) == 1:
        node = first[0]
        if node.op_type in ("Sub", "Add", "Mul", "Div"):
            return _scaled_inside(node)
        behind = [use.node for use in node.outputs[0].uses()]
        if node.op_type == "Conv" and len(behind) == 1 and behind[0].op_type == "BatchNormalization":
            weight, mean, variance = (_array(v) for v in (node.inputs[1], behind[0].inputs[3], behind[0].inputs[4]))
            seen = None
            if weight is not None and mean is not None and variance is not None:
                seen = input_statistics(torch.tensor(weight), torch.tensor(mean), torch.tensor(variance))
            if seen is not None:
                pixels = RAW_BGR if seen.mean[0] + _BLUE_DARKER < seen.mean[2] else RAW_RGB
                kinds = {"pixels": pixels, "unit": UNIT_RGB, "normalized": IMAGENET}
                order = f" in {pixels.order.upper()} order" if seen.scale == "pixels" else ""
                return kinds[seen.scale], f"{seen.describe()}{order}"
    return IMAGENET, "the file does not say what its input expects; ImageNet's mean and standard deviation are assumed"


def _scaled_inside(node: ir.Node) -> tuple[Normalization, str]:
    constants = [array for value in node.inputs if (array := _array(value)) is not None]
    size = float(np.abs(constants[0]).max()) if constants else 0.0
    of_pixels = size < 0.05 if node.op_type == "Mul" else size > 4
    kind = "0–255" if of_pixels else "0–1"
    return (
        RAW_RGB if of_pixels else UNIT_RGB
    ), f"the graph itself normalizes its input ({node.op_type}): pixels of {kind}"


def _array(value: ir.Value | None) -> NDArray[Any] | None:
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def _labels(model: ir.Model) -> tuple[str, ...] | None:
    """Class names in the metadata, as a JSON list or mapping or one a line."""
    for key in ("labels", "classes", "class_names", "names"):
        text = model.metadata_props.get(key, "")
        if not text:
            continue
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = text.splitlines()
        names = list(found.values()) if isinstance(found, dict) else found
        if isinstance(names, list) and len(names) > 1 and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None
