"""``manifest.json``: what a bundle is, as frozen values, and its one spelling on disk.

The text is a function of the values alone (fixed key order, no time stamps). :func:`identity` names a bundle by all
that it says and by the hash of every file but the report: the report tells how long things took on the machine that
built, and that never repeats, so the same build has the same identity. Each section of the manifest carries a digest of
itself under ``digests``, so that an edit by hand is found and named. That guards against mistakes, not against somebody
who recomputes the digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath, PurePosixPath
from typing import Any, TypeVar

from edgekit.contracts import ImageContract
from edgekit.errors import BundleError, VerifyFailed

SCHEMA = 1
"""Raised when an older edgekit could misread a newer manifest; new optional keys do not raise it."""

NAME = "manifest.json"
ROLES = ("model", "labels", "golden", "report", "reference", "requirements", "wheel", "stage", "other")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a bundle: its name relative to the bundle (POSIX, never leaving it), sha256 in hex, size in bytes."""

    name: str
    sha256: str
    size: int
    role: str = "other"

    @classmethod
    def of(cls, name: str, content: bytes, role: str) -> FileEntry:
        return cls(safe_name(name), hashlib.sha256(content).hexdigest(), len(content), role)

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "sha256": self.sha256, "size": self.size, "role": self.role}


@dataclass(frozen=True, slots=True)
class Quantization:
    """What a model's integers mean: real = (integer - zero_point) × scale. A float tensor has scale 1, zero point 0."""

    dtype: str  # "uint8" | "int8" | "float32"
    scale: float = 1.0
    zero_point: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "scale": self.scale, "zero_point": self.zero_point}


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model file: how to feed it and how to read its answer.

    ``input`` is always uint8 RGB pixels ``[N, H, W, 3]``; ``output`` is ``[N, classes]``; ``ops`` counts its operators.
    """

    file: str
    format: str  # "onnx" | "tflite"
    precision: str  # "int8" | "fp16" | "fp32"
    output: Quantization
    input: Quantization = Quantization("uint8")
    ops: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "format": self.format,
            "precision": self.precision,
            "input": self.input.to_dict(),
            "output": self.output.to_dict(),
            "ops": dict(sorted(self.ops.items())),
        }


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that ``manifest.json`` says.

    ``target`` is the target profile as it was used (``Target.to_dict()``); ``checkpoint`` the source's family, sha256
    and architecture; ``tools`` the version of everything that touched the build; ``golden`` how the goldens were chosen
    and what tolerance holds (see ``edgekit.bundle.golden``); ``accuracy`` and ``parity`` what the build
    measured, None where it did not.
    ``engines`` are the runtime versions that the bundle is proven with, by engine name.
    """

    files: tuple[FileEntry, ...]
    models: tuple[ModelEntry, ...]
    image: ImageContract
    precision: str
    classes: int
    target: Mapping[str, Any]
    checkpoint: Mapping[str, Any]
    tools: Mapping[str, str]
    engines: Mapping[str, str]
    golden: Mapping[str, Any]
    accuracy: Mapping[str, Any] | None = None
    parity: Mapping[str, Any] | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        # Through JSON, so that the digests are of what a reader will find: lists for tuples, text for keys.
        sections = json.loads(json.dumps(self._sections(), default=_plain, allow_nan=False))
        return {"schema": self.schema, **sections, "digests": {key: _digest(value) for key, value in sections.items()}}

    def _sections(self) -> dict[str, Any]:
        return {
            "precision": self.precision,
            "classes": self.classes,
            "image": self.image.to_dict(),
            "models": [model.to_dict() for model in self.models],
            "files": [file.to_dict() for file in self.files],
            "engines": dict(sorted(self.engines.items())),
            "golden": dict(self.golden),
            "checkpoint": dict(self.checkpoint),
            "target": dict(self.target),
            "tools": dict(sorted(self.tools.items())),
            "accuracy": None if self.accuracy is None else dict(self.accuracy),
            "parity": None if self.parity is None else dict(self.parity),
            "notes": dict(self.notes),
        }

    def about(self) -> dict[str, Any]:
        """What ``edgekit.config.fit`` asks of a manifest."""
        return {"precision": self.precision, "target": self.target, "notes": self.notes}

    def to_bytes(self) -> bytes:
        """The file's content, UTF-8."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        return text.encode() + b"\n"

    @property
    def sha256(self) -> str:
        """The bundle's name: see :func:`identity`."""
        return identity(self.to_dict())

    def model(self, format: str) -> ModelEntry | None:
        return next((model for model in self.models if model.format == format), None)

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> Manifest:
        """Reads a manifest; ``where`` names the file in errors.

        Raises:
            BundleError: not JSON, a newer schema, a key that is missing or of the wrong kind, a file name that would
                leave the bundle.
            VerifyFailed: a section that was changed after the build; the message names its keys.
        """
        try:
            data = json.loads(content)
        except (ValueError, UnicodeDecodeError) as error:
            raise BundleError(f"{where}: is not JSON: {error}", hint="build the bundle again") from None
        if not isinstance(data, dict):
            raise BundleError(f"{where}: is not a bundle's manifest", hint="build the bundle again")
        schema = _take(data, "schema", int, where)
        if schema > SCHEMA:
            raise BundleError(
                f"{where}: has schema {schema}, and this edgekit reads up to {SCHEMA}", hint="install a newer edgekit"
            )
        changed = _changed(data, where)
        if changed:
            raise VerifyFailed(
                f"{where}: changed after the build: {', '.join(changed)}",
                hint="copy the bundle again, or build it again",
            )
        return cls(
            schema=schema,
            precision=_take(data, "precision", str, where),
            classes=_take(data, "classes", int, where),
            image=_image(_take(data, "image", dict, where), where),
            models=tuple(_model(item, where) for item in _take(data, "models", list, where)),
            files=tuple(_file(item, where) for item in _take(data, "files", list, where)),
            engines=_take(data, "engines", dict, where),
            golden=_take(data, "golden", dict, where),
            checkpoint=_take(data, "checkpoint", dict, where),
            target=_take(data, "target", dict, where),
            tools=_take(data, "tools", dict, where),
            accuracy=None if data.get("accuracy") is None else _take(data, "accuracy", dict, where),
            parity=None if data.get("parity") is None else _take(data, "parity", dict, where),
            notes=_take({"notes": {}, **data}, "notes", dict, where),
        )


