"""What the doctor knows of each engine without importing anything that could crash, NumPy included.

Names, packages and files are those of ``edgekit.engines.ENGINES``, which needs NumPy; a test keeps the two in step.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Runtime:
    """One inference engine, from outside.

    Attributes:
        distribution: what pip installs.
        model: the bundle's file that it runs.
        install: the command that brings it.
        importing: Python code that fails if it cannot be used.
        wheels: instruction set → oldest glibc of its wheels, from their platform tags; absent: there is none.
        last_python: the newest Python that it has wheels for, None if it keeps up.
        numpy_1_only: compiled against NumPy 1. Under NumPy 2 it imports, and fails on first use.
    """

    name: str
    distribution: str
    model: str
    install: str
    importing: str
    wheels: dict[str, tuple[int, int]]
    last_python: tuple[int, int] | None = None
    numpy_1_only: bool = False


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            "litert",
            "ai-edge-litert",
            "model.tflite",
            "pip install ai-edge-litert",
            "from ai_edge_litert.interpreter import Interpreter",
            {"aarch64": (2, 27), "x86_64": (2, 27)},  # 2.3.0
        ),
        Runtime(
            "onnxruntime",
            "onnxruntime",
            "model.onnx",
            "pip install 'edgekit[onnxruntime]'",
            "import onnxruntime; onnxruntime.InferenceSession",
            {"aarch64": (2, 28), "x86_64": (2, 28)},  # 1.31.1
        ),
        Runtime(
            "tflite-runtime",
            "tflite-runtime",
            "model.tflite",
            "pip install 'edgekit[tflite]' (Python 3.11 or older)",
            "from tflite_runtime.interpreter import Interpreter",
            {"aarch64": (2, 34), "armv7": (2, 34), "x86_64": (2, 17)},  # 2.14.0
            last_python=(3, 11),
            numpy_1_only=True,
        ),
    )
}
