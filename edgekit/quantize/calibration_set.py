"""Which pictures a build calibrates on: found, drawn, hashed, decoded, and what is wrong with them.

A set is a folder (its sub-folders are taken as classes) or the YAML manifest of one::

    images:
      - {file: 000-anchor.jpg, sha256: 764a…, label: anchor}     # sha256 and label may be left out
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekit.contracts import ImageContract
from edgekit.errors import CalibrationError, ImageError
from edgekit.evaluate.pictures import picture_files
from edgekit.preprocess import Preprocessor, decode

# More unreadable files than this share mean that the folder is not what its owner thinks it is.
MOST_UNREADABLE = 0.1
# Published recipes calibrate on 100 to 512 pictures; below this a build says that they are few.
FEW = 64
# One class with this many times the pictures of another pulls the ranges its way.
UNBALANCED = 4
_LARGEST_MANIFEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture: where it is, what it shows (None where nothing says), and the hash it must have, if any."""

    path: Path
    label: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class CalibrationSet:
    """The pictures that were drawn and decoded.

    Attributes:
        pixels: uint8 RGB ``[n, H, W, 3]``, preprocessed.
        entries: the same pictures, in the same order.
        available: how many pictures the set holds in all.
        skipped: files that could not be decoded.
        duplicates: how many drawn files were left out because another has the same content.
        sha256: over the contents of the pictures used, in order: the same hash means the same calibration.
        warnings: what may make the ranges worse than they could be, one sentence each.
    """

    source: Path
    pixels: NDArray[np.uint8] = field(repr=False)
    entries: tuple[Entry, ...] = field(repr=False)
    available: int
    skipped: tuple[str, ...]
    duplicates: int
    sha256: str
    hashes: tuple[str, ...] = field(repr=False)
    warnings: tuple[str, ...]

    @property
    def classes(self) -> dict[str, int]:
        """Pictures used of each class, by name; empty where nothing says what they show."""
        return dict(sorted(Counter(entry.label for entry in self.entries if entry.label is not None).items()))


