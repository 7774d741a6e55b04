import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from edgekit.errors import CalibrationError, ConfigError, GraphError
from edgekit.quantize import PLAIN, QuantizedGraph, Ranges, Scheme, calibrate, for_isa, quantize

Run = Callable[..., list[NDArray[Any]]]
Images = NDArray[np.uint8]


def _build(model: ir.Model, images: Images, **changes: Any) -> QuantizedGraph:
    scheme = Scheme.from_dict({**PLAIN.to_dict(), **changes})
    return quantize(model, calibrate(model, images, scheme, threads=1), scheme, threads=1)


def test_onnx_runtime_fuses_everything(shuffle_model: ir.Model, images: Images, tmp_path: Path) -> None:
    import onnxruntime as ort

    path = tmp_path / "qdq.onnx"
    ir.save(_build(shuffle_model, images).model, path)
    onnx.checker.check_model(path, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    ops = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert ops["QLinearConv"] == 5
    assert ops["QLinearAdd"] == ops["QLinearGlobalAveragePool"] == ops["QGemm"] == ops["QLinearConcat"] == 1
    for stray in ("QuantizeLinear", "DequantizeLinear", "Conv", "Relu", "Add", "Gemm"):
        assert ops[stray] == 0, ops


def test_integers_follow_the_contract(shuffle_model: ir.Model, images: Images) -> None:
    made = _build(shuffle_model, images)
    nodes = {value.name: node for node in made.model.graph for value in node.outputs}
    scores = made.model.graph.outputs[0]
    assert scores.name == "scores" and scores.dtype == ir.DataType.UINT8
    assert scores.producer().op_type == "QuantizeLinear"  # type: ignore[union-attr]
    assert nodes["pixels"].op_type == "DequantizeLinear"
    for name, layer in made.layers.items():
        assert np.abs(layer.weight.astype(int)).max(axis=tuple(range(1, layer.weight.ndim))).tolist() == [127] * len(
            layer.weight
        )
        bias = nodes[f"{name}.bias.dq"]
        source = made.affine[{"stem": "pixels", "narrow": "half.1", "depthwise": "narrow.relu", "wide": "depthwise",
                              "branch": "joined", "fc": "features"}[name]]  # fmt: skip
        unit = bias.inputs[1].const_value.numpy()  # type: ignore[union-attr]
        np.testing.assert_array_equal(unit, np.float32(source.scale) * layer.scale)
    tied = {made.affine[name] for name in ("stem.relu", "pool", "half.0", "half.1", "wide.relu", "joined")}
    assert len(tied) == 1
    assert made.affine["sum.relu"].zero_point == made.affine["narrow.relu"].zero_point == 0
    assert "narrow" not in made.affine  # nothing between a convolution and its ReLU


def test_scores_are_close_to_float_and_the_graph_is_left_alone(
    shuffle_model: ir.Model, images: Images, run: Run
) -> None:
    before = ir.to_proto(shuffle_model).SerializeToString(deterministic=True)
    made = _build(shuffle_model, images)
    (real,), (integers,) = run(shuffle_model, images), run(made.model, images)
    assert made.output is not None
    error = made.output.dequantize(integers) - real
    assert np.abs(error).max() < 0.05 * np.ptp(real)
    assert ir.to_proto(shuffle_model).SerializeToString(deterministic=True) == before


def test_every_other_operator_and_the_scales_that_litert_dictates(
    swish_model: ir.Model, images: Images, run: Run
) -> None:
    made = _build(swish_model, images)
    for name in ("gate", "scores"):
        assert (made.affine[name].scale, made.affine[name].zero_point) == (1 / 256, 0)
    assert made.affine["six"].high <= 6.001
    assert made.affine["six"] == made.affine["mean"]
    (real,), (integers,) = run(swish_model, images), run(made.model, images)
    assert np.abs(made.output.dequantize(integers) - real).max() < 0.06  # type: ignore[union-attr]


@pytest.mark.parametrize("kept", [["depthwise"], ["narrow.relu", "wide"], ["fc"], ["sum"], ["stem"]])
def test_kept_float_layers_have_no_integers_around_them(
    shuffle_model: ir.Model, images: Images, run: Run, kept: list[str]
) -> None:
    made = _build(shuffle_model, images, keep_float=kept)
    by_name = {node.name: node for node in made.model.graph}
    for name in made.kept_float:
        node = by_name[name]
        weights = [value for value in node.inputs[1:] if value is not None and node.op_type in ("Conv", "Gemm")]
        assert all(value.const_value is not None and value.dtype == ir.DataType.FLOAT for value in weights)
        assert name not in made.layers
    (real,), (got,) = run(shuffle_model, images), run(made.model, images)
    scores = got if made.output is None else made.output.dequantize(got)
    assert (made.output is None) == (kept == ["fc"])
    assert np.abs(scores - real).max() < 0.05 * np.ptp(real)


def test_two_float_neighbours_have_no_integers_between_them(shuffle_model: ir.Model, images: Images) -> None:
    made = _build(shuffle_model, images, keep_float=["depthwise", "wide"])
    wide = next(node for node in made.model.graph if node.name == "wide")
    assert wide.inputs[0].name == "depthwise"  # type: ignore[union-attr]


def test_unknown_kept_layer_offers_the_nearest_name(shuffle_model: ir.Model, images: Images) -> None:
    with pytest.raises(ConfigError, match=r"no layer 'depthwize'.*perhaps 'depthwise'"):
        _build(shuffle_model, images, keep_float=["depthwize"])


def test_weights_of_seven_bits_where_products_saturate(shuffle_model: ir.Model, images: Images) -> None:
    scheme = for_isa(PLAIN, machine="x86_64", vnni=False)
    assert for_isa(PLAIN, machine="x86_64", vnni=True) == for_isa(PLAIN, machine="aarch64", vnni=False) == PLAIN
    ranges = calibrate(shuffle_model, images, scheme, threads=1)
    made = quantize(shuffle_model, ranges, scheme)
    largest = max(int(np.abs(layer.weight.astype(int)).max()) for layer in made.layers.values())
    assert 2 * 255 * largest <= 32767 < 2 * 255 * (largest + 1)


def test_an_operator_outside_the_vocabulary_is_named(images: Images, new_graph: Any) -> None:
    graph = new_graph(0)
    model = graph.model(graph.op("Reshape", ["pixels", graph.constant("to", np.array([1, -1]))], "flat"), 768)
    with pytest.raises(GraphError, match="'flat': operator Reshape"):
        calibrate(model, images)


def test_ranges_of_another_network_are_refused(shuffle_model: ir.Model, swish_model: ir.Model, images: Images) -> None:
    ranges = calibrate(swish_model, images, PLAIN, threads=1)
    with pytest.raises(CalibrationError, match="nothing on"):
        quantize(shuffle_model, ranges, PLAIN)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (np.zeros((0, 16, 16, 3), np.uint8), "no calibration images"),
        (np.zeros((2, 16, 16, 3), np.float32), "must be uint8"),
    ],
)
def test_unusable_images(shuffle_model: ir.Model, pictures: Images, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        calibrate(shuffle_model, pictures)


def test_images_are_asked_for_where_they_are_needed(shuffle_model: ir.Model, images: Images) -> None:
    ranges = calibrate(shuffle_model, images, Scheme(equalize=False, observer="minmax"), threads=1)
    with pytest.raises(CalibrationError, match="need the calibration images"):
        quantize(shuffle_model, ranges, Scheme())


def test_a_dead_channel_and_a_huge_bias_still_fit_their_integers(images: Images, new_graph: Any, run: Run) -> None:
    graph = new_graph(3)
    x = graph.op("Relu", [graph.conv("pixels", "stem", (4, 3, 3, 3), stride=2, gain=0.02)], "stem.relu")
    weight = np.zeros((4, 4, 1, 1), np.float32)
    weight[0, 0] = 1e-12
    bias = np.array([1e3, -50.0, 0.0, 3.0], np.float32)
    inputs = [x, graph.constant("odd.W", weight), graph.constant("odd.B", bias)]
    x = graph.op("Conv", inputs, "odd", kernel_shape=[1, 1], strides=[1, 1], pads=[0] * 4, group=1)
    model = graph.classify(x, 4)
    for changes in ({}, {"bias_correction": True, "rounding": "second-moment", "equalize": True}):
        scheme = Scheme.from_dict({**PLAIN.to_dict(), **changes})
        made = quantize(model, calibrate(model, images, scheme, threads=1), scheme, images, threads=1)
        (real,), (integers,) = run(model, images), run(made.model, images)
        assert made.output is not None
        assert np.abs(made.output.dequantize(integers) - real).max() < 0.02 * np.abs(real).max()


def test_saved_ranges_give_the_same_bytes(shuffle_model: ir.Model, images: Images) -> None:
    scheme = Scheme()
    ranges = calibrate(shuffle_model, images, scheme, threads=1)
    again = Ranges.from_json(ranges.to_json())
    assert again == ranges

    def content(table: Ranges) -> bytes:
        buffer = io.BytesIO()
        made = quantize(shuffle_model, table, scheme, images, threads=1)
        buffer.write(ir.to_proto(made.model).SerializeToString(deterministic=True))
        return buffer.getvalue()

    assert content(ranges) == content(again)
    assert calibrate(shuffle_model, images, scheme, threads=1).to_json() == ranges.to_json()
