"""From raw engine output to an answer: probabilities, smoothing, top-k, and a label that does not flicker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit.runtime.options import Decision
from edgekit.runtime.results import UNKNOWN, Prediction

Scores = NDArray[np.float32]

_SORTED_WHOLE = 128  # so few classes are sorted whole in less time than it takes to choose among them


# After each frame the engine has emptied the caches, and every NumPy call costs tens of microseconds: few calls are
# what counts below, not few operations.


def softmax(scores: Scores, highest: float | None = None) -> Scores:
    """Logits float32 ``[classes]`` as probabilities, in place; ``highest`` is their maximum, if known."""
    np.subtract(scores, scores.max() if highest is None else highest, out=scores)
    np.exp(scores, out=scores)
    np.multiply(scores, 1.0 / float(scores.sum()), out=scores)
    return scores


def top_k(scores: Scores, labels: Sequence[str], k: int) -> tuple[Prediction, ...]:
    """The k best classes, best first; equal scores in the order of their index."""
    k = min(k, scores.size)
    if scores.size <= _SORTED_WHOLE:
        order = np.argsort(-scores, kind="stable")[:k]
    else:
        # Everything from the k-th best score up, so that ties are settled by index rather than by luck.
        floor = np.partition(scores, scores.size - k)[scores.size - k]
        candidates = np.flatnonzero(scores >= floor)
        order = candidates[np.argsort(-scores[candidates], kind="stable")][:k]
    best = zip(order.tolist(), scores[order].tolist(), strict=True)
    return tuple(Prediction(index, labels[index], score) for index, score in best)


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
