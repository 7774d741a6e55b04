"""Reads what ``torch.save`` wrote in any of its three formats, without torch's unpickler and without running code.

- zip (torch ≥ 1.6): ``*/data.pkl`` and one stored record a storage, ``*/data/<key>``;
- legacy (torch ≥ 0.1.10): four pickles, the list of storage keys, then each storage's count and bytes;
- tar (before that): members ``pickle``, ``tensors`` and ``storages``.

The formats are those that ``torch.serialization`` reads. Tensors come out lazy (``TensorRef``), so that only those of
the state dict are ever copied, not an optimizer's.
"""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import torch

from edgekit.checkpoints.pickle_machine import Machine
from edgekit.checkpoints.pickle_names import Handler, Name, Opaque
from edgekit.checkpoints.pickle_values import Values
from edgekit.checkpoints.storages import Storage, TensorRef, View
from edgekit.errors import CheckpointError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
MAX_ZIP_ENTRIES = 20_000
_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class Reader:
    """Shared by the three formats: the names a torch pickle may use, and the storages it refers to."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.values = Values(len(data))
        self.storages: dict[str, Storage] = {}
        handlers: dict[str, Handler] = {
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
            "torch._tensor._rebuild_from_type_v2": lambda function, _, arguments, *__: function.handler(*arguments),
            "torch._utils._rebuild_qtensor": _refuse_quantized,
            "torch.Size": self.values.as_tuple,
            "torch.device": lambda *_: Opaque("device"),
            "torch.serialization._get_layout": lambda *_: Opaque("layout"),
            **{f"torch.{name}": _never for name in _STORAGES},
            **{f"torch.cuda.{name}": _never for name in _STORAGES},
            **{f"torch.{name.replace('Storage', 'Tensor')}": _never for name in _STORAGES},
            **{f"torch.{dtype}": _never for dtype in ("float32", "float64", "float16", "bfloat16", "int64", "int32")},
        }
        self.names = self.values.globals(handlers)

    def tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorRef:
        if not isinstance(storage, Storage):
            raise CheckpointError("broken tensor: no storage")
        return TensorRef(storage, offset, tuple(shape), tuple(strides), self.values.budget)

    def storage(self, identity: Any) -> Any:
        """What the id ``("storage", type, key, location, count[, view])`` stands for; the device is ignored."""
        kind, *rest = identity
        if kind == "module":  # an old way to store a class with its source text
            return rest[0]
        if kind != "storage" or len(rest) < 4 or not isinstance(rest[0], Name):
            raise CheckpointError(f"broken pickle: persistent id {kind!r}")
        dtype, key, count = _dtype(rest[0]), str(rest[1]), int(rest[3])
        known = self.storages.setdefault(key, Storage(dtype, count))
        if known.dtype != dtype or known.count != count or count < 0:
            raise CheckpointError(f"storage {key!r} is described in two ways")
        if len(rest) > 4 and rest[4] is not None:
            _, first, _ = rest[4]
            return View(known, int(first))
        return known


def read(data: bytes) -> Any:
    """The saved object: plain containers, ``TensorRef`` for tensors, ``Array`` for numpy's, ``Opaque`` for the rest.

    Raises:
        CheckpointError: not a torch file, truncated, or it asks for something that a checkpoint has no need of.
    """
    try:
        if data.startswith(b"PK"):
            return _read_zip(data)
        if is_tar(data):
            return _read_tar(data)
        return _read_legacy(data)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"truncated or broken archive: {error}") from error
    except (struct.error, ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        raise CheckpointError(f"broken torch file: {error}") from error


def is_tar(data: bytes) -> bool:
    """Whether the bytes are a POSIX tar archive: the header's magic is at byte 257."""
    return data[257:262] == b"ustar"


def is_legacy(data: bytes) -> bool:
    """Whether the bytes open with the pickled magic number of torch's second format."""
    return data[2:14] == b"\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little")


