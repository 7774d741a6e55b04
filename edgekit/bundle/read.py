"""Reads a bundle, and believes nothing that its hashes do not confirm."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from edgekit.bundle import golden as goldens
from edgekit.bundle import manifest as manifests
from edgekit.bundle.golden import Golden
from edgekit.bundle.manifest import FileEntry, Manifest
from edgekit.errors import BundleError, StorageError, VerifyFailed
from edgekit.labels import Label, read_labels

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk: its directory, manifest and labels.

    ``sha256`` names its content, all but the report: building the same again gives the same (``manifest.identity``).
    """

    path: Path
    manifest: Manifest
    labels: tuple[Label, ...]
    sha256: str

    def file(self, name: str) -> Path:
        """The path of one of its files.

        Raises:
            BundleError: the manifest names no such file.
        """
        if not any(entry.name == name for entry in self.manifest.files):
            raise BundleError(f"{self.path}: holds no {name}", hint="build the bundle again")
        return self.path / name

    def has(self, name: str) -> bool:
        return any(entry.name == name for entry in self.manifest.files)

    def golden(self, count: int | None = None) -> Golden:
        """Its goldens, read now: they are the largest part of a bundle, and the first ``count`` come much sooner.

        Raises:
            BundleError: there are none, or they cannot be read.
        """
        path = self.file(goldens.NAME)
        return goldens.from_bytes(path.read_bytes(), str(path), count)


def read(path: Path | str, *, check: bool = True, every_file: bool = False) -> Bundle:
    """Reads a bundle directory.

    Args:
        check: compare every file with the manifest's size and sha256 (about 10 ms per 10 MB).
        every_file: wheels too, which may be 100 MB that no run opens; pip checks their hashes when it installs them.

    Raises:
        BundleError: not a bundle, a damaged or newer manifest, a file name that would leave the directory.
        VerifyFailed: a file is missing or is not what the manifest says; the message names it.
        LabelsError: the labels do not fit the model.
    """
    path = Path(path)
    where = path / manifests.NAME
    try:
        content = where.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise _not_a_bundle(path) from None
    except OSError as error:
        raise StorageError(f"{where}: cannot be read: {error.strerror}") from error
    manifest = Manifest.from_bytes(content, str(where))
    if check:
        problems = check_files(path, manifest, every_file=every_file)
        if problems:
            raise VerifyFailed("\n".join(problems), hint="copy the bundle again, or build it again")
    labels_entry = next((entry for entry in manifest.files if entry.role == "labels"), None)
    if labels_entry is None:
        raise BundleError(f"{where}: names no labels file", hint="build the bundle again")
    labels = read_labels(path / labels_entry.name, classes=manifest.classes)
    return Bundle(path, manifest, labels, manifests.identity(json.loads(content)))


def check_files(path: Path, manifest: Manifest, *, every_file: bool = True) -> tuple[str, ...]:
    """What is wrong with the files of the bundle at ``path``: a sentence each, empty if all is well."""
    problems = []
    for entry in manifest.files:
        if entry.role == "wheel" and not every_file:
            continue
        problem = _check(path / entry.name, entry)
        if problem:
            problems.append(problem)
    known = {entry.name for entry in manifest.files}
    problems += [
        f"{path / m.file}: is a model, and 'files' does not name it" for m in manifest.models if m.file not in known
    ]
    return tuple(problems)


def _check(file: Path, entry: FileEntry) -> str | None:
    if file.is_symlink():
        return f"{file}: is a link, and a bundle holds plain files"
    try:
        size = file.stat().st_size
        if size != entry.size:
            return f"{file}: is {size} bytes long, and the manifest says {entry.size}"
        digest = hashlib.sha256()
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return f"{file}: is missing"
    except OSError as error:
        return f"{file}: cannot be read: {error.strerror}"
    if digest.hexdigest() != entry.sha256:
        return f"{file}: is not the file of the manifest: its sha256 is {digest.hexdigest()}, not {entry.sha256}"
    return None


def _not_a_bundle(path: Path) -> BundleError:
    if not path.exists():
        return BundleError(f"{path}: no such bundle", hint="edgekit build --target rpi4 makes one in build/rpi4")
    if path.is_file():
        return BundleError(f"{path}: is a file, and a bundle is a directory")
    return BundleError(
        f"{path}: is not a bundle: it holds no {manifests.NAME}", hint="give the directory that build made"
    )
