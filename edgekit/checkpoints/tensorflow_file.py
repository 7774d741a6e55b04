"""Reads a TensorFlow checkpoint (``.index`` and ``.data-*``) without TensorFlow.

The index is a table in LevelDB's format (leveldb/doc/table_format.md): blocks of sorted, prefix-compressed entries,
each with a checksum, and a footer that ends in a magic number. Its values are small protobuf messages
(tensorflow/core/protobuf/tensor_bundle.proto) that say where in the data files a tensor lies. Every offset is checked
before it is followed, and every block and tensor against its checksum.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgekit.checkpoints.content import TABLE_MAGIC
from edgekit.checkpoints.crc32c import crc32c, masked
from edgekit.checkpoints.limits import MAX_FILE_BYTES
from edgekit.checkpoints.wire import varint
from edgekit.errors import CheckpointError

_FOOTER = 48
_TRAILER = 5  # compression type and checksum behind each block
MAX_ENTRIES = 100_000
# tensorflow/core/framework/types.proto
_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 2: np.dtype("<f8"), 19: np.dtype("<f2")}

Fields = dict[int, list[int | bytes]]


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies. ``checksum`` is masked, as the file has it."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool


def resolve(path: Path) -> Path:
    """The ``.index`` file that a person means by a prefix, a data file, a folder or a ``checkpoint`` state file."""
    index = path.with_name(path.name + ".index")
    if not path.exists():
        return index if index.is_file() else path
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if (path / "checkpoint").is_file():
            return resolve(path / "checkpoint")
        return found[0] if len(found) == 1 else path
    if match := re.fullmatch(r"(.+)\.data-\d{5}-of-\d{5}", path.name):
        return path.with_name(match[1] + ".index")
    if path.is_file() and path.stat().st_size < 1 << 16:
        state = re.match(rb'model_checkpoint_path: "([^"]+)"', path.read_bytes())
        if state:  # only the last part of the name: a state file does not send the reader elsewhere
            return path.with_name(Path(state[1].decode("utf-8", "replace")).name + ".index")
    return path


def read(path: Path, data: bytes, wanted: re.Pattern[str]) -> tuple[dict[str, Tensor], list[bytes]]:
    """The float tensors whose names match ``wanted``, and the bytes of the data files.

    Args:
        path: the ``.index`` file, whose data files lie beside it.
        data: its bytes.
        wanted: matched against the whole name.

    Raises:
        CheckpointError: broken in any way.
    """
    try:
        table = dict(_entries(data))
        header = _fields(table.pop(b"", b""))
        shards = _number(header, 1, 1)
        if not 1 <= shards <= 64 or _number(header, 2):
            raise CheckpointError(f"{shards} data files, byte order {_number(header, 2)}: not supported")
        entries = {key.decode(): _entry(value) for key, value in table.items() if wanted.fullmatch(key.decode())}
    except (struct.error, IndexError, ValueError, TypeError) as error:
        raise CheckpointError(f"broken TensorFlow index: {error}") from error
    files = [_shard(path, number, shards) for number in range(shards)]
    return {name: _tensor(name, entry, files) for name, entry in entries.items()}, files


# -- the table ---------------------------------------------------------------------------------------------------------


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of every entry, in order."""
    if len(data) < _FOOTER or not data.endswith(TABLE_MAGIC):
        raise CheckpointError("truncated: a TensorFlow index ends with a magic number")
    footer = data[-_FOOTER:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    count = 0
    for _, value in _block(_block_bytes(data, index)):
        for entry in _block(_block_bytes(data, _handle(value, 0)[0])):
            count += 1
            if count > MAX_ENTRIES:
                raise CheckpointError(f"refused: an index of more than {MAX_ENTRIES} entries")
            yield entry


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block_bytes(data: bytes, handle: tuple[int, int]) -> bytes:
    offset, size = handle
    if offset + size + _TRAILER > len(data):
        raise CheckpointError("truncated: a block of the index lies outside the file")
    block = data[offset : offset + size]
    compression = data[offset + size]
    (stored,) = struct.unpack_from("<I", data, offset + size + 1)
    if masked(crc32c(data[offset : offset + size + 1])) != stored:
        raise CheckpointError("damaged: the checksum of a block of the index does not match")
    if compression:
        raise CheckpointError("the index is compressed, which TensorFlow does not do")
    return block


def _block(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        own, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or at + own + size > end or shared + own > 4096:
            raise CheckpointError("broken: an entry of the index leaves its block")
        key = key[:shared] + block[at : at + own]
        at += own + size
        yield key, block[at - size : at]


# -- protobuf ----------------------------------------------------------------------------------------------------------


def _fields(data: bytes) -> Fields:
    """A message's fields by number: varints and fixed numbers as int, the rest as bytes."""
    fields: Fields = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        value: int | bytes
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 in (1, 5):
            size = 8 if tag & 7 == 1 else 4
            value, at = int.from_bytes(data[at : at + size], "little"), at + size
        elif tag & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError("an unknown kind of field")
        if at > len(data):
            raise ValueError("a field leaves its message")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _number(fields: Fields, field: int, default: int = 0) -> int:
    value = fields.get(field, [default])[-1]
    if not isinstance(value, int):
        raise ValueError("a number was expected")
    return value


def _messages(fields: Fields, field: int) -> list[Fields]:
    return [_fields(value) for value in fields.get(field, []) if isinstance(value, bytes)]


def _entry(value: bytes) -> Entry:
    fields = _fields(value)
    shapes = _messages(fields, 2)
    shape = tuple(_number(dim, 1) for dim in _messages(shapes[0], 2)) if shapes else ()
    return Entry(
        _number(fields, 1), shape, _number(fields, 3), _number(fields, 4), _number(fields, 5), _number(fields, 6),
        sliced=7 in fields,
    )  # fmt: skip


# -- the data ----------------------------------------------------------------------------------------------------------


def _shard(path: Path, number: int, shards: int) -> bytes:
    place = path.with_name(f"{path.name.removesuffix('.index')}.data-{number:05d}-of-{shards:05d}")
    try:
        if place.stat().st_size > MAX_FILE_BYTES:
            raise CheckpointError(f"{place.name} is larger than any ShuffleNet checkpoint")
        return place.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{place.name}, which holds the tensors of this index, cannot be read: {error.strerror}",
            hint="keep the .index and .data files of a checkpoint together, under their own names",
        ) from error


def _tensor(name: str, entry: Entry, files: list[bytes]) -> Tensor:
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None or entry.sliced or entry.shard >= len(files):
        raise CheckpointError(f"tensor {name!r} is of a kind that no ShuffleNet has (type {entry.dtype})")
    if math.prod(entry.shape) * dtype.itemsize != entry.size:
        raise CheckpointError(f"tensor {name!r} has {entry.size} bytes, which does not fit {list(entry.shape)}")
    raw = memoryview(files[entry.shard])[entry.offset : entry.offset + entry.size]
    if len(raw) != entry.size:
        raise CheckpointError(f"truncated: tensor {name!r} lies outside the data file")
    if masked(crc32c(raw)) != entry.checksum:
        raise CheckpointError(f"damaged: the checksum of tensor {name!r} does not match")
    array = np.frombuffer(raw, dtype).reshape(entry.shape)
    return torch.from_numpy(array.astype(np.float32))
