"""The quantizer's figures as the report shows them, from a really quantized network with one bad channel."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.quantize import PLAIN, calibrate, quantize
from edgekit.report.quantization import layer_noise, range_histograms

SIZE = 12


def lowered(outlier: float = 1.0) -> ir.Model:
    """Pixels → conv → ReLU → depthwise → pointwise → ReLU → pool → classifier; one stem channel is wider."""
    rng = np.random.default_rng(0)
    w0, w1 = rng.normal(0, 0.01, (8, 3, 3, 3)), rng.normal(0, 0.4, (8, 1, 3, 3))
    w0[5] *= outlier
    w1[5] /= outlier
    w2, w3 = rng.normal(0, 0.3, (8, 8, 1, 1)), rng.normal(0, 0.5, (4, 8))
    b0, none = rng.normal(0, 0.1, 8), np.zeros(8)
    floats = {"w0": w0, "b0": b0, "w1": w1, "b1": none, "w2": w2, "b2": none, "w3": w3, "b3": none[:4]}

    def conv(name: str, source: str, weight: str, kernel: int, group: int = 1) -> onnx.NodeProto:
        return helper.make_node(
            "Conv", [source, weight, weight.replace("w", "b")], [f"{name}.out"], name, kernel_shape=[kernel] * 2,
            pads=[kernel // 2] * 4, group=group, strides=[1, 1],
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
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in floats.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model, data_prop=True))


@pytest.fixture(scope="module")
def quantized():  # type: ignore[no-untyped-def]
    model = lowered(outlier=12.0)
    pictures = np.random.default_rng(1).integers(0, 256, (16, SIZE, SIZE, 3)).astype(np.uint8)
    return quantize(model, calibrate(model, pictures, PLAIN, threads=1), PLAIN, pictures, threads=1)


def test_layers_are_told_in_order_with_their_kind(quantized) -> None:  # type: ignore[no-untyped-def]
    found = {layer.name: layer for layer in layer_noise(quantized)}
    assert [(name, found[name].op) for name in found if name != "pool"] == [
        ("stem", "Conv"),
        ("depthwise", "Conv depthwise"),
        ("pointwise", "Conv 1×1"),
        ("classifier", "Gemm"),
    ]
    assert all(layer.cumulative_db is not None and layer.cumulative_db > 10 for layer in found.values())
    assert "outlier channel" in found["stem"].why


def test_histograms_hold_the_values_and_the_range_of_the_levels(quantized) -> None:  # type: ignore[no-untyped-def]
    found = {h.name: h for h in range_histograms(quantized)}
    assert {"stem.relu", "depthwise.out", "pointwise.relu", "scores"} <= set(found)
    stem = found["stem.relu"]
    assert stem.counts.dtype == np.int64 and stem.counts.sum() > 0
    assert stem.low == 0 and stem.chosen[0] == 0 and stem.chosen[1] == pytest.approx(stem.high, rel=0.02)
    assert stem.counts[: len(stem.counts) // 4].sum() > 0.5 * stem.counts.sum()  # the outlier's tail is thin
