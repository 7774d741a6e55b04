"""What a family's reader gets and gives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from edgekit.checkpoints.source import Architecture
from edgekit.contracts import IMAGENET, ImageContract, Normalization


@dataclass(frozen=True)
class Reading:
    """A state dict, understood. ``weights`` are under the names of ``edgekit.models``."""

    family: str
    architecture: Architecture
    weights: Mapping[str, Tensor]
    normalization: Normalization = IMAGENET
    image: ImageContract = field(default_factory=ImageContract)
    notes: tuple[str, ...] = ()


def units_by_stage(names: Iterable[str], pattern: re.Pattern[str], first_stage: int = 2) -> tuple[int, ...]:
    """Units in each of three stages; ``pattern`` captures a stage and a unit, both counted from 0 but for the offset.

    The highest index counts, so that a unit missing in between is reported as missing and not taken for the end.
    """
    last: dict[int, int] = {}
    for name in names:
        if match := pattern.match(name):
            stage, unit = int(match[1]) - first_stage, int(match[2])
            last[stage] = max(last.get(stage, 0), unit)
    return tuple(last.get(stage, -1) + 1 for stage in range(max([2, *last]) + 1))


def head_of(tensors: Mapping[str, Tensor], name: str, default: str | None = None) -> str:
    """The classifier's name where fine-tuning put it into a Sequential (dropout before it): ``fc`` or ``fc.1``.

    Where several layers could be it, or none, ``default`` (else ``name``), so that the strict check speaks.
    """
    pattern = re.compile(rf"({re.escape(name)}(?:\.\d+)?)\.weight")
    found = [match[1] for key in tensors if (match := pattern.fullmatch(key))]
    return found[0] if len(found) == 1 else default or name
