"""tflite-runtime 2.14, the last of its line: all there is on 32-bit Raspberry Pi OS. Python ≤ 3.11 and NumPy 1 only."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.engines.protocol import Engine
from edgekit.engines.tflite import InterpreterEngine
from edgekit.errors import EngineError


def load(path: Path, threads: int) -> Engine:
    """A ``.tflite`` file in tflite-runtime, with a batch of one.

    Raises:
        EngineError: tflite-runtime cannot be imported here, or NumPy is too new for it.
        GraphError: it does not take the file.
    """
    # Its extension module was compiled against NumPy 1; under NumPy 2 it prints a long warning and fails on first use.
    if int(np.__version__.split(".")[0]) >= 2:
        raise EngineError(
            f"tflite-runtime: needs NumPy 1, and this environment has {np.__version__}",
            hint="pip install 'edgekit[tflite]' in an environment of its own, or use --engine litert",
        )
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError as error:
        raise EngineError(
            f"tflite-runtime: does not import here: {error}",
            hint="pip install 'edgekit[tflite]' (Python 3.11 or older)",
        ) from error

    def make(file: str, pool: int) -> Any:
        return Interpreter(model_path=file, num_threads=pool)

    return InterpreterEngine("tflite-runtime", metadata.version("tflite-runtime"), path, threads, make)
