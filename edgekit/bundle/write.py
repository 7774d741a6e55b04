"""Writes a bundle, whole or not at all (``edgekit.bundle.atomic`` says how)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekit.bundle import atomic
from edgekit.bundle import golden as goldens
from edgekit.bundle import manifest as manifests
from edgekit.bundle.golden import Golden
from edgekit.bundle.manifest import FileEntry, Manifest, ModelEntry
from edgekit.bundle.read import Bundle, read
from edgekit.contracts import ImageContract
from edgekit.engines import ENGINES
from edgekit.errors import BundleError, StorageError
from edgekit.labels import Label, format_labels

_LABELS = "labels.txt"


@dataclass(frozen=True)
class Parts:
    """What a build hands over. Everything is in memory, so that nothing but the disk can fail once writing starts.

    ``models`` pairs each entry with its file's bytes; ``golden.expected`` must hold each engine's raw answers;
    ``golden_notes`` says how they were chosen and which tolerance holds (``golden.notes``); ``extra`` are further
    files by name, each with its role: ``{"report.html": ("report", b"…"), "float.onnx": ("reference", b"…")}``.
    The rest is explained at :class:`edgekit.bundle.Manifest`.
    """

    models: tuple[tuple[ModelEntry, bytes], ...]
    labels: tuple[Label, ...]
    golden: Golden
    image: ImageContract
    precision: str
    target: Mapping[str, Any]
    checkpoint: Mapping[str, Any]
    tools: Mapping[str, str]
    engines: Mapping[str, str]
    golden_notes: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    accuracy: Mapping[str, Any] | None = None
    parity: Mapping[str, Any] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


def write(output: Path | str, parts: Parts) -> Bundle:
    """Writes a bundle to ``output``, replacing the bundle that is there, and reads it back.

    Raises:
        BundleError: ``output`` holds something that is not a bundle, or two files have one name.
        StorageError: the disk is full or cannot be written; what was there is untouched.
    """
    output = Path(output)
    content: dict[str, tuple[str, bytes]] = {model.file: ("model", data) for model, data in parts.models}
    content[_LABELS] = ("labels", format_labels(parts.labels).encode())
    content[goldens.NAME] = ("golden", goldens.to_bytes(parts.golden))
    twice = content.keys() & parts.extra.keys()
    if twice:
        raise BundleError(f"{output}: two files of the bundle are called {', '.join(sorted(twice))}")
    content.update(parts.extra)
    manifest = Manifest(
        files=tuple(FileEntry.of(name, data, role) for name, (role, data) in sorted(content.items())),
        models=tuple(model for model, _ in parts.models),
        image=parts.image,
        precision=parts.precision,
        classes=len(parts.labels),
        target=parts.target,
        checkpoint=parts.checkpoint,
        tools=parts.tools,
        engines=parts.engines,
        golden={"count": len(parts.golden), **parts.golden_notes},
        accuracy=parts.accuracy,
        parity=parts.parity,
        notes=parts.notes,
    )
    return _publish(output, manifest, {name: data for name, (_, data) in content.items()})


def proven_engines(target: Mapping[str, Any], ran: Mapping[str, str]) -> dict[str, str]:
    """The manifest's ``engines``: per engine of the target, the version it pins or else the one that ran.

    Args:
        target: ``Target.to_dict()``.
        ran: engine name → version, of those that answered the goldens here.
    """
    engine = target.get("engine") or {}
    pinned = {name: version for name, version in (engine.get("versions") or {}).items() if name in ENGINES and version}
    wanted = [engine.get("preferred"), *(engine.get("fallbacks") or ())]
    return {name: pinned.get(name) or ran[name] for name in wanted if name and (name in pinned or name in ran)}


def add(
    path: Path | str,
    extra: Mapping[str, tuple[str, bytes]],
    *,
    without_roles: Sequence[str] = (),
    golden: Golden | None = None,
    engines: Mapping[str, str] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Bundle:
    """Puts further files into a bundle, or replaces some, and publishes the result as a new whole bundle.

    Args:
        extra: name → (role, content), as in :class:`Parts`.
        without_roles: files of these roles do not stay (unless ``extra`` has them).
        golden: goldens with more recorded answers, in place of those that are there.
        engines, notes: merged into the manifest's.

    Raises:
        VerifyFailed, BundleError: the bundle is damaged.
        StorageError: as for :func:`write`.
    """
    old = read(path, every_file=True)
    content = {
        entry.name: (entry.role, old.file(entry.name).read_bytes())
        for entry in old.manifest.files
        if entry.role not in without_roles
    }
    content.update(extra)
    if golden is not None:
        content[goldens.NAME] = ("golden", goldens.to_bytes(golden))
    manifest = replace(
        old.manifest,
        files=tuple(FileEntry.of(name, data, role) for name, (role, data) in sorted(content.items())),
        engines={**old.manifest.engines, **(engines or {})},
        notes={**old.manifest.notes, **(notes or {})},
    )
    return _publish(Path(path), manifest, {name: data for name, (_, data) in content.items()})


def check_output(output: Path | str) -> None:
    """Whether :func:`write` may put a bundle at ``output``: call it before the long work.

    Raises:
        BundleError: a file is there, or a directory with something in it that no bundle put there.
        StorageError: the directory above cannot be written.
    """
    output = Path(output)
    if output.is_dir():
        strangers = _strangers(output)
        if strangers:
            named = ", ".join(strangers[:3]) + (" …" if len(strangers) > 3 else "")
            raise BundleError(
                f"{output}: holds {named}, which would be lost", hint="move that away, or choose another --output"
            )
    elif output.exists() or output.is_symlink():
        raise BundleError(f"{output}: is a file, and a bundle is a directory", hint="choose another --output")
    above = output.parent
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise StorageError(f"{output}: {above} cannot be written", hint="choose another --output")


def _strangers(output: Path) -> list[str]:
    """Files in an existing output directory that replacing it would lose and that its manifest does not name."""
    there = sorted(file.relative_to(output).as_posix() for file in output.rglob("*") if not file.is_dir())
    if not there:
        return []
    try:
        named = {entry.name for entry in read(output, check=False).manifest.files}
    except Exception:  # a directory that is no bundle at all: all of it is somebody else's
        return there
    return [name for name in there if name not in named and name != manifests.NAME]


def _publish(output: Path, manifest: Manifest, content: Mapping[str, bytes]) -> Bundle:
    check_output(output)
    atomic.publish(output, {**content, manifests.NAME: manifest.to_bytes()})
    return read(output)
