"""Labels files: one class a line, in the order of the model's outputs.

A line is a name (``tench``) or a WordNet id and a name (``n01440764 tench, Tinca tinca``). Blank lines at the end are
ignored; one in the middle is an error, because it would shift every class after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import LabelsError

# WordNet 3.0's noun offsets, as ImageNet writes them.
_WORDNET = re.compile(r"(n\d{8})(?:[\s,;:]+(.*))?")


@dataclass(frozen=True, slots=True)
class Label:
    """One class: its WordNet id (None where the file gives none) and the name to show."""

    id: str | None
    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def line(self) -> str:
        """The line of a labels file that reads back as this label."""
        if self.id is None:
            return self.name
        return self.id if self.name == self.id else f"{self.id} {self.name}"


def read_labels(path: Path | str, *, classes: int | None = None) -> tuple[Label, ...]:
    """The labels in a file, in its order.

    Args:
        classes: how many the model has; None does not check.

    Raises:
        LabelsError: the file is missing, empty, not text, has a blank line in the middle, or another number of labels.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise LabelsError(f"{path}: no such labels file") from None
    except OSError as error:
        raise LabelsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise LabelsError(f"{path}:{line}: is not UTF-8 text", hint="a labels file holds one name a line") from error
    return parse_labels(text, where=str(path), classes=classes)


def parse_labels(text: str, *, where: str = "labels", classes: int | None = None) -> tuple[Label, ...]:
    """As :func:`read_labels`, for text that is in hand; ``where`` names it in errors."""
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise LabelsError(f"{where}: holds no labels", hint="one name a line, in the order of the model's outputs")
    for number, line in enumerate(lines, 1):
        if not line:
            raise LabelsError(f"{where}:{number}: an empty line would shift every class after it", hint="remove it")
        if "\0" in line:
            raise LabelsError(f"{where}:{number}: is not text", hint="a labels file holds one name a line")
    if classes is not None and len(lines) != classes:
        raise LabelsError(
            f"{where}: holds {len(lines)} labels, and the model has {classes} classes",
            hint="one line per class, in the order of the model's outputs",
        )
    return tuple(_label(line) for line in lines)


def format_labels(labels: Sequence[Label]) -> str:
    """The text of a labels file, ending in a newline."""
    return "".join(f"{label.line}\n" for label in labels)


def numbered_labels(classes: int) -> tuple[Label, ...]:
    """Labels for a model that came with none: ``class 0``, ``class 1``, …"""
    return tuple(Label(None, f"class {index}") for index in range(classes))


def _label(line: str) -> Label:
    match = _WORDNET.fullmatch(line)
    if match is None:
        return Label(None, line)
    return Label(match[1], match[2] or match[1])
