"""The fewest candidates of a ranked list with which a yes-or-no test passes. Each answer costs minutes: few are asked.

1. None, then the first 1, 2, 4, 8 … of the list, until the test passes.
2. By halves between the last that failed and that one: the shortest beginning of the list that passes.
3. Those of it that turn out not to be needed, the least suspected first, are left out again.

More candidates are taken to be better, which rounding obeys but for luck: the result always passes the test, and no
shorter beginning of the list was seen to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

# Step 3 asks once for each candidate; of a long list one more or less hardly matters.
_LEFT_OUT = 4


def fewest(ranked: Sequence[T], passes: Callable[[tuple[T, ...]], bool]) -> tuple[T, ...] | None:
    """The candidates to take, in the order of ``ranked``; None where not even all of them pass.

    Args:
        ranked: most promising first.
        passes: whether a choice is good enough; asked at most once for each choice.
    """
    if passes(()):
        return ()
    failed, count = 0, 1
    while True:
        if not ranked:
            return None
        count = min(count, len(ranked))
        if passes(tuple(ranked[:count])):
            break
        if count == len(ranked):
            return None
        failed, count = count, 2 * count
    while count - failed > 1:
        middle = (failed + count) // 2
        if passes(tuple(ranked[:middle])):
            count = middle
        else:
            failed = middle
    chosen = tuple(ranked[:count])
    # The last one was needed: without it the test had failed.
    for candidate in list(reversed(chosen[:-1]))[:_LEFT_OUT]:
        fewer = tuple(other for other in chosen if other is not candidate)
        if passes(fewer):
            chosen = fewer
    return chosen
