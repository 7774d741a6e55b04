"""A full build record with made-up but consistent figures, for what a report does with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.config import load_target
from edgekit.config.target import Gate
from edgekit.evaluate.accuracy import summarize
from edgekit.evaluate.bench_report import BenchReport, Measured, OperatorTime
from edgekit.evaluate.compare import compare
from edgekit.evaluate.gate import judge
from edgekit.evaluate.pictures import Picture
from edgekit.evaluate.workers import Configuration
from edgekit.report.cost import Cost, roofline
from edgekit.report.record import (
    Ablation,
    Artifact,
    BuildRecord,
    CalibrationFacts,
    FloatLayers,
    KeptFloat,
    LayerNoise,
    Parity,
    RangeHistogram,
    Source,
    Tried,
)
from edgekit.report.work import OperatorCost


class Answering:
    """An engine that answers the row of its table that the picture's first byte names."""

    name, version, threads = "fake", "1", 1

    def __init__(self, table: np.ndarray) -> None:
        self.table = table.astype(np.float32)
        self.input = np.zeros((1, 2, 2, 3), np.uint8)

    def invoke(self) -> np.ndarray:
        return self.table[self.input[:, 0, 0, 0]]

    def scores(self, raw: np.ndarray) -> np.ndarray:
        return raw

    def resize(self, batch: int) -> None:
        raise AssertionError(batch)

    def close(self) -> None:
        pass


def accuracy(files: Sequence[Path], classes: int, noise: float = 1.0, labelled: bool = True) -> Any:
    """Float scores that are mostly right, and int8 scores near them."""
    rng = np.random.default_rng(5)
    n = len(files)
    truth = np.arange(n) % classes
    table = rng.standard_normal((n, classes)) * 2
    table[np.arange(n), truth] += 5
    onnx = table + rng.standard_normal(table.shape) * noise
    models = {"float": table, "onnx": onnx, "tflite": onnx + rng.standard_normal(table.shape) * 0.02}
    where = {path: i for i, path in enumerate(files)}
    pictures = [Picture(path, int(t)) for path, t in zip(files, truth, strict=True)]
    found = compare(
        {name: Answering(own) for name, own in models.items()},  # type: ignore[misc]
        pictures,
        lambda path: np.full((2, 2, 3), where[path], np.uint8),
        labelled=labelled,
    )
    engines = {"float": "onnxruntime 1.31.1", "onnx": "onnxruntime 1.31.1", "tflite": "litert 2.3.0"}
    return summarize(found, list(models), engines)


def speed() -> BenchReport:
    def row(name: str, engine: str, precision: str, ms: float, role: str = "model", batch: int = 1) -> Measured:
        times = tuple(ms * (1 + 0.02 * (i % 7)) for i in range(60))
        where = Configuration(Path(name), engine, 1, batch, precision, role, name)
        return Measured(where, "1.0", times, 40.0, 3 * ms, 25.0, 71.0)

    rows = (
        row("model.tflite", "litert", "int8", 1.46),
        row("model.onnx", "onnxruntime", "int8", 2.25),
        row("float.onnx", "onnxruntime", "fp32", 4.3, "reference"),
        row("float.tflite", "litert", "fp32", 3.6, "beside"),
        row("floor.tflite", "litert", "", 1.3, "floor"),
        Measured(Configuration(Path("model.tflite"), "tflite-runtime", name="model.tflite"), error="needs NumPy 1"),
    )
    times = (
        (rows[1].configuration, (OperatorTime("QLinearConv", 56, 1.7, 0.76), OperatorTime("Split", 16, 0.5, 0.24))),
    )
    return BenchReport(rows, times, (), {"cpu": "Some Xeon", "cores": 2})


def layers(count: int = 57) -> tuple[LayerNoise, ...]:
    rng = np.random.default_rng(1)
    found = []
    for i in range(count):
        name, op = f"stage{2 + i // 20}.{i % 8}.branch2.{i % 3}", ("Conv 1×1", "Conv depthwise")[i % 2]
        weights, own = 36 + 6 * rng.random(), 38 + 7 * rng.random()
        cumulative = 34 - 0.25 * i + rng.random()
        why = ""
        if i == 3:
            own, why = 21.4, "one outlier channel: range 124 where the median is 20"
        found.append(LayerNoise(name, op, weights, own, cumulative, why))
    return tuple(found)