def identity(data: Mapping[str, Any]) -> str:
    """sha256 in hex that is the same for two builds of the same: over a valid manifest's values, reports left out.

    Args:
        data: the parsed ``manifest.json``, with whatever keys a newer edgekit put into it.
    """
    said = {key: value for key, value in data.items() if key != "digests"}
    said["files"] = [entry for entry in data["files"] if entry["role"] != "report"]
    return hashlib.sha256(_canonical(said)).hexdigest()


def safe_name(name: str) -> str:
    """``name`` unless it could leave the bundle's directory.

    Raises:
        BundleError: an absolute path, ``..``, a backslash, a drive, an empty name.
    """
    path = PurePosixPath(name)
    parts = path.parts
    unsafe = not parts or path.is_absolute() or ".." in parts or "\\" in name or ":" in name or "\0" in name
    if unsafe or str(path) != name or name == NAME:
        raise BundleError(f"a bundle cannot hold a file called {name!r}")
    return name


def _plain(value: Any) -> Any:
    """NumPy scalars as Python numbers, paths as text."""
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a manifest cannot hold a {type(value).__name__}")


def _digest(section: Any) -> dict[str, str] | str:
    """sha256 over a section's JSON with sorted keys; a mapping gets one for each key, so that a change can be named."""
    if isinstance(section, Mapping):
        return {key: _digest_text(value) for key, value in section.items()}
    return _digest_text(section)


def _digest_text(value: Any) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()[:16]


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def _changed(data: Mapping[str, Any], where: str) -> list[str]:
    """The keys, as ``image.resize``, whose value is not the one that the build wrote."""
    wanted = _take(data, "digests", dict, where)
    found = []
    for key in sorted(wanted.keys() | (data.keys() - {"schema", "digests"})):
        is_now, was = _digest(data.get(key)), wanted.get(key)
        if is_now == was:
            continue
        if isinstance(is_now, dict) and isinstance(was, dict):
            inner = sorted(name for name in is_now.keys() | was.keys() if is_now.get(name) != was.get(name))
            found += [f"{key}.{name}" for name in inner]
        else:
            found.append(key)
    return found


def _take(data: Mapping[str, Any], key: str, kind: type[T], where: str) -> T:
    if key not in data:
        raise BundleError(f"{where}: '{key}' is missing", hint="build the bundle again")
    value = data[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BundleError(f"{where}: '{key}' is not {_KINDS[kind]}", hint="build the bundle again")
    return value


_KINDS: dict[type, str] = {int: "a whole number", str: "text", dict: "a mapping", list: "a list"}


def _reader(what: str) -> Callable[[Callable[[Any, str], T]], Callable[[Any, str], T]]:
    """Turns whatever goes wrong while reading one item into one kind of error."""

    def wrap(read: Callable[[Any, str], T]) -> Callable[[Any, str], T]:
        def checked(item: Any, where: str) -> T:
            try:
                return read(item, where)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise BundleError(
                    f"{where}: {what} cannot be read: {type(error).__name__} {error}", hint="build the bundle again"
                ) from None

        return checked

    return wrap


@_reader("'image'")
def _image(item: Any, where: str) -> ImageContract:
    image = ImageContract.from_dict(item)
    written = image.to_dict()
    for key, value in written.items():
        if item.get(key) != value:
            raise BundleError(f"{where}: image.{key} is {item.get(key)!r}, and this edgekit only knows {value!r}")
    return image


@_reader("an entry of 'models'")
def _model(item: Any, where: str) -> ModelEntry:
    return ModelEntry(
        file=safe_name(item["file"]),
        format=str(item["format"]),
        precision=str(item["precision"]),
        input=_quantization(item["input"]),
        output=_quantization(item["output"]),
        ops={str(op): int(count) for op, count in item.get("ops", {}).items()},
    )


def _quantization(item: Any) -> Quantization:
    return Quantization(str(item["dtype"]), float(item["scale"]), int(item["zero_point"]))


@_reader("an entry of 'files'")
def _file(item: Any, where: str) -> FileEntry:
    return FileEntry(safe_name(item["name"]), str(item["sha256"]), int(item["size"]), str(item["role"]))
