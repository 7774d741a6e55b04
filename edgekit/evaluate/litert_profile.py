"""Time per XNNPACK operator of a TFLite file, from the profiler inside LiteRT's own library.

The Python interpreter of LiteRT does not reach that profiler, the C API of ``libLiteRt`` in the same wheel does
(github.com/google-ai-edge/LiteRT, ``litert/c/litert_profiler.h``). It is called here through ctypes and in a process of
its own: a release with another ABI may crash, and must not take anybody with it.

    python -m edgekit.evaluate.litert_profile MODEL THREADS RUNS     → one JSON line [[operator, node, microseconds], …]
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

# litert_common.h: kLiteRtHwAcceleratorCpu. litert_model_types.h: element types by NumPy's names.
_CPU = 1
_ELEMENTS = {"float32": 1, "uint8": 3, "int8": 9}
# litert_profiler_event.h: operators that the interpreter runs itself, and those inside a delegate (two spellings).
_OWN, _DELEGATE = 1 << 1, (1 << 2, 1 << 3)
_WARM = 3


class _Layout(ctypes.Structure):
    _fields_ = (("rank", c_uint32), ("dimensions", c_int32 * 8), ("strides", c_uint32 * 8))


class _TensorType(ctypes.Structure):
    _fields_ = (("element", c_int32), ("layout", _Layout))


class _Memory(ctypes.Structure):
    _fields_ = (("total", c_size_t), ("used", c_size_t), ("private", c_size_t))


class _Event(ctypes.Structure):
    _fields_ = (
        ("tag", c_char_p),
        ("kind", c_int),
        ("start_us", c_uint64),
        ("elapsed_us", c_uint64),
        ("before", _Memory),
        ("after", _Memory),
        ("node", c_uint64),
        ("detail", c_uint64),
        ("source", c_int),
    )


class _Library:
    """Calls functions that return a status, and raises for every status that is not 0."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise RuntimeError(f"{name} failed with status {status}")


def events(model: Path, threads: int, runs: int) -> list[tuple[str, int, int]]:
    """(operator, node, microseconds) of every operator in every run; a node shows up once a run.

    Raises:
        RuntimeError, AttributeError, OSError: this release of LiteRT cannot be asked that way.
    """
    import ai_edge_litert

    library = _Library(Path(ai_edge_litert.__file__).parent / "libLiteRt.so")
    environment, loaded, compiled, profiler = c_void_p(), c_void_p(), c_void_p(), c_void_p()
    library.call("LiteRtCreateEnvironment", 0, None, byref(environment))
    library.call("LiteRtCreateModelFromFile", environment, str(model).encode(), byref(loaded))
    library.call("LiteRtCreateCompiledModel", environment, loaded, _options(library, threads), byref(compiled))
    given, made = _element_types(model)
    inputs = (c_void_p * 1)(_buffer(library, environment, compiled, "Input", given))
    outputs = (c_void_p * 1)(_buffer(library, environment, compiled, "Output", made))

    def run(count: int) -> None:
        for _ in range(count):
            library.call("LiteRtRunCompiledModel", compiled, c_size_t(0), c_size_t(1), inputs, c_size_t(1), outputs)

    library.call("LiteRtCompiledModelGetProfiler", compiled, byref(profiler))
    run(_WARM)
    library.call("LiteRtStartProfiler", profiler)
    run(runs)
    library.call("LiteRtStopProfiler", profiler)
    number = c_int()
    library.call("LiteRtGetNumProfilerEvents", profiler, byref(number))
    found = (_Event * number.value)()
    library.call("LiteRtGetProfilerEvents", profiler, number, found)
    return [
        ((event.tag or b"?").decode("utf-8", "replace"), int(event.node), int(event.elapsed_us))
        for event in found
        if event.kind in _DELEGATE or (event.kind == _OWN and b"elegate" not in (event.tag or b""))
    ]


def _options(library: _Library, threads: int) -> c_void_p:
    """CPU, with the profiler on; the texts are those of LiteRT's option parsers (TOML)."""
    options = c_void_p()
    library.call("LiteRtCreateOptions", byref(options))
    library.call("LiteRtSetOptionsHardwareAccelerators", options, c_int(_CPU))
    c = ctypes.CDLL(None)
    c.strdup.restype, c.strdup.argtypes = c_void_p, [c_char_p]
    texts = {b"runtime_options_string": b"enable_profiling = true\n", b"xnnpack": b"num_threads = %d\n" % threads}
    for name, text in texts.items():
        opaque = c_void_p()
        # The library frees the text with the function given: C's own.
        owned, free = c_void_p(c.strdup(text)), ctypes.cast(c.free, c_void_p)
        library.call("LiteRtCreateOpaqueOptions", name, owned, free, byref(opaque))
        library.call("LiteRtAddOpaqueOptions", options, opaque)
    return options


def _buffer(library: _Library, environment: c_void_p, compiled: c_void_p, side: str, element: int) -> c_void_p:
    """A buffer for the first input or output of the first signature."""
    needs, kind, buffer = c_void_p(), _TensorType(element), c_void_p()
    first = c_size_t(0)
    library.call(f"LiteRtGetCompiledModel{side}BufferRequirements", compiled, first, first, byref(needs))
    layout = ctypes.cast(byref(kind, _TensorType.layout.offset), POINTER(_Layout))
    if side == "Input":
        library.call("LiteRtGetCompiledModelInputTensorLayout", compiled, first, first, layout)
    else:
        library.call(
            "LiteRtGetCompiledModelOutputTensorLayouts", compiled, first, c_size_t(1), layout, ctypes.c_bool(False)
        )
    library.call("LiteRtCreateManagedTensorBufferFromRequirements", environment, byref(kind), needs, byref(buffer))
    return buffer


def _element_types(model: Path) -> tuple[int, int]:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    opened = Interpreter(model_path=str(model))
    details = opened.get_input_details()[0], opened.get_output_details()[0]
    given, made = (_ELEMENTS[np.dtype(detail["dtype"]).name] for detail in details)
    return given, made


def main(arguments: list[str]) -> int:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")  # the library writes its own notes to standard output
    os.dup2(2, 1)
    model, threads, runs = arguments
    print(json.dumps(events(Path(model), int(threads), int(runs))), file=answers, flush=True)
    # Tearing the library down is not needed, and has crashed in some releases.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
