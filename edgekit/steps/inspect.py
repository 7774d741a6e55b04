"""What any file is: a checkpoint of any family, a model of ours or anybody's, or a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgekit import config


class Description(Protocol):
    """Facts for a machine and for a person."""

    def to_dict(self) -> dict[str, Any]: ...

    def text(self) -> str: ...


@dataclass(frozen=True)
class CheckpointFacts:
    """What ``checkpoints.describe`` found."""

    facts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return dict(self.facts)

    def text(self) -> str:
        """One fact a line; long lists are cut."""
        shown = {key: value for key, value in self.facts.items() if value not in (None, [], {})}
        width = max(map(len, shown), default=0)
        return "\n".join(f"{key:<{width}}  {_short(key, value)}" for key, value in shown.items())


def describe(what: str, target: str | None = None) -> Description:
    """Reads a file, a catalogue name or a bundle and says what it is.

    Args:
        target: the name of a profile whose roofline is drawn over a model.

    Raises:
        InputError: it is none of those, or broken.
    """
    from edgekit.report.inspect import describe_model

    path = Path(what)
    profile = None if target is None else config.load_target(target)
    if (path / "manifest.json").is_file() or _is_tflite(path):
        return describe_model(path, profile)
    from edgekit import checkpoints

    if path.is_file() and _is_ours(path):
        return describe_model(path, profile)
    return CheckpointFacts(checkpoints.describe(checkpoints.load(what)))


def _is_tflite(path: Path) -> bool:
    # The file identifier of a FlatBuffer follows its root offset: schema.fbs of TensorFlow Lite, "TFL3".
    return path.is_file() and _head(path)[4:8] == b"TFL3"


def _is_ours(path: Path) -> bool:
    """Whether an ONNX file is a model that edgekit emitted: its producer's name is in the first bytes."""
    head = _head(path)
    return head[:1] == b"\x08" and b"edgekit" in head


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""


def _short(key: str, value: Any) -> str:
    if key in ("params", "macs"):
        return f"{value:,} ({value / 1e6:.2f} M)"
    if isinstance(value, list) and len(value) > 12:
        return f"{', '.join(map(str, value[:6]))}, … ({len(value)} in all)"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_short(k, v)}" for k, v in value.items())
    return str(value)
