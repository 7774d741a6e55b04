"""The published weights: what they are, where they come from, and what pins their bytes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from edgekit.errors import CheckpointError

_DATA = Path(__file__).with_name("catalogue.yaml")


@dataclass(frozen=True)
class Entry:
    """One published file. Figures are its source's own, None where it gives none.

    Attributes:
        name: what ``--checkpoint`` takes, such as ``torchvision/shufflenet_v2_x1_0``.
        network: version, width and groups.
        license: of the weights, as an SPDX identifier.
        source: the page that publishes them.
        url: where the file is, or None where only a person can get it.
        file: its name in the cache.
        sha256: pins the file; whole, or as many leading digits as the source gives.
        md5: pins the file where the source gives no better.
        bytes: its size, where known.
        top1, top5: percent on ImageNet's validation set.
        params_m, mflops: million parameters, million multiply-adds at 224².
        resize: short side before the crop of 224.
    """

    name: str
    network: str
    license: str
    source: str
    url: str | None = None
    file: str = ""
    sha256: str | None = None
    md5: str | None = None
    bytes: int | None = None
    top1: float | None = None
    top5: float | None = None
    params_m: float | None = None
    mflops: float | None = None
    resize: int = 256

    @property
    def downloadable(self) -> bool:
        """Whether there is an address and something to check the bytes with."""
        return self.url is not None and bool(self.sha256 or self.md5)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "downloadable": self.downloadable}


@cache
def entries() -> tuple[Entry, ...]:
    """Every entry, in the catalogue's order."""
    families = yaml.safe_load(_DATA.read_text(encoding="utf-8"))
    return tuple(
        _entry(family, name, facts, described)
        for family, described in families.items()
        for name, facts in described["entries"].items()
    )


def _entry(family: str, name: str, facts: dict[str, Any], described: dict[str, Any]) -> Entry:
    facts = dict(facts)
    pinned = facts.pop("sha256_prefix", None)
    path = facts.pop("file", None)
    return Entry(
        name=f"{family}/{name}",
        license=described["license"],
        source=described["source"],
        url=described["url"].format(file=path) if path else None,
        file=path.rpartition("/")[2] if path else "",
        sha256=facts.pop("sha256", pinned),
        **facts,
    )


def find(name: str) -> Entry | None:
    """The entry called ``name``, if there is one."""
    return next((entry for entry in entries() if entry.name == name), None)


def of_sha256(sha256: str) -> Entry | None:
    """The published file with these bytes, if it is one whose sha256 is pinned."""
    return next((entry for entry in entries() if entry.sha256 and sha256.startswith(entry.sha256)), None)


def unknown(name: str) -> CheckpointError:
    """The error for something that is neither a file nor an entry, with the nearest names."""
    near = difflib.get_close_matches(name, [*(entry.name for entry in entries()), "demo"], n=3, cutoff=0.5)
    hint = f"perhaps {' or '.join(near)}" if near else "`edgekit checkpoints list` names the published weights"
    return CheckpointError("no such file, and no such name in the catalogue", hint=hint)


def text(listed: Iterable[Entry]) -> str:
    """The catalogue as a table for a terminal."""
    rows: list[tuple[str, ...]] = [
        ("name", "network", "top-1", "top-5", "params M", "MFLOPs", "licence", "get it from")
    ]
    for entry in listed:
        figures = (entry.top1, entry.top5, entry.params_m, entry.mflops)
        where = "download" if entry.downloadable else entry.source
        shown = ("-" if figure is None else f"{figure:g}" for figure in figures)
        rows.append((entry.name, entry.network, *shown, entry.license, where))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", "`--checkpoint NAME` downloads into the cache (EDGEKIT_CACHE) and checks the hash."])
