"""mmpretrain's (formerly mmcls) ShuffleNet V1 and V2 classifiers (mmpretrain/models/backbones/shufflenet_v{1,2}.py).

Evaluation there resizes the short side to 256 with Pillow, crops 224 from the centre and normalizes RGB with
ImageNet's mean and standard deviation (_base_/datasets/imagenet_bs64_pil_resize.py). ``meta`` may name the classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from edgekit.checkpoints.families.family import Reading, units_by_stage
from edgekit.checkpoints.layout import fit

PATTERN_V1 = re.compile(
    r"backbone\.conv1\.(conv|bn)\.\w+"
    r"|backbone\.layers\.\d\.\d+\.(g_conv_1x1_(compress|expand)|depthwise_conv3x3_bn)\.(conv|bn)\.\w+"
    r"|head\.fc\.(weight|bias)"
)
PATTERN_V2 = re.compile(
    r"backbone\.conv1\.(conv|bn)\.\w+|backbone\.layers\.\d\.\d+\.branch[12]\.\d\.(conv|bn)\.\w+"
    r"|backbone\.layers\.\d\.(conv|bn)\.\w+|head\.fc\.(weight|bias)"
)
_UNIT = re.compile(r"backbone\.layers\.(\d)\.(\d+)\.")
_V1_PARTS = {"compress": "g_conv_1x1_compress", "depthwise": "depthwise_conv3x3_bn", "expand": "g_conv_1x1_expand"}
# The convolution that an index in torchvision's Sequential belongs to, in mmpretrain's list of ConvModules.
_V2_LAYERS = {
    "branch1": {"0": "0.conv", "1": "0.bn", "2": "1.conv", "3": "1.bn"},
    "branch2": {"0": "0.conv", "1": "0.bn", "3": "1.conv", "4": "1.bn", "5": "2.conv", "6": "2.bn"},
}
_KIND = {"0": "conv", "1": "bn"}


def read_v1(tensors: Mapping[str, Tensor], _: str) -> Reading:
    architecture, weights = fit(tensors, _source_name, 1, units_by_stage(tensors, _UNIT, first_stage=0))
    return Reading("mmpretrain", architecture, weights)


def read_v2(tensors: Mapping[str, Tensor], _: str) -> Reading:
    architecture, weights = fit(tensors, _source_name, 2, units_by_stage(tensors, _UNIT, first_stage=0))
    return Reading("mmpretrain", architecture, weights)


def _source_name(name: str) -> str:
    head, *rest = name.split(".")
    if head == "fc":
        return f"head.{name}"
    if head in ("conv1", "conv5"):
        where = "backbone.conv1" if head == "conv1" else "backbone.layers.3"
        return f"{where}.{_KIND[rest[0]]}.{rest[1]}"
    unit, part, layer, value = rest
    where = f"backbone.layers.{int(head[5:]) - 2}.{unit}"
    if part in _V1_PARTS:
        return f"{where}.{_V1_PARTS[part]}.{_KIND[layer]}.{value}"
    return f"{where}.{part}.{_V2_LAYERS[part][layer]}.{value}"
