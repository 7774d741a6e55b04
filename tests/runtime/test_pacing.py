from __future__ import annotations

import pytest

from edgekit.runtime.pacing import Pacer


def taken(pacer: Pacer, seconds: float, *, busy_s: float = 0.001) -> int:
    now, count = 0.0, 0
    while now < seconds:
        wait = pacer.wait_s(now)
        if wait > 0:
            now += wait
            continue
        pacer.took(now)
        count += 1
        now += busy_s
    return count


def test_without_a_limit_nothing_waits() -> None:
    assert Pacer().wait_s(0.0) == 0.0


@pytest.mark.parametrize("fps", [1.0, 7.0, 30.0])
def test_the_rate_is_kept_over_time(fps: float) -> None:
    assert taken(Pacer(fps), 20.0) == pytest.approx(20 * fps, abs=2)


def test_a_late_frame_does_not_bring_a_burst() -> None:
    pacer = Pacer(10.0)
    pacer.took(0.0)
    pacer.took(5.0)  # something took five seconds
    assert pacer.wait_s(5.0) == pytest.approx(0.1)


def test_throttling_lowers_the_rate_step_by_step_and_lifts_it_again() -> None:
    pacer = Pacer(None)
    rates = []
    for _ in range(5):
        pacer.throttle(True, achieved_fps=20.0)
        rates.append(pacer.limit_fps)
    assert rates == pytest.approx([16.0, 12.8, 10.24, 8.192, 6.5536])
    for _ in range(60):
        pacer.throttle(False, achieved_fps=pacer.limit_fps or 0.0)
        if not pacer.lowered:
            break
    achieved = []
    while pacer.lowered and len(achieved) < 60:
        achieved.append(pacer.limit_fps)
        pacer.throttle(False, achieved_fps=20.0)
    assert not pacer.lowered


def test_it_never_stops_altogether_nor_passes_the_limit_asked_for() -> None:
    pacer = Pacer(10.0)
    for _ in range(50):
        pacer.throttle(True, achieved_fps=10.0)
    assert pacer.limit_fps == 1.0
    for _ in range(50):
        pacer.throttle(False, achieved_fps=5.0)
        assert pacer.limit_fps is not None
        assert pacer.limit_fps <= 10.0
    assert not pacer.lowered
