"""What each method is worth: the same scheme with one method switched off at a time, and with none of them.

for name, scheme in without_each(Scheme()): …
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgekit.quantize.scheme import PLAIN, ObserverName, Scheme

ALL = "all methods"
_OBSERVERS: dict[ObserverName, str] = {
    "minmax": "all, min-max ranges",
    "moving-average": "all, moving average",
    "percentile": "all, percentile",
    "entropy": "all, entropy",
    "mse": "all, least squared error",
}


def plain(base: Scheme) -> Scheme:
    """``base`` with every method off: min-max ranges, nearest rounding; weights' limit and float layers stay."""
    return replace(PLAIN, weight_limit=base.weight_limit, keep_float=base.keep_float, images=base.images)


def without_each(base: Scheme) -> Iterator[tuple[str, Scheme]]:
    """(name, scheme) for each method that is on in ``base``, with that one off; the plain recipe last."""
    if base.equalize:
        yield "all but equalization", replace(base, equalize=False)
    if base.split_channels:
        yield "all but channel splitting", replace(base, split_channels=False)
    if base.bias_correction:
        yield "all but bias correction", replace(base, bias_correction=False)
    if base.rounding != "nearest":
        yield "all but second-moment rounding", replace(base, rounding="nearest")
        if base.scale_search:
            yield "all but scale search", replace(base, scale_search=False)
    if base.observer != "minmax":
        yield _OBSERVERS["minmax"], replace(base, observer="minmax")
    if base != plain(base):
        yield "plain (min-max, nearest)", plain(base)


def full_table(base: Scheme) -> dict[str, Scheme]:
    """Every row of the documented table, by name, from nothing to everything and back."""
    bare = plain(base)
    rows = {
        "plain (min-max, nearest)": bare,
        "plain + bias correction": replace(bare, bias_correction=True),
        "plain + equalization": replace(bare, equalize=True),
        ALL: base,
        **dict(without_each(base)),
    }
    rows |= {name: replace(base, observer=observer) for observer, name in _OBSERVERS.items()}
    rows["all, 7-bit weights"] = replace(base, weight_limit=64)
    return rows
