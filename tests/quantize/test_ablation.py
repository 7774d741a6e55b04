"""Ablations: each variant has one method less, and none is the same as another."""

from __future__ import annotations

from dataclasses import fields, replace

from edgekit.quantize import PLAIN, Scheme
from edgekit.quantize.ablation import ALL, full_table, plain, without_each

_BASE = Scheme(weight_limit=64, keep_float=("fc",))


def differing(one: Scheme, other: Scheme) -> set[str]:
    return {field.name for field in fields(Scheme) if getattr(one, field.name) != getattr(other, field.name)}


def test_each_variant_lacks_one_method() -> None:
    *single, (last, bare) = without_each(_BASE)
    assert [differing(_BASE, scheme) for _, scheme in single] == [
        {"equalize"}, {"split_channels"}, {"bias_correction"}, {"rounding"}, {"scale_search"}, {"observer"},
    ]  # fmt: skip
    assert last.startswith("plain") and bare == replace(PLAIN, weight_limit=64, keep_float=("fc",))


def test_what_is_off_already_has_no_row() -> None:
    assert [name for name, _ in without_each(replace(_BASE, equalize=False, rounding="nearest"))] == [
        "all but channel splitting", "all but bias correction", "all, min-max ranges", "plain (min-max, nearest)",
    ]  # fmt: skip
    assert list(without_each(plain(_BASE))) == []


def test_the_documented_table_has_every_row_once() -> None:
    rows = full_table(Scheme())
    assert rows[ALL] == Scheme() and rows["all, 7-bit weights"].weight_limit == 64
    assert len(set(rows.values())) == len(rows) == 15
