"""What LiteRT and tflite-runtime share: the TensorFlow Lite ``Interpreter`` behind edgekit's engine protocol."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.engines.protocol import Images, Scores, dequantize, require_images
from edgekit.errors import EngineError, GraphError

log = logging.getLogger(__name__)

MakeInterpreter = Callable[[str, int], Any]


class InterpreterEngine:
    """A ``.tflite`` file in an ``Interpreter``; see ``edgekit.engines.protocol.Engine``.

    :attr:`input` is the interpreter's own input tensor, so that writing pixels is all there is to feeding it. The
    interpreter refuses to run while a NumPy view made by itself is alive, hence the view made here from the tensor's
    address. That holds until tensors are allocated again; :meth:`resize` therefore makes a new interpreter, and the
    old one lives as long as anybody holds its buffer.
    """

    def __init__(self, name: str, version: str, path: Path, threads: int, make: MakeInterpreter) -> None:
        self.name = name
        self.version = version
        self.threads = threads
        self._path = path
        self._make = make
        self._interpreter: Any
        self.input: Images
        self._allocate(batch=1)

    def invoke(self) -> NDArray[Any]:
        try:
            self._interpreter.invoke()
            raw: NDArray[Any] = self._interpreter.get_tensor(self._output)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"{self._path}: {self.name} failed to run it: {error}") from error
        return raw.reshape(raw.shape[0], -1)

    def scores(self, raw: NDArray[Any]) -> Scores:
        return dequantize(raw, self._scale, self._zero_point)

    def resize(self, batch: int) -> None:
        if batch != self.input.shape[0]:
            self._allocate(batch)

    def close(self) -> None:
        """Lets go of the interpreter; a buffer that somebody still holds keeps its memory."""
        self._interpreter = None
        self.input = np.empty((0, 0, 0, 3), np.uint8)

    def _allocate(self, batch: int) -> None:
        with _runtime_notes():
            self._load(batch)

    def _load(self, batch: int) -> None:
        try:
            interpreter = self._make(str(self._path), self.threads)
            details = interpreter.get_input_details()
            require_images(self._path, [(d["name"], list(d["shape"]), np.dtype(d["dtype"]).name) for d in details])
            index, shape = details[0]["index"], [batch, *(int(size) for size in details[0]["shape"][1:])]
            if int(details[0]["shape"][0]) != batch:
                interpreter.resize_tensor_input(index, shape)
            interpreter.allocate_tensors()
            output = interpreter.get_output_details()[0]
        except (RuntimeError, ValueError) as error:
            raise GraphError(
                f"{self._path}: {self.name} {self.version} cannot load it: {_first_line(error)}",
                hint="the file is damaged, or uses operators newer than this engine",
            ) from error
        scale, zero_point = output["quantization"]
        self._scale, self._zero_point = float(scale) or 1.0, int(zero_point)
        self._output = output["index"]
        self._interpreter = interpreter
        self.input = _buffer(interpreter, index)


_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def _runtime_notes() -> Iterator[None]:
    """What the runtime's C++ code writes to standard error while it loads ("INFO: Created …") goes to the log instead.

    It offers no switch for that. Standard error belongs to the whole process, hence the lock; another thread's words of
    these few milliseconds end up in the log as well.
    """
    with _one_at_a_time, contextlib.ExitStack() as stack:
        try:
            sys.stderr.flush()
            kept = os.dup(2)
            stack.callback(os.close, kept)
            notes = stack.enter_context(open(os.memfd_create("notes"), "w+b"))  # noqa: PTH123 (memory, no file)
        except (OSError, AttributeError, ValueError):  # no standard error at all, or a system without memory files
            yield
            return
        os.dup2(notes.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            notes.seek(0)
            for line in notes.read().decode("utf-8", "replace").splitlines():
                log.debug("%s", line)


def _buffer(interpreter: Any, index: int) -> Images:
    """The input tensor's memory as uint8 ``[N, H, W, 3]``; keeps the interpreter alive, but not its "in use" count."""
    view = interpreter.tensor(index)()
    memory = (ctypes.c_uint8 * view.size).from_address(view.ctypes.data)
    memory.owner = interpreter
    return np.frombuffer(memory, np.uint8).reshape(view.shape)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
