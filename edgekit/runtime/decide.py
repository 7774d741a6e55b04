"""From raw engine output to an answer: probabilities, smoothing, top-k, and a label that does not flicker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.runtime.options import Decision
from edgekit.runtime.results import UNKNOWN, Prediction

Scores = NDArray[np.float32]

_LISTED = 64  # up to so many classes are sorted as a Python list in less time than NumPy takes for one call
_PICKED = 16  # up to so many are picked one by one, with a search for each


# After each frame the engine has emptied the caches, and every NumPy call costs tens of microseconds: few calls are
# what counts below, not few operations.


class ByteProbabilities:
    """Probabilities of a network whose raw output is 8 bits wide, by table: there are but 256 values.

    Args:
        values: float32 ``[256]``, the real number each raw output stands for, in the order of its bits (as uint8).
        ends_in_softmax: they are probabilities already; otherwise logits.
    """

    def __init__(self, values: Scores, *, ends_in_softmax: bool) -> None:
        # In double precision: below the table's largest value by up to 700, nothing vanishes.
        wide = values.astype(np.float64)
        self._table = wide if ends_in_softmax else np.exp(wide - wide.max())
        self._normalize = not ends_in_softmax

    def __call__(self, raw: NDArray[Any]) -> Scores:
        """``raw`` uint8 or int8 ``[classes]`` → float32 ``[classes]``, a new array."""
        found = self._table[raw.view(np.uint8)]
        if self._normalize:
            found *= 1.0 / float(np.add.reduce(found))
        return found.astype(np.float32)


def softmax(scores: Scores, highest: float | None = None) -> Scores:
    """Logits float32 ``[classes]`` as probabilities, in place; ``highest`` is their maximum, if known."""
    np.subtract(scores, scores.max() if highest is None else highest, out=scores)
    np.exp(scores, out=scores)
    np.multiply(scores, 1.0 / float(scores.sum()), out=scores)
    return scores


def top_k(scores: Scores, labels: Sequence[str], k: int) -> tuple[Prediction, ...]:
    """The k best classes, best first; equal scores in the order of their index."""
    k = min(k, scores.size)
    if scores.size <= _LISTED:
        values = scores.tolist()
        order = sorted(range(len(values)), key=values.__getitem__, reverse=True)[:k]
        return tuple([Prediction(index, labels[index], values[index]) for index in order])
    if k <= _PICKED:
        left = scores.copy()
        best = []
        for _ in range(k):
            index = int(left.argmax())  # of equal ones the first
            best.append(Prediction(index, labels[index], scores.item(index)))
            left[index] = -np.inf
        return tuple(best)
    order = np.argsort(-scores, kind="stable")[:k].tolist()
    return tuple([Prediction(index, labels[index], scores.item(index)) for index in order])


class Decider:
    """Smooths the scores of one camera and settles its label. Has memory: one for each camera."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._average: Scores | None = None
        self._current: int | None = None

    def reset(self) -> None:
        """Forgets the past: the source was away, and what it shows now may be another scene."""
        self._average = None
        self._current = None

    def smooth(self, scores: Scores) -> Scores:
        """The exponential moving average after ``scores`` (probabilities, float32 ``[classes]``)."""
        weight = self._decision.smoothing
        if weight >= 1.0:
            return scores
        if self._average is None or self._average.shape != scores.shape:
            self._average = scores.copy()
            return self._average
        self._average *= 1.0 - weight
        self._average += weight * scores
        return self._average

    def label(self, scores: Scores, best: Prediction, labels: Sequence[str]) -> str:
        """The label to show: the current one, until another exceeds it by the hysteresis or it falls too low."""
        decision = self._decision
        if not decision.active:
            return best.label
        current = self._current
        gone = current is None or scores[current] < decision.threshold
        if gone or best.score > scores[current] + decision.hysteresis:
            current = best.index
        self._current = current if scores[current] >= decision.threshold else None
        return UNKNOWN if self._current is None else labels[self._current]
