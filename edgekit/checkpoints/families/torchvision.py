"""torchvision's ShuffleNet V2 (torchvision/models/shufflenetv2.py): ``conv1``, ``stageN``, ``conv5``, ``fc``.

The reference network uses the same names. Evaluation there resizes the short side to 256, crops 224 from the centre and
normalizes with ImageNet's mean and standard deviation (``ShuffleNet_V2_*_Weights.*.transforms``; weights of the second
recipe resize to 232, which the file does not say).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from edgekit.checkpoints.families.family import Reading, head_of, units_by_stage
from edgekit.checkpoints.layout import fit

PATTERN = re.compile(r"(conv1|conv5)\.[01]\.\w+|stage\d\.\d+\.branch[12]\.\d\.\w+|fc\.(\d\.)?(weight|bias)")
_UNIT = re.compile(r"stage(\d)\.(\d+)\.")


def read(tensors: Mapping[str, Tensor], _: str) -> Reading:
    repeats = units_by_stage(tensors, _UNIT)
    head = head_of(tensors, "fc")

    def source_name(name: str) -> str:
        return f"{head}.{name.removeprefix('fc.')}" if name.startswith("fc.") else name

    architecture, weights = fit(tensors, source_name, 2, repeats)
    return Reading("torchvision", architecture, weights)
