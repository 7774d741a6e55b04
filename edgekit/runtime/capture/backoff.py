"""How long to wait before trying a source again."""

from __future__ import annotations

import random
from collections.abc import Callable

from edgekit.runtime.options import Resilience


class Backoff:
    """Exponential delays with jitter; see :class:`~edgekit.runtime.options.Resilience` for the formula."""

    def __init__(self, settings: Resilience, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._settings = settings
        self._uniform = uniform
        self._attempt = 0

    def next_delay_s(self) -> float:
        settings = self._settings
        # The exponent stops growing where the cap is reached for certain: a week of retries must not overflow.
        delay = settings.initial_delay_s * settings.factor ** min(self._attempt, 64)
        self._attempt += 1
        return min(delay, settings.longest_delay_s) * self._uniform(0.5, 1.0)

    def reset(self) -> None:
        self._attempt = 0
