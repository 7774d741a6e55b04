"""Layer noise on a small network whose bad layers are made on purpose, against figures computed another way."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.quantize import PLAIN, calibrate, quantize
from edgekit.report.measurements import worst
from edgekit.report.noise import measure

SIZE = 12


def lowered(outlier: float = 1.0, heavy: float = 1.0) -> ir.Model:
    """Pixels → conv → ReLU → depthwise → pointwise → ReLU → pool → classifier.

    ``outlier`` multiplies one channel of the first layer's output, ``heavy`` one weight of the pointwise
    layer, whose input shrinks as much.
    """
    rng = np.random.default_rng(0)
    w0, b0 = rng.normal(0, 0.01, (8, 3, 3, 3)), rng.normal(0, 0.1, 8)
    w0[5] *= outlier
    w1, w2, w3 = rng.normal(0, 0.4, (8, 1, 3, 3)), rng.normal(0, 0.3, (8, 8, 1, 1)), rng.normal(0, 0.5, (4, 8))
    w1[5] /= outlier
    w2[2, 3] *= heavy
    w1[3] /= heavy
    floats = {"w0": w0, "b0": b0, "w1": w1, "b1": np.zeros(8), "w2": w2, "b2": np.zeros(8), "w3": w3, "b3": np.zeros(4)}
    initializers = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in floats.items()]

    def conv(name: str, source: str, weight: str, kernel: int, group: int = 1) -> onnx.NodeProto:
        pad = [kernel // 2] * 4
        return helper.make_node(
            "Conv", [source, weight, weight.replace("w", "b")], [f"{name}.out"], name, kernel_shape=[kernel] * 2,
            pads=pad, group=group, strides=[1, 1],
        )  # fmt: skip

    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], "planes", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["pixels"], "pixels", to=TensorProto.FLOAT),
        conv("stem", "pixels", "w0", 3),
        helper.make_node("Relu", ["stem.out"], ["stem.relu"], "stem.relu"),
        conv("depthwise", "stem.relu", "w1", 3, 8),
        conv("pointwise", "depthwise.out", "w2", 1),
        helper.make_node("Relu", ["pointwise.out"], ["pointwise.relu"], "pointwise.relu"),
        helper.make_node("GlobalAveragePool", ["pointwise.relu"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flat", axis=1),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["scores"], "classifier", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 4])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model, data_prop=True))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (24, SIZE, SIZE, 3)).astype(np.uint8)


def noise_of(model: ir.Model, pictures: np.ndarray):  # type: ignore[no-untyped-def]
    ranges = calibrate(model, pictures, PLAIN, threads=1)
    return measure(model, quantize(model, ranges, PLAIN, pictures, threads=1), pictures, threads=1)


def test_every_layer_is_measured_in_order(pictures: np.ndarray) -> None:
    found = noise_of(lowered(), pictures)
    assert [(layer.name, layer.op) for layer in found.layers] == [
        ("stem", "Conv"),
        ("depthwise", "Conv depthwise"),
        ("pointwise", "Conv 1×1"),
        ("pool", "GlobalAveragePool"),
        ("classifier", "Gemm"),
    ]
    for layer in found.layers:
        assert layer.activations_db is not None and 25 < layer.activations_db < 70
        assert (layer.weights_db is None) == (layer.op == "GlobalAveragePool")
        assert layer.cumulative_db is not None and 15 < layer.cumulative_db < 60
    assert {h.name for h in found.histograms} == {"stem.relu", "depthwise.out", "pointwise.relu", "pooled", "scores"}


def test_the_last_cumulative_ratio_is_that_of_the_runtimes_own_scores(pictures: np.ndarray) -> None:
    ort = pytest.importorskip("onnxruntime")
    model = lowered()
    ranges = calibrate(model, pictures, PLAIN, threads=1)
    quantized = quantize(model, ranges, PLAIN, pictures, threads=1)
    some = pictures[np.linspace(0, 23, 16).astype(int)]

    def scores(graph: ir.Model) -> np.ndarray:
        session = ort.InferenceSession(ir.to_proto(graph).SerializeToString(), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return np.concatenate([session.run(None, {name: one[None]})[0] for one in some])

    real, raw = scores(model), scores(quantized.model)
    assert quantized.output is not None
    integer = quantized.output.dequantize(raw)
    expected = 10 * math.log10(float(np.sum(real**2)) / float(np.sum((real - integer) ** 2)))
    measured = measure(model, quantized, pictures, threads=1).layers[-1].cumulative_db
    # Some integer kernels differ from real arithmetic by one step.
    assert measured == pytest.approx(expected, abs=1.5)


def test_an_outlier_channel_is_found_and_named(pictures: np.ndarray) -> None:
    plain, bad = noise_of(lowered(), pictures), noise_of(lowered(outlier=12.0), pictures)
    found = worst(bad.layers)
    assert found is not None and found.name == "stem"
    before, after = plain.layers[0].activations_db, found.activations_db
    assert before is not None and after is not None
    # The outlier carries most of the signal's power, so that its own ratio is fine; the layer after it pays.
    assert "set by channel 5" in found.why and "median channel" in found.why
    depthwise = (plain.layers[1].cumulative_db, bad.layers[1].cumulative_db)
    assert depthwise[0] is not None and depthwise[1] is not None and depthwise[1] < depthwise[0] - 3


def test_a_heavy_weight_is_found_and_named(pictures: np.ndarray) -> None:
    plain, bad = (noise_of(lowered(heavy=heavy), pictures).layers[2] for heavy in (1.0, 60.0))
    assert plain.weights_db is not None and bad.weights_db is not None and bad.activations_db is not None
    assert bad.weights_db < plain.weights_db - 6
    assert bad.weights_db < bad.activations_db
    assert "rounding of weights: channel 2's largest is" in bad.why


def test_histograms_count_every_value(pictures: np.ndarray) -> None:
    found = {h.name: h for h in noise_of(lowered(), pictures).histograms}
    stem = found["stem.relu"]
    assert int(stem.counts.sum()) == 16 * 8 * SIZE * SIZE
    assert stem.low == 0 and stem.chosen[0] == 0
    assert stem.chosen[1] >= 0.8 * stem.high
    assert stem.observer


def test_the_float_graph_is_left_as_it_was(pictures: np.ndarray) -> None:
    model = lowered()
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    noise_of(model, pictures)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
