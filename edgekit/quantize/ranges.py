"""What calibration found: the table that turns a float graph into the same integers again, bit for bit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.errors import CalibrationError

FORMAT = "edgekit.ranges/1"


@dataclass(frozen=True, slots=True)
class TensorRange:
    """The range chosen for one activation, what was seen of it, and who chose.

    ``low``/``high`` is what the integers will cover (before it is widened to contain zero and shared with tied
    tensors); ``seen_low``/``seen_high`` the extremes over all calibration images, and
    ``histogram`` counts a sample of the values in equal bins between those two.
    """

    low: float
    high: float
    seen_low: float
    seen_high: float
    observer: str
    histogram: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Rescaling:
    """What equalization does to a layer's output channels: divides them by ``factors``, then takes off ``shifts``.

    Whoever reads those channels undoes both, so that the network stays the same in real numbers.
    """

    factors: tuple[float, ...]
    shifts: tuple[float, ...]


@dataclass(frozen=True)
class Ranges:
    """Ranges of every measured activation of one lowered graph.

    Attributes:
        tensors: value name → range, of the *equalized* graph.
        equalization: layer name → what happened to its output channels (empty: not equalized).
        images: how many images were measured.
        splits: name of a layer → the original channel that each of its output channels is a copy of.
        images_sha256: hash of their pixels in order, so that a table is not mistaken for another set's.
    """

    tensors: Mapping[str, TensorRange]
    images: int
    images_sha256: str = ""
    equalization: Mapping[str, Rescaling] = field(default_factory=dict)
    splits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Deterministic JSON text; floats keep every bit."""
        data: dict[str, Any] = {
            "format": FORMAT,
            "images": self.images,
            "images_sha256": self.images_sha256,
            "tensors": {
                name: {
                    "low": r.low,
                    "high": r.high,
                    "seen_low": r.seen_low,
                    "seen_high": r.seen_high,
                    "observer": r.observer,
                    "histogram": list(r.histogram),
                }
                for name, r in self.tensors.items()
            },
            "equalization": {
                name: {"factors": list(r.factors), "shifts": list(r.shifts)} for name, r in self.equalization.items()
            },
            "splits": {name: list(order) for name, order in self.splits.items()},
        }
        return json.dumps(data, separators=(",", ":")).replace('},"', '},\n"') + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "ranges") -> Ranges:
        """Reads :meth:`to_json`'s text.

        Raises:
            CalibrationError: not such a table; ``source`` names it in the message.
        """
        try:
            data = json.loads(text)
            if not isinstance(data, dict) or data.get("format") != FORMAT:
                raise ValueError(f"no {FORMAT!r} in it")
            tensors = {
                str(name): TensorRange(
                    float(r["low"]),
                    float(r["high"]),
                    float(r["seen_low"]),
                    float(r["seen_high"]),
                    str(r["observer"]),
                    tuple(int(count) for count in r.get("histogram", ())),
                )
                for name, r in data["tensors"].items()
            }
            equalization = {
                str(name): Rescaling(tuple(map(float, r["factors"])), tuple(map(float, r["shifts"])))
                for name, r in data["equalization"].items()
            }
            bad = [name for name, r in tensors.items() if not r.low <= r.high]
            if bad:
                raise ValueError(f"range of {bad[0]!r} is empty or not a number")
            if any(not 0 < f < math.inf for r in equalization.values() for f in r.factors):
                raise ValueError("an equalization factor is not a positive number")
            if any(
                not math.isfinite(t) or len(r.shifts) != len(r.factors) for r in equalization.values() for t in r.shifts
            ):
                raise ValueError("an equalization shift is not a number")
            splits = {str(name): tuple(map(int, order)) for name, order in data.get("splits", {}).items()}
            return cls(tensors, int(data["images"]), str(data["images_sha256"]), equalization, splits)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CalibrationError(
                f"{source}: not a table of calibration ranges: {error}",
                hint="make one with edgekit calibrate CHECKPOINT --calibration DIR -o ranges.json",
            ) from error

    @classmethod
    def load(cls, path: Path) -> Ranges:
        """Reads a file written by ``edgekit calibrate``.

        Raises:
            CalibrationError: missing, unreadable or not such a table.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CalibrationError(f"{path}: cannot read the table of ranges: {error}") from error
        return cls.from_json(text, str(path))
