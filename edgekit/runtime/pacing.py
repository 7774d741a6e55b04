"""When the next frame is due: the frame rate asked for, and a lower one while the device throttles itself."""

from __future__ import annotations

_LOWEST_FPS = 1.0
# While throttled the rate goes down by a fifth at every look; afterwards up by a tenth: fast to yield, slow to return,
# so that the rate settles instead of swinging with the temperature.
_DOWN, _UP = 0.8, 1.1


class Pacer:
    """Holds the loop back to a frame rate.

    Args:
        max_fps: what was asked for, None for no limit.
        adaptive: whether :meth:`throttle` may lower the rate further.
    """

    def __init__(self, max_fps: float | None = None, *, adaptive: bool = True) -> None:
        self._max_fps = max_fps
        self._adaptive = adaptive
        self._lowered: float | None = None
        self._due = float("-inf")

    @property
    def limit_fps(self) -> float | None:
        """The rate now in force."""
        return self._lowered if self._lowered is not None else self._max_fps

    @property
    def lowered(self) -> bool:
        return self._lowered is not None

    def wait_s(self, now: float) -> float:
        """How long until the next frame may be taken, in seconds; 0 if it may be now."""
        return max(0.0, self._due - now) if self.limit_fps is not None else 0.0

    def took(self, now: float) -> None:
        """A frame was taken; the next is due one interval after this one was, so that small delays do not add up."""
        limit = self.limit_fps
        if limit is None:
            return
        interval = 1.0 / limit
        self._due = max(self._due + interval, now) if now - self._due < interval else now + interval

    def throttle(self, throttled: bool, achieved_fps: float) -> None:
        """Told at every look at the device's health, with the frame rate since the last look."""
        if not self._adaptive:
            return
        if throttled:
            base = self._lowered if self._lowered is not None else achieved_fps
            if base > 0:
                self._lowered = max(_LOWEST_FPS, base * _DOWN)
        elif self._lowered is not None:
            self._lowered *= _UP
            unlimited = self._max_fps if self._max_fps is not None else 2.0 * max(achieved_fps, _LOWEST_FPS)
            if self._lowered >= unlimited:
                self._lowered = None
