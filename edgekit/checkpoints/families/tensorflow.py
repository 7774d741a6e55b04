"""ShuffleNet V2 in TensorFlow 1 (github.com/TropComplique/shufflenet-v2-tensorflow), trained with slim's layers.

The graph takes RGB of 0–1 and maps it to 2x − 1. Evaluation resizes the short side to 256 bilinearly (without
antialiasing) and crops 224. Borders are SAME, the batch norm's epsilon is 1e-3, units convolve the *first* half of the
shuffled channels, and a stage ends in a plain concat. Convolutions are stored as [kh, kw, in, out].
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from edgekit.checkpoints.families.family import Reading, units_by_stage
from edgekit.checkpoints.layout import fit
from edgekit.contracts import ImageContract, Normalization

_LAYER = r"(weights|depthwise_weights|batch_norm/(gamma|beta|moving_mean|moving_variance))"
# Not the optimizer's slots, the averages and the step, which a training checkpoint holds as well.
PATTERN = re.compile(
    rf"ShuffleNetV2/(Conv1|Conv5)/{_LAYER}"
    rf"|ShuffleNetV2/Stage\d+/unit_\d+/(second_branch/)?(conv1x1_before|depthwise|conv1x1_after)/{_LAYER}"
    r"|classifier/(weights|biases)"
)
PLUS_MINUS_ONE = Normalization("rgb", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
IMAGE = ImageContract(interpolation="linear")

_UNIT = re.compile(r"ShuffleNetV2/Stage(\d+)/unit_(\d+)/")
_PARTS = {
    "branch1.0": "second_branch/depthwise", "branch1.2": "second_branch/conv1x1_after",
    "branch2.0": "conv1x1_before", "branch2.3": "depthwise", "branch2.5": "conv1x1_after",
}  # fmt: skip
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def read(tensors: Mapping[str, Tensor], _: str) -> Reading:
    turned = {name: _turn(name, tensor) for name, tensor in tensors.items()}
    repeats = tuple(max(units - 1, 0) for units in units_by_stage(turned, _UNIT))  # counted from 1 there
    architecture, weights = fit(
        turned, _source_name, 2, repeats, shuffle_at="unit_start", untouched_half="second", padding="same", epsilon=1e-3
    )
    return Reading("tensorflow", architecture, weights, PLUS_MINUS_ONE, IMAGE)


def _turn(name: str, tensor: Tensor) -> Tensor:
    if name.endswith("/depthwise_weights") and tensor.ndim == 4:
        return tensor.permute(2, 3, 0, 1)  # [kh, kw, channels, 1]
    if name.endswith("/weights") and tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    return tensor.t() if name == "classifier/weights" and tensor.ndim == 2 else tensor


def _source_name(name: str) -> str:
    head, *rest = name.split(".")
    if head == "fc":
        return f"classifier/{'weights' if rest[0] == 'weight' else 'biases'}"
    if head in ("conv1", "conv5"):
        return f"ShuffleNetV2/{head.capitalize()}/{_layer(rest[0] == '1', rest[1], 'weights')}"
    unit, branch, layer, value = rest[0], rest[1], int(rest[2]), rest[3]
    is_norm = f"{branch}.{layer}" not in _PARTS
    part = _PARTS[f"{branch}.{layer - is_norm}"]
    weights = "depthwise_weights" if part.endswith("depthwise") else "weights"
    return f"ShuffleNetV2/Stage{head[5:]}/unit_{int(unit) + 1}/{part}/{_layer(is_norm, value, weights)}"


def _layer(is_norm: bool, value: str, weights: str) -> str:
    return f"batch_norm/{_NORM[value]}" if is_norm else weights
