"""Picture folders: which files are pictures, and which class each folder means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from edgekit.errors import CalibrationError
from edgekit.labels import Label
from edgekit.preprocess import IMAGE_SUFFIXES

_WORDNET = re.compile(r"n\d{8}")
# What a build writes when nobody named the classes: "7", "class 7", "class_7".
_PLACEHOLDER = re.compile(r"(?:class[ _-]?)?\d+", re.IGNORECASE)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Picture:
    """One file and the index of the class that it shows."""

    path: Path
    label: int


@dataclass(frozen=True)
class LabelledSet:
    """Every picture below a folder of class folders, ordered by folder and file name.

    ``classes`` maps folder names to class indices. ``note`` says how they were matched where that is worth knowing.
    """

    root: Path
    pictures: tuple[Picture, ...]
    classes: dict[str, int]
    note: str | None = None


def picture_files(folder: Path) -> list[Path]:
    """Every picture below ``folder``, at any depth, ordered by path; hidden files and folders are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def evenly(files: Sequence[Picture], limit: int | None) -> tuple[Picture, ...]:
    """At most ``limit`` of them, spread evenly over the ordered list, so that every class keeps its share."""
    if limit is None or limit >= len(files):
        return tuple(files)
    if limit < 1:
        raise CalibrationError(f"a limit of {limit} pictures leaves nothing to evaluate", hint="a limit of 1 or more")
    return tuple(files[int(i)] for i in np.linspace(0, len(files) - 1, limit))


def labelled(root: Path, labels: Sequence[Label]) -> LabelledSet:
    """Reads a folder that holds one folder per class.

    A class folder is named by its label, one of the label's comma-separated names, its WordNet id (the ``n01440764``
    that opens a label line) or its index; case does not matter, and ``_`` counts as a space. Fewer folders than
    classes are fine. Names win over indices; a folder that could mean two classes is refused. Where the labels are
    mere placeholders ("0", "class 3") and there is exactly one folder per class, the sorted folder names are taken as
    the class order, which is what training on such a folder gives.

    Args:
        root: the folder.
        labels: one per class, in class order.

    Raises:
        CalibrationError: no such folder, no class folder, no picture, or folders that name no class or several.
    """
    if not root.is_dir():
        raise CalibrationError(f"{root}: no such folder", hint="a folder that holds one folder of pictures per class")
    folders = {path.name: picture_files(path) for path in _subfolders(root)}
    folders = {name: files for name, files in folders.items() if files}
    if not folders:
        raise _nothing_found(root)
    classes, note = _match(root, sorted(folders), labels)
    pictures = tuple(Picture(path, classes[name]) for name in sorted(folders) for path in folders[name])
    return LabelledSet(root, pictures, classes, note)


def _subfolders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _nothing_found(root: Path) -> CalibrationError:
    if picture_files(root):
        return CalibrationError(
            f"{root}: holds pictures, but no class folders: nothing says what they show",
            hint="put each class's pictures in a folder named by label, index or WordNet id",
        )
    kinds = " ".join(sorted(IMAGE_SUFFIXES))
    return CalibrationError(f"{root}: no pictures below it", hint=f"one folder per class, with {kinds} files")


def _match(root: Path, names: Sequence[str], labels: Sequence[Label]) -> tuple[dict[str, int], str | None]:
    by_name = _name_table(labels)
    meant: dict[str, set[int]] = {name: set(by_name.get(_key(name), ())) for name in names}
    if not all(meant.values()):
        # Not all are names, so indices are in play: a number that is both a label and an index may mean either.
        for name in names:
            if name.isascii() and name.isdigit() and int(name) < len(labels):
                meant[name].add(int(name))
    unknown = [name for name in names if not meant[name]]
    if len(unknown) == len(names) == len(labels) and all(_PLACEHOLDER.fullmatch(label.line) for label in labels):
        return {name: i for i, name in enumerate(names)}, "classes taken in the sorted order of the folder names"
    if unknown:
        raise _unknown(root, unknown, labels, by_name)
    ambiguous = [name for name in names if len(meant[name]) > 1]
    if ambiguous:
        each = "; ".join(
            f"{name!r} is class {' or '.join(str(i) for i in sorted(meant[name]))}" for name in ambiguous[:_SHOWN]
        )
        raise CalibrationError(
            f"{root}: folders that could mean several classes: {each}{_more(len(ambiguous))}",
            hint="rename them to the WordNet id or the full label line; use indices for all folders or for none",
        )
    return {name: next(iter(meant[name])) for name in names}, None


def _unknown(root: Path, unknown: list[str], labels: Sequence[Label], known: dict[str, set[int]]) -> CalibrationError:
    shown = ", ".join(repr(name) for name in unknown[:_SHOWN])
    near = get_close_matches(_key(unknown[0]), list(known), n=1, cutoff=0.7)
    if near:
        index = min(known[near[0]])
        hint = f"perhaps {unknown[0]!r} is {labels[index].line!r} (class {index})"
    elif {"train", "val", "test"} & {name.casefold() for name in unknown}:
        hint = f"these look like parts of a data set: give one of them, e.g. {root / unknown[0]}"
    elif all(_WORDNET.fullmatch(name) for name in unknown) and not any(label.id for label in labels):
        hint = "the bundle's labels hold no WordNet ids: build with --labels FILE whose lines read 'n01440764 tench'"
    else:
        hint = (
            f"name folders by label, index (0-{len(labels) - 1}) or WordNet id; the first label is {labels[0].line!r}"
        )
    return CalibrationError(
        f"{root}: folders that name no class of this model: {shown}{_more(len(unknown))}", hint=hint
    )


def _more(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""


def _key(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _name_table(labels: Sequence[Label]) -> dict[str, set[int]]:
    """Every spelling a folder may use, with the classes that it can mean; a full line always means its own class."""
    table: dict[str, set[int]] = {}
    for index, label in enumerate(labels):
        spellings = {_key(text) for text in (label.line, label.name, *label.name.split(",")) if text}
        if label.id:
            spellings.add(_key(label.id))
        for spelling in spellings - {""}:
            table.setdefault(spelling, set()).add(index)
    return table
