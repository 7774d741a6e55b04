"""The same file on an x86 processor with and without VNNI: ±64 weights give equal answers there, ±127 do not."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import emit
from edgekit.emit import ModelMeta
from edgekit.quantize import PLAIN, calibrate, for_isa, quantize

pytestmark = [
    pytest.mark.emulated,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="runs this Python under another x86 processor"),
    pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-user is not installed"),
]

_CHILD = """
import sys, numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
images = np.load(sys.argv[2])
np.save(sys.argv[3], np.concatenate([session.run(None, {"image": image[None]})[0] for image in images]))
"""


@pytest.mark.parametrize(("vnni", "equal"), [(False, True), (True, False)])
def test_a_processor_without_vnni_answers_alike_only_if_it_was_the_target(
    new_graph: Callable[..., Any], run: Callable[..., Any], tmp_path: Path, vnni: bool, equal: bool
) -> None:
    graph = new_graph()
    x = graph.op("Relu", [graph.conv("pixels", "stem", (16, 3, 3, 3), stride=2, gain=0.02)], "stem.relu")
    x = graph.op("Relu", [graph.conv(x, "wide", (16, 16, 1, 1))], "wide.relu")
    for constant in graph.constants:
        if constant.name.endswith(".W"):  # all of one sign and size: what two products add up to is the most there is
            weights = np.full(tuple(constant.dims), 0.01, np.float32)
            constant.raw_data = weights.tobytes()
    model = graph.classify(x, 16)
    images = np.random.default_rng(0).integers(150, 256, (8, 16, 16, 3), dtype=np.uint8)
    scheme = for_isa(PLAIN, machine="x86_64", vnni=vnni)
    made = quantize(model, calibrate(model, images, scheme, threads=1), scheme, threads=1)
    (tmp_path / "model.onnx").write_bytes(emit.onnx(made.model, ModelMeta(name="net"), "int8"))
    np.save(tmp_path / "images.npy", images)
    words = [sys.executable, "-c", _CHILD, tmp_path / "model.onnx", tmp_path / "images.npy"]
    subprocess.run(
        ["qemu-x86_64", "-cpu", "Haswell", *map(str, words), str(tmp_path / "out.npy")], check=True, capture_output=True
    )
    answered = np.load(tmp_path / "out.npy").astype(int)
    # As written, without fusing anything into integer kernels, the graph is computed in float.
    (meant,) = run(made.model, images, optimize=False)
    assert (np.abs(answered - meant.astype(int)).max() <= 1) == equal, (answered, meant)
