"""The pictures on which quantization changed the answer."""

from __future__ import annotations

import base64
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.errors import ImageError
from edgekit.evaluate.compare import Answers

log = logging.getLogger(__name__)

_THUMBNAIL = 148
_JPEG_QUALITY = 78


@dataclass(frozen=True, slots=True)
class Flip:
    """One picture with another answer; class indices, ``truth`` −1 where it is not known."""

    path: Path
    truth: int
    before: int
    after: int

    @property
    def kind(self) -> str:
        """ "lost" (right before), "gained" (right after), "other"; without a truth always "other"."""
        if self.truth < 0:
            return "other"
        return "lost" if self.before == self.truth else "gained" if self.after == self.truth else "other"


def flips(answers: Answers, model: str, reference: str = "float") -> tuple[Flip, ...]:
    """Every picture that ``model`` answers otherwise than ``reference``: the lost ones first, then the gained."""
    if reference not in answers.top1 or model not in answers.top1:
        return ()
    before, after = answers.top1[reference], answers.top1[model]
    found = [
        Flip(answers.paths[i], int(answers.truth[i]), int(before[i]), int(after[i]))
        for i in np.flatnonzero(before != after)
    ]
    order = {"lost": 0, "gained": 1, "other": 2}
    return tuple(sorted(found, key=lambda flip: (order[flip.kind], str(flip.path))))


def confusions(found: Sequence[Flip]) -> tuple[tuple[int, int, int], ...]:
    """(class before, class after, pictures), the most frequent first."""
    counted = Counter((flip.before, flip.after) for flip in found)
    return tuple((a, b, n) for (a, b), n in sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def thumbnail(path: Path) -> str | None:
    """The middle of a picture as a ``data:`` URI of a small JPEG; None where it can no longer be read."""
    import cv2

    from edgekit.contracts import ImageContract
    from edgekit.preprocess import Preprocessor, decode

    try:
        pixels = Preprocessor(ImageContract(_THUMBNAIL, _THUMBNAIL, _THUMBNAIL + 16, "area")).image(decode(path))
    except ImageError as error:
        log.warning("no thumbnail: %s", error)
        return None
    done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}" if done else None
