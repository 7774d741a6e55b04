"""Tensors of a torch file before they are loaded: a storage somewhere in the file, and views of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgekit.checkpoints.pickle_values import Budget
from edgekit.errors import CheckpointError


@dataclass
class Storage:
    """Raw elements somewhere in the file; ``read`` fetches ``count`` × ``dtype`` bytes when they are needed."""

    dtype: torch.dtype
    count: int
    read: Callable[[], bytes | memoryview] | None = None
    first: int = 0  # a view into another storage starts here
    flat: Tensor | None = None

    @property
    def bytes(self) -> int:
        return self.count * self.dtype.itemsize

    def load(self, budget: Budget) -> Tensor:
        """The elements as a one-dimensional tensor, read once."""
        if self.flat is None:
            if self.read is None:
                raise CheckpointError("truncated: a tensor's storage is not in the file")
            budget.spend(self.bytes)
            raw = self.read()
            if len(raw) != self.bytes:
                raise CheckpointError(f"truncated: a storage has {len(raw)} of {self.bytes} bytes")
            self.flat = torch.frombuffer(bytearray(raw), dtype=self.dtype)
        return self.flat


@dataclass(frozen=True)
class TensorRef:
    """A strided view of a storage, checked when it is loaded."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    budget: Budget

    def load(self) -> Tensor:
        """The tensor, contiguous, on the CPU."""
        storage, shape, strides = self.storage, self.shape, self.strides
        offset = self.offset + storage.first
        numbers = (offset, *shape, *strides)
        if len(shape) != len(strides) or not all(isinstance(n, int) and n >= 0 for n in numbers):
            raise CheckpointError(f"broken tensor: shape {shape}, strides {strides}, offset {offset}")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        # More elements than the storage has would be an expanded tensor: small in the file, huge in memory.
        if math.prod(shape) and (last >= storage.count or math.prod(shape) > storage.count):
            raise CheckpointError(f"broken tensor: shape {list(shape)} reaches behind its {storage.count} elements")
        if not math.prod(shape):
            return torch.empty(shape, dtype=storage.dtype)
        self.budget.spend(math.prod(shape) * storage.dtype.itemsize)
        view = torch.as_strided(storage.load(self.budget), shape, strides, offset)
        return view.clone(memory_format=torch.contiguous_format)


class View(Storage):
    """A part of another storage, which is read when the other one has its bytes."""

    def __init__(self, whole: Storage, first: int) -> None:
        super().__init__(whole.dtype, whole.count, first=first)
        self.whole = whole

    def load(self, budget: Budget) -> Tensor:
        return self.whole.load(budget)
