"""Hand-built graphs and both runtimes, for the emitters' tests."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

Run = Callable[[bytes, np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def nets() -> ModuleType:
    """The module nets.py beside this file."""
    name = "emit_nets"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("nets.py"))
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def ort_run() -> Run:
    """(ONNX bytes, input) → output, in plain ONNX Runtime."""
    import onnxruntime as ort

    def run(content: bytes, feed: np.ndarray) -> np.ndarray:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return np.asarray(session.run(None, {session.get_inputs()[0].name: feed})[0])

    return run


@pytest.fixture(scope="session")
def lite_run() -> Run:
    """(TFLite bytes, input of any batch) → output, in plain LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    def run(content: bytes, feed: np.ndarray) -> np.ndarray:
        interpreter = Interpreter(model_content=content, num_threads=1)
        index = interpreter.get_input_details()[0]["index"]
        if feed.shape[0] != 1:
            interpreter.resize_tensor_input(index, list(feed.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(index, feed)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    return run


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Any]:
    """(batch, height, width) → uint8 pictures with structure: noise over a gradient."""

    def make(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        slope = np.linspace(0, 200, height)[None, :, None, None] + np.linspace(0, 40, 3)
        return np.clip(slope + rng.integers(0, 56, (batch, height, width, 3)), 0, 255).astype(np.uint8)

    return make
