"""LiteRT (``ai-edge-litert``): the maintained TensorFlow Lite runtime, and the default on ARM."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit.engines.protocol import Engine
from edgekit.engines.tflite import InterpreterEngine
from edgekit.errors import EngineError


def load(path: Path, threads: int, *, fixed_point: bool = False) -> Engine:
    """A ``.tflite`` file in LiteRT, with a batch of one.

    Args:
        fixed_point: TensorFlow Lite's own kernels instead of XNNPACK's. They scale int32 sums by an integer multiplier
            and a shift, where XNNPACK multiplies in float; builds without XNNPACK (32-bit ARM) always do. They are slow
            here, and only show how far another rounding of the same integers may be.

    Raises:
        EngineError: LiteRT cannot be imported here.
        GraphError: it does not take the file.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise EngineError(
            f"litert: ai-edge-litert does not import here: {error}", hint="pip install --force-reinstall ai-edge-litert"
        ) from error

    def make(file: str, pool: int) -> Any:
        if fixed_point:
            kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            return Interpreter(model_path=file, num_threads=pool, experimental_op_resolver_type=kernels)
        return Interpreter(model_path=file, num_threads=pool)

    return InterpreterEngine("litert", metadata.version("ai-edge-litert"), path, threads, make)
