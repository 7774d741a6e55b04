"""The families of state dicts, and which of them a set of tensor names belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from edgekit.checkpoints.families import torchvision
from edgekit.checkpoints.families.family import Reading

Reader = Callable[[Mapping[str, Tensor]], Reading]

# A new family is one module and one line.
FAMILIES: dict[str, tuple[re.Pattern[str], Reader]] = {
    "torchvision": (torchvision.PATTERN, torchvision.read),
}


def recognise(names: Iterable[str]) -> Reader | None:
    """The reader whose naming fits most of the names, or None where fewer than half fit any.

    Most and not all, so that a file with a tensor too few or too many is reported as exactly that.
    """
    names = list(names)
    scores = {family: sum(bool(pattern.fullmatch(name)) for name in names) for family, (pattern, _) in FAMILIES.items()}
    best = max(scores, key=lambda family: scores[family])
    return FAMILIES[best][1] if scores[best] * 2 > len(names) else None
