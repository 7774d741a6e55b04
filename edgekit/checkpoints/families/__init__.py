"""The families of state dicts, and which of them a set of tensor names belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor

from edgekit.checkpoints.families import megvii, mmpretrain, paddle, tensorflow, torchvision
from edgekit.checkpoints.families.family import Reading

# The tensors, and the file's name for questions that the content leaves open.
Reader = Callable[[Mapping[str, Tensor], str], Reading]

# A new naming is one module and one line.
NAMINGS: tuple[tuple[re.Pattern[str], Reader], ...] = (
    (torchvision.PATTERN, torchvision.read),
    (megvii.PATTERN_V1, megvii.read_v1),
    (megvii.PATTERN_V2, megvii.read_v2),
    (mmpretrain.PATTERN_V1, mmpretrain.read_v1),
    (mmpretrain.PATTERN_V2, mmpretrain.read_v2),
    (paddle.PATTERN, paddle.read),
    (tensorflow.PATTERN, tensorflow.read),
)


def recognise(names: Iterable[str]) -> Reader | None:
    """The reader whose naming fits most of the names, or None where none fits more than half.

    Most and not all, so that a file with a tensor too few or too many is reported as exactly that.
    """
    names = list(names)
    fitting, reader = max(
        ((sum(bool(pattern.fullmatch(name)) for name in names), reader) for pattern, reader in NAMINGS),
        key=lambda pair: pair[0],
    )
    return reader if fitting * 2 > len(names) else None