def histograms(count: int = 11) -> tuple[RangeHistogram, ...]:
    rng = np.random.default_rng(2)
    found = []
    for i in range(count):
        values = np.maximum(rng.normal(0.3, 1 + i / 3, 40_000), 0)
        counts, edges = np.histogram(values, 64)
        found.append(
            RangeHistogram(
                f"stage2.{i}.relu", counts.astype(np.int64), edges[0], edges[-1], (0.0, float(edges[-1]) * 0.8), "mse"
            )
        )
    return tuple(found)


def kept_float() -> FloatLayers:
    """Two groups; the second one gains nothing."""
    conv1 = KeptFloat(
        ("conv1", "stage2.0.branch1.0"),
        {"onnx": 1.24, "tflite": 1.2},
        {"onnx": 0.6, "tflite": 0.5},
        {"onnx": 0.1, "tflite": 0.1},
        {"onnxruntime": 0.081, "litert": 0.12},
        {"onnxruntime": 1.036, "litert": 1.083},
    )
    fc = KeptFloat(("fc",), {"onnx": 0.0}, {"onnx": 0.0}, {}, {"onnxruntime": 0.001}, {"onnxruntime": 1.0004})
    both = replace(conv1, layers=(*conv1.layers, "fc"))
    tried = (Tried((), False, 93.8, 18.2, 0.4), Tried(both.layers, True, 94.3, 19.4, 0.3))
    return FloatLayers(both, (conv1, fc), 1500, 256, tried)


def cost() -> Cost:
    target = load_target("rpi4")
    operators = (
        OperatorCost("stem", "Conv", 8_128_512, 648, 24, 150_528, 301_056, True),
        OperatorCost("a", "Conv 1×1", 132_000_000, 1_220_000, 4_000, 1_100_000, 1_100_000, True),
        OperatorCost("b", "Conv depthwise", 4_159_512, 23_000, 1_600, 660_000, 660_000, True),
        OperatorCost("c", "Concat", 0, 0, 0, 480_000, 480_000, True),
    )
    peers = tuple(peer for peer in target.peers if peer.model == "shufflenet_v2_x1.0")
    return Cost(operators, "rpi4", tuple(roofline(operators, target)), peers)


def full(files: Sequence[Path], labels: Sequence[str], **changes: Any) -> BuildRecord:
    """Every section filled."""
    measured = accuracy(files, len(labels))
    values: dict[str, Any] = {
        "source": Source("shufflenet_v2.pth", "ab" * 32, "torchvision", "ShuffleNet V2 x1.0", 1_263_854, 146_000_000),
        "target": load_target("rpi4"),
        "precision": "int8",
        "labels": tuple(labels),
        "artifacts": (
            Artifact("model.onnx", 1_480_000, "cd" * 32, "onnx", "int8"),
            Artifact("model.tflite", 1_420_000, "ef" * 32, "tflite", "int8"),
            Artifact("labels.txt", 240, "01" * 32),
        ),
        "float_bytes": 5_110_000,
        "accuracy": measured,
        "data": "photos/val",
        "gate": judge(measured, Gate(max_drop_pp=6.0, min_agreement=0.5)),
        "speed": speed(),
        "layers": layers(),
        "histograms": histograms(),
        "parity": (
            Parity("float ONNX against torch", 8, 100.0, None, None, 3.1e-6),
            Parity("model.onnx against model.tflite", len(files), 99.9, 98.7, 1),
        ),
        "ops": {
            "model.onnx": {"QLinearConv": 56, "Split": 16, "Concat": 16},
            "model.tflite": {"CONV_2D": 37, "SPLIT": 16},
        },
        "cost": cost(),
        "calibration": CalibrationFacts("photos/calibration", 256, 300, "12" * 32, ("2 pictures are duplicates",)),
        "kept_float": kept_float(),
        "ablations": (Ablation("all methods", 0.1, 99.7, 24.0), Ablation("without bias correction", 0.9, 97.0, 17.5)),
        "stages": {"checkpoint": 0.8, "graph": 2.1, "calibrate": 6.4, "quantize": 14.2, "emit": 0.6, "evaluate": 9.0},
        "refused": ("the shuffle after stage 3: 58 channels in 3 groups",),
        "notes": ("softmax dropped, as the profile asks",),
        "tools": {"edgekit": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.31.1"},
        "settings": {"observer": "mse", "rounding": "gptq", "bias correction": "on"},
    }
    return BuildRecord(**{**values, **changes})


def minimal() -> BuildRecord:
    """What a float build without pictures knows."""
    return BuildRecord(
        Source("a.pth", "00" * 32, "torchvision", "ShuffleNet V2 x0.5", 350_000, 40_000_000),
        load_target("host"),
        "fp32",
    )