def load(
    source: Path, image: ImageContract, count: int, *, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> CalibrationSet:
    """Draws ``count`` pictures, the same for the same seed and as many of each class as there are, and decodes them.

    Raises:
        CalibrationError: no such set, no pictures, a picture that is not the one in the manifest, or more than a tenth
            of the files unreadable.
        ConfigError: the manifest is not valid YAML.
    """
    found = _entries(source)
    drawn = draw(found, count, seed)
    preprocessor = Preprocessor(image)
    entries: list[Entry] = []
    pixels: list[NDArray[np.uint8]] = []
    hashes: dict[str, Path] = {}
    skipped: list[str] = []
    duplicates = 0
    for number, entry in enumerate(drawn, start=1):
        digest = _hash(entry)
        if digest is None:
            skipped.append(f"{entry.path}: cannot be read")
        elif digest in hashes:
            duplicates += 1
        else:
            try:
                pixels.append(preprocessor.image(decode(entry.path)).copy())
                entries.append(entry)
                hashes[digest] = entry.path
            except ImageError as error:
                skipped.append(error.message)
        if progress is not None:
            progress(number, len(drawn))
    _refuse_broken(source, skipped, len(drawn))
    digest = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return CalibrationSet(
        source, np.stack(pixels), tuple(entries), len(found), tuple(skipped), duplicates, digest, tuple(hashes),
        tuple(_warnings(entries, skipped, duplicates)),
    )  # fmt: skip


def draw(entries: Sequence[Entry], count: int, seed: int) -> list[Entry]:
    """At most ``count`` entries, classes taking turns, in the order of the set."""
    random = np.random.default_rng(seed)
    classes: dict[str | None, list[int]] = {}
    for index, entry in enumerate(entries):
        classes.setdefault(entry.label, []).append(index)
    queues = [random.permutation(members).tolist() for members in classes.values()]
    picked: list[int] = []
    for turn in range(max(map(len, queues), default=0)):
        picked += [queue[turn] for queue in queues if turn < len(queue)]
        if len(picked) >= count:
            break
    return [entries[index] for index in sorted(picked[:count])]


def overlap(used: CalibrationSet, files: Iterable[Path]) -> int:
    """How many of ``files`` have the content of a picture that was calibrated on: those prove nothing."""
    known = set(used.hashes)
    return sum(_hash(Entry(path)) in known for path in files)


def _entries(source: Path) -> list[Entry]:
    if source.is_dir():
        files = picture_files(source)
        if not files:
            raise CalibrationError(f"{source}: no pictures in this folder", hint="JPEG, PNG, WebP or BMP files")
        return [Entry(file, file.parent.name if file.parent != source else None) for file in files]
    if source.suffix.lower() in (".yaml", ".yml") and source.is_file():
        return _manifest(source)
    raise CalibrationError(f"{source}: no such folder or manifest of pictures")


def _manifest(source: Path) -> list[Entry]:
    import yaml

    if source.stat().st_size > _LARGEST_MANIFEST:
        raise CalibrationError(f"{source}: larger than any manifest of pictures")
    try:
        data = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise CalibrationError(f"{source}: not a readable manifest: {error}") from error
    images = data.get("images") if isinstance(data, dict) else None
    if not isinstance(images, list) or not images:
        raise CalibrationError(f"{source}: has no list called 'images'", hint="images: [{file: a.jpg, label: cat}, …]")
    root, found = source.parent.resolve(), []
    for item in images:
        name = item.get("file") if isinstance(item, dict) else item
        path = root / str(name)
        if not isinstance(name, str) or not path.resolve().is_relative_to(root):
            raise CalibrationError(f"{source}: {name!r} is no picture in the manifest's folder")
        label, sha256 = (item.get("label"), item.get("sha256")) if isinstance(item, dict) else (None, None)
        found.append(Entry(path, None if label is None else str(label), None if sha256 is None else str(sha256)))
    return found


def _hash(entry: Entry) -> str | None:
    try:
        digest = hashlib.sha256(entry.path.read_bytes()).hexdigest()
    except FileNotFoundError:
        if entry.sha256 is not None:
            raise CalibrationError(f"{entry.path}: listed in the manifest, and not there") from None
        return None
    except OSError:
        return None
    if entry.sha256 is not None and entry.sha256 != digest:
        raise CalibrationError(
            f"{entry.path}: is not the picture that the manifest lists",
            hint="restore the file, or list its sha256 anew",
        )
    return digest


def _refuse_broken(source: Path, skipped: Sequence[str], drawn: int) -> None:
    if len(skipped) == drawn or len(skipped) > MOST_UNREADABLE * drawn:
        raise CalibrationError(
            f"{source}: {len(skipped)} of {drawn} pictures cannot be used, the first: {skipped[0]}",
            hint="remove or replace them; up to a tenth would be skipped",
        )


def _warnings(entries: Sequence[Entry], skipped: Sequence[str], duplicates: int) -> Iterable[str]:
    if skipped:
        were = "picture was" if len(skipped) == 1 else "pictures were"
        yield f"{len(skipped)} unreadable {were} skipped, the first: {skipped[0]}"
    if duplicates == 1:
        yield "1 picture has the content of another and was left out"
    elif duplicates:
        yield f"{duplicates} pictures have the content of another and were left out"
    if len(entries) < FEW:
        count = "1 picture is" if len(entries) == 1 else f"{len(entries)} pictures are"
        yield f"{count} few to calibrate on: {FEW} or more give steadier ranges"
    sizes = Counter(entry.label for entry in entries if entry.label is not None)
    if sizes and max(sizes.values()) > UNBALANCED * min(sizes.values()):
        (most, many), (least, few) = sizes.most_common()[0], sizes.most_common()[-1]
        yield f"classes are unbalanced: {many} pictures of {most}, {few} of {least}"