def _read_zip(data: bytes) -> Any:
    if data.count(b"PK\x01\x02") > MAX_ZIP_ENTRIES:
        raise CheckpointError("refused: a zip archive of too many entries")
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = {entry.filename: entry for entry in archive.infolist()}
    total = sum(entry.file_size for entry in entries.values())
    if total > 4 * len(data) + (1 << 20):
        raise CheckpointError(f"refused: {len(data)} bytes that unpack to {total}")
    pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError("a zip archive, but not one that torch.save wrote")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in entries:
        raise CheckpointError(
            "a TorchScript archive, whose network is code", hint="save the state dict, or export the network to ONNX"
        )
    if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
        raise CheckpointError("saved on a big-endian machine", hint="load and save it again on a little-endian one")
    reader = Reader(data)
    saved = Machine(archive.read(pickles[0]), reader.names, persistent=reader.storage).run()
    for key, storage in reader.storages.items():
        entry = entries.get(f"{root}data/{key}")
        if entry is not None and entry.file_size == storage.bytes:
            storage.read = _zip_record(archive, entry)
    return saved


def _zip_record(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read_record() -> bytes:
        try:
            return archive.read(entry)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            OSError,
            ValueError,
        ) as error:
            raise CheckpointError(f"broken archive: {error}") from error

    return read_record


def _read_legacy(data: bytes) -> Any:
    reader = Reader(data)
    machine = Machine(data, reader.names)
    if machine.run() != LEGACY_MAGIC or machine.run() != LEGACY_VERSION:
        raise CheckpointError("not a file that torch.save wrote")
    system = machine.run()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise CheckpointError("saved on a big-endian machine", hint="load and save it again on a little-endian one")
    machine = Machine(data, reader.names, machine.position, reader.storage)
    saved = machine.run()
    for key in machine.run():
        storage = reader.storages[str(key)]
        (count,) = struct.unpack("<q", machine.take(8))
        if count != storage.count:
            raise CheckpointError(f"storage {key!r} has {count} elements, expected {storage.count}")
        _point(storage, machine)
    return saved


def _point(storage: Storage, machine: Machine) -> None:
    """Points a storage at its bytes, which are next in the machine's data."""
    start, view = machine.position, memoryview(machine.data)
    machine.take(storage.bytes)
    end = machine.position
    storage.read = lambda: view[start:end]


def _read_tar(data: bytes) -> Any:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        members = {}
        for name in ("storages", "tensors", "pickle"):
            member = archive.extractfile(name)
            if member is None:
                raise CheckpointError(f"a tar archive without {name!r}, so not one that torch wrote")
            members[name] = member.read()
    reader = Reader(data)
    objects: dict[str, Any] = {}
    _tar_storages(members["storages"], reader, objects)
    _tar_tensors(members["tensors"], reader, objects)

    def resolve(identity: Any) -> Any:
        return identity[0] if isinstance(identity, tuple) else objects[str(identity)]

    return Machine(members["pickle"], reader.names, persistent=resolve).run()


def _tar_storages(data: bytes, reader: Reader, objects: dict[str, Any]) -> None:
    machine = Machine(data, reader.names)
    for _ in range(machine.run()):
        key, _location, kind = machine.run()
        (count,) = struct.unpack("<q", machine.take(8))
        storage = Storage(_dtype(kind), count)
        _point(storage, machine)
        objects[str(key)] = storage
    for target, root, first, _count in machine.run():
        objects[str(target)] = View(objects[str(root)], int(first))


def _tar_tensors(data: bytes, reader: Reader, objects: dict[str, Any]) -> None:
    machine = Machine(data, reader.names)
    for _ in range(machine.run()):
        key, storage, _kind = machine.run()
        (rank, _) = struct.unpack("<ii", machine.take(8))
        numbers = struct.unpack(f"<{2 * rank + 1}q", machine.take(8 * (2 * rank + 1)))
        objects[str(key)] = reader.tensor(objects[str(storage)], numbers[-1], numbers[:rank], numbers[rank : 2 * rank])


def _dtype(kind: Name) -> torch.dtype:
    name = kind.name.rpartition(".")[2]
    if name not in _STORAGES:
        raise CheckpointError(f"a storage of type {kind.name!r}")
    return _STORAGES[name]


def _never(*_: Any, **__: Any) -> Any:
    raise CheckpointError("broken pickle: a storage type is called")


def _refuse_quantized(*_: Any) -> Any:
    raise CheckpointError(
        "holds tensors that torch has already quantized", hint="give the float checkpoint it was made from"
    )
