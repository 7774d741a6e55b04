"""PaddleClas' ShuffleNet V2 (ppcls/arch/backbone/model_zoo/shufflenet_v2.py), and paddle.vision's under its names.

Evaluation there resizes the short side to 256 with OpenCV's bilinear filter, crops 224 from the centre and normalizes
RGB with ImageNet's mean and standard deviation (ppcls/configs/ImageNet/ShuffleNet). The classifier's matrix is stored
as [in, out]. Whether the activation is ReLU or swish is not written in the file: see ``_activation``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from edgekit.checkpoints.families.family import Reading, units_by_stage
from edgekit.checkpoints.layout import fit
from edgekit.checkpoints.source import Activation
from edgekit.checkpoints.statistics import is_swish
from edgekit.contracts import IMAGENET, ImageContract

PATTERN = re.compile(
    r"(_conv1|_last_conv|\d_\d+\._conv_(pw|dw|linear)(_[12])?)\.(_conv|_batch_norm|0|1)\.\w+|_fc\.(weight|bias)"
)
IMAGE = ImageContract(interpolation="linear")

_UNIT = re.compile(r"(\d)_(\d+)\.")
_PARTS = {"branch1.0": "dw_1", "branch1.2": "linear_1", "branch2.0": "pw", "branch2.3": "dw", "branch2.5": "linear"}
_VALUES = {"running_mean": "_mean", "running_var": "_variance"}


def read(tensors: Mapping[str, Tensor], hint: str) -> Reading:
    turned = {
        name: tensor.t() if name == "_fc.weight" and tensor.ndim == 2 else tensor for name, tensor in tensors.items()
    }
    # Units are counted from 1 there; a unit 0 would be counted as missing, which is what it is.
    repeats = tuple(max(units - 1, 0) for units in units_by_stage(turned, _UNIT))
    kinds = ("_conv", "_batch_norm") if any("._batch_norm." in name for name in turned) else ("0", "1")

    def source_name(name: str) -> str:
        return _source_name(name, kinds)

    architecture, weights = fit(turned, source_name, 2, repeats)
    activation, notes = _activation(weights, hint)
    architecture, weights = fit(turned, source_name, 2, repeats, activation=activation)
    return Reading("paddle", architecture, weights, IMAGENET, IMAGE, notes)


def _activation(weights: Mapping[str, Tensor], hint: str) -> tuple[Activation, tuple[str, ...]]:
    """ReLU or swish, from what the batch norms saw in training.

    Only where they do not tell (weights that were never trained) does the file's own name decide: nothing in the file
    can.
    """
    # Not stage 4: on maps of 7 × 7 the zeros of the border, which the estimate leaves out, weigh too much.
    layers = [name for name in weights if re.fullmatch(r"stage[23]\.\d+\.branch2\.1\.weight", name)]
    units = [name.removesuffix("branch2.1.weight") for name in layers]
    swish = is_swish(
        (
            weights[f"{unit}branch2.1.weight"],
            weights[f"{unit}branch2.1.bias"],
            weights[f"{unit}branch2.3.weight"],
            weights[f"{unit}branch2.4.running_mean"],
        )
        for unit in units
    )
    if swish is not None:
        kind: Activation = "swish" if swish else "relu"
        return kind, (f"the batch norms' statistics show that the activation is {kind}",)
    kind = "swish" if "swish" in hint.lower() else "relu"
    return kind, (f"the weights do not tell ReLU from swish; {kind} is taken from the file's name",)


def _source_name(name: str, kinds: tuple[str, str]) -> str:
    head, *rest = name.split(".")
    if head == "fc":
        return f"_{name}"
    value = _VALUES.get(rest[-1], rest[-1])
    if head in ("conv1", "conv5"):
        return f"{'_conv1' if head == 'conv1' else '_last_conv'}.{kinds[int(rest[0])]}.{value}"
    unit, branch, layer = rest[0], rest[1], int(rest[2])
    is_norm = f"{branch}.{layer}" not in _PARTS
    part = _PARTS[f"{branch}.{layer - is_norm}"]
    # A stage's first unit has two branches, and numbers the parts of both.
    part = f"{part}_2" if unit == "0" and branch == "branch2" else part
    return f"{head[5:]}_{int(unit) + 1}._conv_{part}.{kinds[is_norm]}.{value}"
