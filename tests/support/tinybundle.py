"""A whole bundle around the tiny models, made in a moment and without the build side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekit import bundle, engines
from edgekit.bundle import Expected, Golden, ModelEntry, Parts, Quantization
from edgekit.bundle.golden import isa_family
from edgekit.contracts import ImageContract
from edgekit.labels import Label

MODELS = Path(__file__).parent / "models"
ONNX, TFLITE = MODELS / "tiny.onnx", MODELS / "tiny.tflite"
LABELS = tuple(Label(None, name) for name in ("red", "green", "blue", "grey", "none"))
TARGET = {
    "name": "host",
    "engine": {"preferred": "litert", "fallbacks": ["onnxruntime", "tflite-runtime"]},
    "threads": 1,
    "budget": {"latency_ms": None, "memory_mb": None},
}


def images(count: int = 4) -> np.ndarray:
    """uint8 [count, 16, 16, 3], always the same."""
    return np.random.default_rng(3).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def answers(engine: str, pixels: np.ndarray) -> np.ndarray:
    """The engine's raw answers to the tiny model."""
    opened = engines.open(TFLITE if "lite" in engine else ONNX, engine, threads=1)
    opened.resize(len(pixels))
    opened.input[:] = pixels
    return opened.invoke()


def parts(*names: str, **changes: Any) -> Parts:
    """The parts of the tiny bundle, with recorded answers of the named engines."""
    pixels = images()
    values: dict[str, Any] = {
        "models": (
            (ModelEntry("model.onnx", "onnx", "int8", Quantization("uint8", 0.11, 120)), ONNX.read_bytes()),
            (ModelEntry("model.tflite", "tflite", "int8", Quantization("int8", 0.11, -8)), TFLITE.read_bytes()),
        ),
        "labels": LABELS,
        "golden": Golden(
            pixels,
            np.array([0, 1, 2, -1], np.int32),
            tuple(Expected(name, isa_family(), answers(name, pixels)) for name in names),
        ),
        "image": ImageContract(16, 16, 16, "antialias"),
        "precision": "int8",
        "target": TARGET,
        "checkpoint": {"family": "tiny", "sha256": "0" * 64, "architecture": None},
        "tools": {"edgekit": "0"},
        "engines": {name: version for name, version in engines.installed().items() if name in names},
        "extra": {"report.html": ("report", b"<p>tiny</p>")},
    }
    return Parts(**{**values, **changes})


def write(path: Path, *names: str, **changes: Any) -> bundle.Bundle:
    return bundle.write(path, parts(*names, **changes))
