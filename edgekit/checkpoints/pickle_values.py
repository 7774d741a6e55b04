"""What pickles of checkpoints name: arrays, dicts, and classes that are of no interest."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.checkpoints.pickle_names import Globals, Handler, Name, Opaque
from edgekit.errors import CheckpointError

_DTYPE = re.compile(r"[<>=|]?(f2|f4|f8|i1|i2|i4|i8|u1|u2|u4|u8|b1)")

# Classes that training scripts leave beside the weights. They are never imported; their values are dropped.
INERT = (
    "argparse.Namespace", "pathlib.", "datetime.", "uuid.", "numpy.dtypes.", "numpy.float", "numpy.int", "numpy.bool",
    "torch.optim.", "torch.nn.", "torchvision.models.", "torchvision.ops.",
    "torch.distributed.", "mmengine.", "mmcv.", "mmcls.", "mmpretrain.", "omegaconf.",
    "addict.", "easydict.", "yacs.", "enum.", "typing.", "decimal.Decimal", "fractions.Fraction",
)  # fmt: skip


class Budget:
    """Bytes that handlers may still copy. A real file copies each of its bytes at most twice; a bomb repeats itself."""

    def __init__(self, file_bytes: int) -> None:
        self.left = 4 * file_bytes + (1 << 20)

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise CheckpointError("refused: the file unpacks to many times its size")


class Dtype:
    """A numpy dtype under construction; only plain numbers, so ``dtype`` is None for objects and records."""

    def __init__(self, code: Any, *_: Any) -> None:
        known = isinstance(code, str) and _DTYPE.fullmatch(code)
        self.dtype: np.dtype[Any] | None = np.dtype(code) if known else None

    def build(self, state: Any) -> None:
        # (version, byte order, ...), see numpy.dtype.__reduce__.
        if self.dtype is not None and isinstance(state, tuple) and state[1] in ("<", ">", "="):
            self.dtype = self.dtype.newbyteorder(state[1])


class Array:
    """A numpy array under construction. ``array`` is None until its state has come, or where it is not numeric."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.array: NDArray[Any] | None = None

    def build(self, state: Any) -> None:
        # (version, shape, dtype, is_fortran, bytes), see numpy.ndarray.__reduce__.
        _, shape, dtype, fortran, raw = state
        self.fill(raw, dtype, shape, fortran is True)

    def fill(self, raw: Any, dtype: Any, shape: Any, fortran: bool) -> None:
        if not isinstance(dtype, Dtype) or dtype.dtype is None or not isinstance(raw, bytes | str):
            return
        self.budget.spend(len(raw))
        if isinstance(raw, str):  # Python 2 pickled bytes as a string
            raw = raw.encode("latin-1")
        if math.prod(shape) * dtype.dtype.itemsize != len(raw) or any(size < 0 for size in shape):
            raise CheckpointError(f"broken array: shape {list(shape)} does not fit {len(raw)} bytes")
        array = np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if fortran else "C")
        self.array = np.ascontiguousarray(array.astype(dtype.dtype.newbyteorder("="), copy=False)).reshape(shape)


class Values:
    """The handlers of one file, sharing one budget."""

    def __init__(self, file_bytes: int) -> None:
        self.budget = Budget(file_bytes)

    def globals(self, extra: dict[str, Handler] | None = None) -> Globals:
        plain: dict[str, Handler] = {
            "dict": self.as_dict, "list": self.as_list, "set": self.as_list, "frozenset": self.as_list,
            "tuple": self.as_tuple, "object": _opaque("object"), "int": _opaque("int"), "float": _opaque("float"),
            "str": _opaque("str"), "bool": _opaque("bool"), "slice": _opaque("slice"), "complex": _opaque("complex"),
        }  # fmt: skip
        numpy: dict[str, Handler] = {
            "multiarray._reconstruct": self.new_array,
            "multiarray.scalar": _opaque("scalar"),
            "numeric._frombuffer": self.array_from_buffer,
        }
        handlers: dict[str, Handler] = {
            "collections.OrderedDict": self.as_dict,
            "collections.Counter": self.as_dict,
            "collections.defaultdict": lambda *_: {},
            "collections.deque": lambda *_: [],
            "_codecs.encode": self.encode,
            "copyreg._reconstructor": _reconstructor,
            "copy_reg._reconstructor": _reconstructor,
            "numpy.ndarray": self.new_array,
            "numpy.dtype": Dtype,
            **{f"{module}.{name}": plain[name] for module in ("builtins", "__builtin__") for name in plain},
            **{f"numpy.{core}.{name}": numpy[name] for core in ("core", "_core") for name in numpy},
        }
        return Globals(handlers | (extra or {}), INERT)

    def new_array(self, *_: Any) -> Array:
        return Array(self.budget)

    def array_from_buffer(self, raw: Any, dtype: Any, shape: Any, order: Any = "C") -> Array:
        array = Array(self.budget)
        array.fill(raw, dtype, shape, order == "F")
        return array

    def encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        """How protocol 2 spells bytes; no other codec is looked up, because a codec is code."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise CheckpointError(f"refused: the pickle asks for codec {encoding!r}")
        self.budget.spend(len(text))
        return text.encode("latin-1")

    def as_list(self, items: Any = (), *_: Any) -> list[Any]:
        self.budget.spend(8 * len(items))
        return list(items)

    def as_tuple(self, items: Any = (), *_: Any) -> tuple[Any, ...]:
        self.budget.spend(8 * len(items))
        return tuple(items)

    def as_dict(self, items: Any = (), *_: Any) -> dict[Any, Any]:
        self.budget.spend(64 * len(items))
        pairs = items.items() if isinstance(items, dict) else items
        return {key if isinstance(key, str | int) else Opaque("key"): value for key, value in pairs}


def _opaque(name: str) -> Handler:
    return lambda *_, **__: Opaque(name)


def _reconstructor(kind: Any, *_: Any) -> Any:
    return Opaque(kind.name if isinstance(kind, Name) else "object")
