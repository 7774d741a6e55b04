"""Residual Adds whose scales make every runtime round alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgekit.quantize import Scheme, adds, calibrate, points, quantize
from edgekit.quantize.affine import Affine
from edgekit.quantize.network import read

Images = NDArray[np.uint8]
Grid = NDArray[np.int64]


def _onnx_runtime(a: Affine, b: Affine, y: Affine) -> Grid:
    """QLinearAdd for all 256 × 256 inputs: float32, ties to even."""
    q = np.arange(256, dtype=np.float32)
    one, other = ((q - np.float32(x.zero_point)) * (np.float32(x.scale) / np.float32(y.scale)) for x in (a, b))
    return np.clip(np.rint(one[:, None] + other[None, :]).astype(np.int64) + y.zero_point, 0, 255)


def _xnnpack(a: Affine, b: Affine, y: Affine) -> Grid:
    """Its vadd: multipliers of which the larger lies in [2**20, 2**21), a shift, ties upward."""
    ratios = [float(np.float32(x.scale) / np.float32(y.scale)) for x in (a, b)]
    shift = 20 - int(np.floor(np.log2(max(ratios))))
    one, other = (int(np.rint(ratio * 2**shift)) for ratio in ratios)
    q = np.arange(256, dtype=np.int64)
    total = ((q - a.zero_point) * one)[:, None] + ((q - b.zero_point) * other)[None, :] + (1 << (shift - 1))
    return np.clip((total >> shift) + y.zero_point, 0, 255)


def _aligned(first: float, second: float, scale: float, zero_points: tuple[int, int, int]) -> list[Affine]:
    ratios = adds.nearest_ratios(np.array([first, second]))
    scales = [float(np.float32(ratio * scale)) for ratio in ratios]
    return [Affine(s, z) for s, z in zip((*scales, scale), zero_points, strict=True)]


@given(
    st.floats(0.02, 1.99),
    st.floats(0.02, 1.99),
    st.floats(1e-3, 10).map(lambda value: float(np.float32(value))),
    st.tuples(*[st.integers(0, 255)] * 3),
)
def test_every_pair_of_integers_rounds_alike(
    first: float, second: float, scale: float, zeros: tuple[int, int, int]
) -> None:
    a, b, y = _aligned(first, second, scale, zeros)
    np.testing.assert_array_equal(_onnx_runtime(a, b, y), _xnnpack(a, b, y))
    assert abs(a.scale / scale / first - 1) < 0.13  # 0.02 · 511 = 10 units: half of one is 5 %


def test_scales_as_they_come_do_not() -> None:
    # Half of the other's step: every second sum is a tie.
    a, b, y = Affine(0.5, 0), Affine(1.0, 0), Affine(1.0, 0)
    assert (_onnx_runtime(a, b, y) != _xnnpack(a, b, y)).any()
    a, b, y = _aligned(0.5, 1.0, 1.0, (0, 0, 0))
    assert abs(a.scale - 0.5) < 2e-3
    np.testing.assert_array_equal(_onnx_runtime(a, b, y), _xnnpack(a, b, y))


def test_usual_ratios_hardly_move() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        ratios = random.uniform(0.2, 1.5, 2)
        assert np.abs(np.array(adds.nearest_ratios(ratios)) / ratios - 1).max() < 1e-3


def test_a_chain_of_adds_is_settled_from_its_end(new_graph: Callable[[int], Any], images: Images) -> None:
    g = new_graph(5)
    x = g.op("Relu", [g.conv("pixels", "stem", (8, 3, 3, 3), stride=2, gain=0.02)], "stem.relu")
    for unit in range(3):
        y = g.conv(x, f"branch.{unit}", (8, 8, 1, 1))
        x = g.op("Relu", [g.op("Add", [x, y], f"sum.{unit}")], f"sum.{unit}.relu")
    model = g.classify(x, 8)
    made = quantize(model, calibrate(model, images, Scheme(), threads=1), Scheme(), images, threads=1)
    scale = {name: affine.scale for name, affine in made.affine.items()}
    inputs = "stem.relu"
    for unit in range(3):
        ratios = [scale[name] / scale[f"sum.{unit}.relu"] for name in (inputs, f"branch.{unit}")]
        # One odd denominator for both, so that no sum is near a tie.
        near = [d for d in range(201, 512, 2) if all(abs(r * d - round(r * d)) < 1e-4 for r in ratios)]
        assert near
        inputs = f"sum.{unit}.relu"


def test_both_runtimes_give_the_same_integers(shuffle_model: ir.Model, images: Images) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    ort = pytest.importorskip("onnxruntime")
    from edgekit import emit
    from edgekit.contracts import ImageContract

    made = quantize(shuffle_model, calibrate(shuffle_model, images, Scheme(), threads=1), Scheme(), images, threads=1)
    assert "sum.relu" in made.affine
    meta = emit.ModelMeta(name="adds", labels=tuple("abcde"), image=ImageContract(width=16, height=16))
    session = ort.InferenceSession(emit.onnx(made.model, meta, "int8"), providers=["CPUExecutionProvider"])
    lite = interpreter.Interpreter(model_content=emit.tflite(made.model, meta, "int8"))
    lite.allocate_tensors()
    for image in images:
        lite.set_tensor(lite.get_input_details()[0]["index"], image[None])
        lite.invoke()
        found = lite.get_tensor(lite.get_output_details()[0]["index"]).astype(int) + 128
        np.testing.assert_array_equal(session.run(None, {"image": image[None]})[0], found)


def test_dictated_scales_and_float_adds_stay(shuffle_model: ir.Model) -> None:
    network = read(shuffle_model)
    where = points.find(network, ("sum",))
    plain = {group: Affine(0.1 + 0.01 * index, 3) for index, group in enumerate(where.members)}
    assert adds.align(network, where, plain) == plain
