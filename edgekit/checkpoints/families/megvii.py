"""Megvii's ShuffleNet V1 and V2 (github.com/megvii-model/ShuffleNet-Series), and V2 rewritten with ``stageN.`` names.

Evaluation there resizes the short side to 256 with OpenCV's bilinear filter, crops 224 from the centre and feeds BGR
pixels of 0–255, without mean or standard deviation. V2 shuffles *before* the split (even channels pass, odd ones are
convolved), and its first units leave the projection branch as wide as their input. V1 shuffles the other way round
than everybody else. Neither has a bias in the classifier.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from edgekit.checkpoints.families.family import Reading, head_of, units_by_stage
from edgekit.checkpoints.layout import fit
from edgekit.checkpoints.statistics import UNIT_RGB, input_statistics
from edgekit.contracts import IMAGENET, ImageContract, Normalization
from edgekit.errors import CheckpointError

PATTERN_V1 = re.compile(
    r"first_conv\.[01]\.\w+|features\.\d+\.branch_main_[12]\.\d\.\w+|classifier\.(\d\.)?(weight|bias)"
)
PATTERN_V2 = re.compile(
    r"(first_conv|conv_last)\.[01]\.\w+|(features|stage\d)\.(\d+\.)+branch_(main|proj)\.\d\.\w+"
    r"|classifier\.(\d\.)?(weight|bias)"
)
RAW_BGR = Normalization("bgr")
IMAGE = ImageContract(interpolation="linear")

_STAGED_UNIT = re.compile(r"stage(\d)\.(\d+)\.")
_FLAT_UNIT = re.compile(r"features\.(\d+)\.")
_V1_PARTS = {
    "compress.0": "branch_main_1.0", "compress.1": "branch_main_1.1", "depthwise.0": "branch_main_1.3",
    "depthwise.1": "branch_main_1.4", "expand.0": "branch_main_2.0", "expand.1": "branch_main_2.1",
}  # fmt: skip


def read_v1(tensors: Mapping[str, Tensor], _: str) -> Reading:
    starts = _stage_starts(tensors, lambda unit: _width(tensors, f"features.{unit}.branch_main_1", "3", "0"))
    name = _source_name(tensors, starts, _V1_PARTS)
    architecture, weights = fit(tensors, name, 1, _repeats(tensors, starts), shuffle="deinterleave")
    return Reading("megvii", architecture, weights, RAW_BGR, IMAGE)


def read_v2(tensors: Mapping[str, Tensor], _: str) -> Reading:
    staged = any(_STAGED_UNIT.match(name) for name in tensors)
    if staged:
        repeats, starts = units_by_stage(tensors, _STAGED_UNIT), None
    else:
        starts = _stage_starts(tensors, lambda unit: _width(tensors, f"features.{unit}.branch_main", "3", "0", "5"))
        repeats = _repeats(tensors, starts)
    name = _source_name(tensors, starts, {"branch1": "branch_proj", "branch2": "branch_main"})
    architecture, weights = fit(tensors, name, 2, repeats, shuffle="deinterleave", shuffle_at="unit_start")
    if staged:  # not Megvii's own code, so its preprocessing need not be Megvii's either
        normalization, notes = _trained_input(weights)
        return Reading("megvii", architecture, weights, normalization, IMAGE, notes)
    return Reading("megvii", architecture, weights, RAW_BGR, IMAGE)


def _trained_input(weights: Mapping[str, Tensor]) -> tuple[Normalization, tuple[str, ...]]:
    seen = input_statistics(weights["conv1.0.weight"], weights["conv1.1.running_mean"], weights["conv1.1.running_var"])
    if seen is None:
        return RAW_BGR, ()
    scale = {"pixels": RAW_BGR, "unit": UNIT_RGB, "normalized": IMAGENET}[seen.scale]
    return scale, (seen.describe(),)


def _width(tensors: Mapping[str, Tensor], branch: str, *layers: str) -> int | None:
    """Channels of the first of these convolutions that is there."""
    shapes = (tensors[name].shape for layer in layers if (name := f"{branch}.{layer}.weight") in tensors)
    return next((shape[0] for shape in shapes if len(shape) == 4), None)


def _units(tensors: Mapping[str, Tensor]) -> int:
    return max((int(match[1]) for name in tensors if (match := _FLAT_UNIT.match(name))), default=-1) + 1


def _stage_starts(tensors: Mapping[str, Tensor], width: Callable[[int], int | None]) -> tuple[int, ...]:
    """The units where the depthwise convolutions get wider: each stage's first, in a list without stages."""
    starts, last = [], None
    for unit in range(min(_units(tensors), 1000)):
        here = width(unit)
        if here is not None and here != last:
            starts.append(unit)
            last = here
    if len(starts) != 3:
        raise CheckpointError(f"the width changes at units {starts}: a ShuffleNet has three stages")
    return tuple(starts)


def _repeats(tensors: Mapping[str, Tensor], starts: tuple[int, ...]) -> tuple[int, ...]:
    ends = (*starts[1:], _units(tensors))
    return tuple(end - start for start, end in zip(starts, ends, strict=True))


def _source_name(
    tensors: Mapping[str, Tensor], starts: tuple[int, ...] | None, parts: Mapping[str, str]
) -> Callable[[str], str]:
    outside = {"conv1": "first_conv", "conv5": "conv_last", "fc": head_of(tensors, "classifier", "classifier.0")}

    def source_name(name: str) -> str:
        head, _, rest = name.partition(".")
        if head in outside:
            return f"{outside[head]}.{rest}"
        unit, _, rest = rest.partition(".")
        part = next(part for part in parts if rest.startswith(part))
        where = f"{head}.{unit}" if starts is None else f"features.{starts[int(head[5:]) - 2] + int(unit)}"
        return f"{where}.{parts[part]}{rest.removeprefix(part)}"

    return source_name
