"""Each operator on a tiny graph: TFLite against ONNX Runtime running the graph itself, in float and on integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekit import emit
from edgekit.emit.tflite_model import write
from edgekit.emit.values import Tuning
from edgekit.errors import GraphError

META = emit.ModelMeta()


def conv(net: Any, x: str) -> str:
    return net.conv(x, 6, 3)


def conv_stride_2(net: Any, x: str) -> str:
    return net.conv(x, 6, 3, 2)


def conv_without_pads(net: Any, x: str) -> str:
    return net.conv(x, 5, 3, 1, (0, 0, 0, 0), relu=False)


def conv_lopsided_pads(net: Any, x: str) -> str:
    return net.conv(x, 5, 3, 1, (2, 0, 0, 1))


def depthwise(net: Any, x: str) -> str:
    return net.depthwise(x)


def depthwise_stride_2(net: Any, x: str) -> str:
    return net.depthwise(x, 3, 2)


def grouped(net: Any, x: str) -> str:
    return net.conv(x, 12, group=4)


def pooled(net: Any, x: str) -> str:
    return net.unary("MaxPool", net.conv(x, 6), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def pooled_negative(net: Any, x: str) -> str:
    y = net.conv(x, 6, relu=False)
    return net.unary("MaxPool", y, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


def averaged(net: Any, x: str) -> str:
    return net.unary("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])


def averaged_with_pads(net: Any, x: str) -> str:
    return net.unary("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)


def split_and_concat(net: Any, x: str) -> str:
    a, b, c = net.split(net.conv(x, 12), [5, 4, 3])
    return net.concat([c, a, b])


def concat_of_many(net: Any, x: str) -> str:
    return net.concat(net.split(net.conv(x, 14), [2] * 7)[::-1])


def added(net: Any, x: str) -> str:
    y = net.add("Add", [net.conv(x, 8), net.conv(x, 8, relu=False)])
    net.channels[y] = 8
    return net.unary("Relu", y)


def clipped(net: Any, x: str) -> str:
    low, high = (net.constant(f"limit_{v:.0f}", np.array(v, np.float32)) for v in (0.0, 6.0))
    y = net.add("Clip", [net.conv(x, 6, relu=False), low, high])
    net.channels[y] = 6
    return y


def swish(net: Any, x: str) -> str:
    y = net.conv(x, 6, relu=False)
    z = net.add("Mul", [y, net.unary("Sigmoid", y)])
    net.channels[z] = 6
    return z


def hard_swish(net: Any, x: str) -> str:
    return net.unary("HardSwish", net.conv(x, 6, relu=False))


def relu_alone(net: Any, x: str) -> str:
    return net.unary("Relu", net.concat(net.split(net.conv(x, 6, relu=False), [2, 4])[::-1]))


BODIES = [
    conv, conv_stride_2, conv_without_pads, conv_lopsided_pads, depthwise, depthwise_stride_2, grouped, pooled,
    pooled_negative, averaged, averaged_with_pads, split_and_concat, concat_of_many, added, clipped, swish,
    hard_swish, relu_alone,
]  # fmt: skip
TUNINGS = [Tuning(), Tuning(half_turn=False, pair_columns=False, stride2="grow", classifier="fc", pixels="quantize")]


def build(nets: Any, body: Any, size: tuple[int, int] = (12, 10), softmax: bool = False) -> Any:
    """A picture, a first convolution, the operator under test, and a classifier."""
    net = nets.Net(np.random.default_rng(3))
    x = net.conv(net.front(), 8, 3, 2)
    net.tail(body(net, x), 5, softmax)
    return net.model((*size, 3))


@pytest.mark.parametrize("tuning", TUNINGS, ids=["default", "other"])
@pytest.mark.parametrize("body", BODIES, ids=lambda b: b.__name__)
def test_float_operator_is_exact(nets: Any, lite_run: Any, pictures: Any, body: Any, tuning: Tuning) -> None:
    model, x = build(nets, body), pictures(1, 12, 10)
    want = nets.float_run(model, {"image": x})["scores"]
    got = lite_run(write(model, META, "fp32", tuning), x)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize("tuning", TUNINGS, ids=["default", "other"])
@pytest.mark.parametrize("body", BODIES, ids=lambda b: b.__name__)
def test_integer_operator_differs_by_at_most_one(
    nets: Any, ort_run: Any, lite_run: Any, pictures: Any, body: Any, tuning: Tuning
) -> None:
    """One unit a rounding step: kernels may round a half differently, and a later layer may carry it on."""
    x = pictures(2, 12, 10)
    model = nets.quantized(build(nets, body), x)
    want = ort_run(emit.onnx(model, META, "int8"), x).astype(int)
    got = lite_run(write(model, META, "int8", tuning), x).astype(int) + 128
    assert np.abs(got - want).max() <= 1, (got, want)
    assert len(np.unique(want)) > 3, "a test on constant output proves nothing"


def test_softmax_over_the_classes(nets: Any, ort_run: Any, lite_run: Any, pictures: Any) -> None:
    x = pictures(3, 12, 10)
    model = build(nets, conv, softmax=True)
    got = lite_run(emit.tflite(model, META, "fp32"), x)
    np.testing.assert_allclose(got, nets.float_run(model, {"image": x})["scores"], atol=1e-6)
    np.testing.assert_allclose(got.sum(1), 1, atol=1e-6)
    quantized = nets.quantized(model, x)
    want = ort_run(emit.onnx(quantized, META, "int8"), x).astype(int)
    assert np.abs(lite_run(emit.tflite(quantized, META, "int8"), x).astype(int) + 128 - want).max() <= 2


@pytest.mark.parametrize("size", [(12, 12), (13, 11), (9, 14)])
def test_every_size_is_cropped_and_padded_alike(nets: Any, lite_run: Any, pictures: Any, size: tuple[int, int]) -> None:
    """Odd sizes cannot always be turned, nor paired; the numbers stay."""
    x = pictures(2, *size)
    model = build(nets, depthwise_stride_2, size)
    want = nets.float_run(model, {"image": x})["scores"]
    np.testing.assert_allclose(lite_run(emit.tflite(model, META, "fp32"), x), want, rtol=2e-5, atol=1e-4)
    quantized = nets.quantized(model, x)
    want = nets.float_run(quantized, {"image": x})["scores"].astype(int)
    assert np.abs(lite_run(emit.tflite(quantized, META, "int8"), x).astype(int) + 128 - want).max() <= 1


def test_islands_of_float_have_borders(nets: Any, ort_run: Any, lite_run: Any, pictures: Any) -> None:
    """A node without Q and DQ around it runs in float between integer neighbours."""
    x = pictures(2, 12, 10)
    model = build(nets, split_and_concat)
    node = [n.name for n in model.graph if n.op_type == "Conv"][1]
    plain = emit.tflite(nets.quantized(model, x), META, "int8")
    island = nets.quantized(model, x, frozenset({node}))
    content = emit.tflite(island, META, "int8")
    want = ort_run(emit.onnx(island, META, "int8"), x).astype(int)
    assert np.abs(lite_run(content, x).astype(int) + 128 - want).max() <= 1
    borders = {op: emit.census(content).get(op, 0) - emit.census(plain).get(op, 0) for op in ("QUANTIZE", "DEQUANTIZE")}
    assert borders == {"QUANTIZE": 1, "DEQUANTIZE": 1}


def test_a_float_input_keeps_its_own_layout(nets: Any, ort_run: Any, lite_run: Any) -> None:
    net = nets.Net(np.random.default_rng(5))
    net.channels["input"] = 3
    net.tail(net.depthwise(net.conv("input", 8, 3, 2), 3, 2), 5)
    model = net.model((3, 16, 16), 1, "input")
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 16, 16)).astype(np.float32)
    want = ort_run(emit.onnx(model, META, "fp32"), x)
    got = lite_run(emit.tflite(model, META, "fp32"), np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_an_unknown_operator_is_named(nets: Any) -> None:
    net = nets.Net()
    x = net.conv(net.front(), 8, 3, 2)
    net.tail(net.unary("Erf", x), 5)
    with pytest.raises(GraphError, match="Erf is outside the vocabulary"):
        emit.tflite(net.model((12, 10, 3)), META, "fp32")


def test_limits_that_tflite_cannot_say_are_refused(nets: Any) -> None:
    def body(net: Any, x: str) -> str:
        low, high = (net.constant(n, np.array(v, np.float32)) for n, v in (("lo", -0.25), ("hi", 0.75)))
        y = net.add("Clip", [net.conv(x, 6, relu=False), low, high])
        net.channels[y] = 6
        return y

    with pytest.raises(GraphError, match="no activation with the limits"):
        emit.tflite(build(nets, body), META, "fp32")
