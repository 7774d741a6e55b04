"""The floor of a bundle: its own convolutions alone, which no arrangement of the same network can beat."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from edgekit import bundle as bundles
from edgekit import emit
from edgekit.emit.floor import floor_graph
from edgekit.errors import UsageError


def write_floor(bundle: Path, folder: Path) -> None:
    """Writes ``floor.onnx`` and ``floor.tflite`` of a bundle's own numbers into ``folder``, for the benchmark.

    Raises:
        BundleError, VerifyFailed: not a whole bundle.
        UsageError: one model file instead of a bundle.
    """
    if bundle.is_file():
        raise UsageError(f"{bundle}: --floor needs a bundle, not one model file")
    opened = bundles.read(bundle)
    entry = opened.manifest.model("onnx")
    if entry is None or entry.precision not in ("int8", "fp32"):
        raise UsageError(f"{bundle}: --floor needs an int8 or fp32 model.onnx in the bundle")
    precision: emit.Precision = "int8" if entry.precision == "int8" else "fp32"
    graph = floor_graph(ir.load(opened.file(entry.file)))
    meta = emit.ModelMeta(name="floor", description="the convolutions alone")
    (folder / "floor.onnx").write_bytes(emit.onnx(graph, meta, precision))
    (folder / "floor.tflite").write_bytes(emit.tflite(graph, meta, precision))
