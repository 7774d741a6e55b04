"""What kind of file this is, told from its bytes, and the named tensors in it."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from edgekit.checkpoints import torch_file
from edgekit.checkpoints.pickle_machine import Machine
from edgekit.checkpoints.pickle_names import Opaque
from edgekit.checkpoints.pickle_values import Array, Values
from edgekit.checkpoints.pickled_module import is_module, state_of
from edgekit.checkpoints.storages import TensorRef
from edgekit.errors import CheckpointError

Kind = Literal["torch", "pickle", "safetensors", "tensorflow", "onnx"]

MAX_HEADER_BYTES = 4 << 20  # of a safetensors file; 300 tensors take 30 kB

# LevelDB's table format ends with this number, and TensorFlow's .index is such a table.
TABLE_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")

# Where training scripts put the state dict inside what they save; averaged weights first, they are the better ones.
CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model_state", "model", "net", "weights",
              "params", "ema")  # fmt: skip
# What wrappers put before every name: DataParallel, torch.compile, Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")

# Files that people pass by mistake, by their first bytes.
_MISTAKES = {
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "fetch it: git lfs pull"),
    b"\x89HDF": ("an HDF5 file, which no ShuffleNet here is published in", "export the network to ONNX"),
    b"<": ("a web page: the download did not give the file", "download it again"),
    b"\x1f\x8b": ("compressed with gzip", "unpack it first"),
    b"PK\x05\x06": ("an empty zip archive", "save or download it again"),
    b"\x93NUMPY": ("one numpy array", "give the whole checkpoint"),
}


@dataclass(frozen=True)
class StateDict:
    """Named tensors, and what the file says about itself beside them."""

    tensors: Mapping[str, Tensor]
    labels: tuple[str, ...] | None = None


def kind_of(data: bytes) -> Kind:
    """The kind of file that starts with these bytes (the whole file).

    Raises:
        CheckpointError: none that is known; names the usual mistakes.
    """
    if not data:
        raise CheckpointError("the file is empty", hint="save or download it again")
    for start, (what, hint) in _MISTAKES.items():
        if data.lstrip().startswith(start):
            raise CheckpointError(f"this is {what}", hint=hint)
    if data[4:8] == b"TFL3":
        raise CheckpointError("this is a TFLite file, the end of a conversion", hint="give the checkpoint it came from")
    if data.startswith(b"PK\x03\x04") or torch_file.is_tar(data) or torch_file.is_legacy(data):
        return "torch"
    if data.endswith(TABLE_MAGIC):
        return "tensorflow"
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8:
        return "safetensors"
    if data[0] == 0x80 or data[:1] in b"(c}]":
        return "pickle"
    if data[0] in (0x08, 0x12, 0x1A, 0x22, 0x3A, 0x42):  # a field number below 9 in protobuf's wire format
        return "onnx"
    raise CheckpointError(
        f"not a checkpoint: the file starts with {data[:8]!r}",
        hint="torch (.pth), Paddle (.pdparams), TensorFlow (.index), safetensors and ONNX files are read",
    )


def read_state_dict(data: bytes, kind: Literal["torch", "pickle", "safetensors"]) -> StateDict:
    """The named tensors in a file of the given kind, without wrappers' prefixes and batch counters.

    Raises:
        CheckpointError: broken, hostile, or without named tensors.
    """
    if kind == "safetensors":
        return StateDict(_plain_names(_read_safetensors(data)))
    if kind == "torch":
        saved = torch_file.read(data)
    else:
        machine = Machine(data, Values(len(data)).globals())
        saved = machine.run()
    found = _find(saved)
    if not found:
        raise CheckpointError(
            f"holds no state dict, but {_kind_name(saved)}", hint="torch.save(model.state_dict(), ...)"
        )
    return StateDict({name: _load(value) for name, value in _plain_names(found).items()}, _labels(saved))


def _find(saved: Any) -> dict[str, Any]:
    """The first dict with tensors: what was saved, or one of its entries. A pickled network counts as its state."""
    entries = [saved.get(key) for key in CONTAINERS] if isinstance(saved, dict) else []
    for candidate in (*entries, saved):
        if is_module(candidate):
            candidate = state_of(candidate)
        if isinstance(candidate, dict):
            tensors = {name: _tensor_like(value) for name, value in candidate.items() if isinstance(name, str)}
            tensors = {name: value for name, value in tensors.items() if value is not None}
            if len(tensors) > 1:
                return tensors
    return {}


def _tensor_like(value: Any) -> TensorRef | Array | None:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        value = value[1]  # Paddle pickles a tensor outside a state dict as (name, array)
    if isinstance(value, TensorRef):
        return value
    return value if isinstance(value, Array) and value.array is not None else None


def _load(value: TensorRef | Array) -> Tensor:
    if isinstance(value, TensorRef):
        return value.load()
    if value.array is None:
        raise CheckpointError("an array without numbers")
    # A copy: the array is a read-only window on the file's bytes.
    return torch.from_numpy(value.array.copy())


def _plain_names(tensors: dict[str, Any]) -> dict[str, Any]:
    for prefix in (*PREFIXES, *PREFIXES):  # DataParallel around a compiled module carries two
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}


def _labels(saved: Any) -> tuple[str, ...] | None:
    """Class names where mmpretrain (``meta``) and common training scripts leave them."""
    if not isinstance(saved, dict):
        return None
    meta = saved.get("meta")
    places = [meta, saved, meta.get("dataset_meta") if isinstance(meta, dict) else None]
    for place in places:
        for key in ("CLASSES", "classes", "class_names", "labels"):
            names = place.get(key) if isinstance(place, dict) else None
            if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
                return tuple(names)
    return None


def _kind_name(saved: Any) -> str:
    return repr(saved) if isinstance(saved, Opaque) else f"a {type(saved).__name__}"


def _read_safetensors(data: bytes) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if int.from_bytes(data[:8], "little") > MAX_HEADER_BYTES:
        raise CheckpointError("refused: a safetensors header larger than any state dict needs")
    try:
        return dict(load(data))
    except (SafetensorError, ValueError, KeyError, TypeError, struct.error, json.JSONDecodeError) as error:
        raise CheckpointError(f"broken safetensors file: {error}") from error
