"""LiteRT (``ai-edge-litert``): the maintained TensorFlow Lite runtime, and the default on ARM."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit.engines.protocol import Engine
from edgekit.engines.tflite import InterpreterEngine
from edgekit.errors import EngineError


def load(path: Path, threads: int) -> Engine:
    """A ``.tflite`` file in LiteRT, with a batch of one.

    Raises:
        EngineError: LiteRT cannot be imported here.
        GraphError: it does not take the file.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise EngineError(
            f"litert: ai-edge-litert does not import here: {error}", hint="pip install --force-reinstall ai-edge-litert"
        ) from error

    def make(file: str, pool: int) -> Any:
        return Interpreter(model_path=file, num_threads=pool)

    return InterpreterEngine("litert", metadata.version("ai-edge-litert"), path, threads, make)
