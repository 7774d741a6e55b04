"""Makes tiny.onnx and tiny.tflite: one convolution, a pool and a classifier, from one set of quantized numbers.

Needs onnx and ai-edge-litert; the files are committed so that the tests of the device side need neither. Run it as
``python tests/support/models/make_tiny.py`` after a change here.
"""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as tfl
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
SIZE, CHANNELS, CLASSES = 16, 6, 5
rng = np.random.default_rng(7)
KERNEL = rng.integers(-127, 128, (CHANNELS, 3, 3, 3), dtype=np.int8)  # OIHW
KERNEL_SCALE = rng.uniform(0.0004, 0.0008, CHANNELS).astype(np.float32)
BIAS = rng.integers(-20_000, 60_000, CHANNELS, dtype=np.int32)  # at scale 1.0 × KERNEL_SCALE
DENSE = rng.integers(-127, 128, (CLASSES, CHANNELS), dtype=np.int8)
DENSE_SCALE = rng.uniform(0.002, 0.004, CLASSES).astype(np.float32)
DENSE_BIAS = rng.integers(-2_000, 2_000, CLASSES, dtype=np.int32)
INNER_SCALE, OUT_SCALE, OUT_ZERO = np.float32(0.35), np.float32(0.11), 120
LABELS = ("red", "green", "blue", "grey", "none")


def onnx_bytes() -> bytes:
    constants = {
        "one": np.float32(1), "zero": np.uint8(0), "inner_scale": INNER_SCALE, "out_scale": OUT_SCALE,
        "out_zero": np.uint8(OUT_ZERO), "w": KERNEL, "w_scale": KERNEL_SCALE, "w_zero": np.zeros(CHANNELS, np.int8),
        "b": BIAS, "b_scale": KERNEL_SCALE, "b_zero": np.zeros(CHANNELS, np.int32),
        "d": DENSE, "d_scale": DENSE_SCALE, "d_zero": np.zeros(CLASSES, np.int8),
        "c": DENSE_BIAS, "c_scale": DENSE_SCALE * INNER_SCALE, "c_zero": np.zeros(CLASSES, np.int32),
    }  # fmt: skip

    def dequantize(x: str, scale: str, zero: str, y: str, **attributes: int) -> onnx.NodeProto:
        return helper.make_node("DequantizeLinear", [x, scale, zero], [y], **attributes)

    def quantize(x: str, scale: str, zero: str, y: str) -> onnx.NodeProto:
        return helper.make_node("QuantizeLinear", [x, scale, zero], [y])

    nodes = [
        helper.make_node("Transpose", ["image"], ["chw"], perm=[0, 3, 1, 2]),
        dequantize("chw", "one", "zero", "x"),
        dequantize("w", "w_scale", "w_zero", "wf", axis=0),
        dequantize("b", "b_scale", "b_zero", "bf", axis=0),
        helper.make_node("Conv", ["x", "wf", "bf"], ["y"], strides=[2, 2], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["y"], ["r"]),
        quantize("r", "inner_scale", "zero", "rq"),
        dequantize("rq", "inner_scale", "zero", "rd"),
        helper.make_node("GlobalAveragePool", ["rd"], ["g"]),
        quantize("g", "inner_scale", "zero", "gq"),
        dequantize("gq", "inner_scale", "zero", "gd"),
        helper.make_node("Flatten", ["gd"], ["f"], axis=1),
        dequantize("d", "d_scale", "d_zero", "df", axis=0),
        dequantize("c", "c_scale", "c_zero", "cf", axis=0),
        helper.make_node("Gemm", ["f", "df", "cf"], ["s"], transB=1),
        quantize("s", "out_scale", "out_zero", "scores"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.UINT8, ["N", CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(
        model,
        {
            "edgekit.output_scale": repr(float(OUT_SCALE)),
            "edgekit.output_zero_point": str(OUT_ZERO),
            "edgekit.labels": "\n".join(LABELS),
        },
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class Flat:
    """The few pieces of a TFLite file that the tiny network needs."""

    def __init__(self) -> None:
        self.buffers = [tfl.BufferT()]
        self.tensors: list[tfl.TensorT] = []
        self.operators: list[tfl.OperatorT] = []
        self.codes: list[tfl.OperatorCodeT] = []

    def tensor(self, name, shape, kind, scale=None, zero=None, data=None, axis=0) -> int:
        t = tfl.TensorT()
        t.name, t.shape, t.type, t.buffer = name.encode(), list(shape), kind, 0
        if data is None:
            t.shapeSignature = [-1, *shape[1:]]
        else:
            buffer = tfl.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            t.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if scale is not None:
            q = tfl.QuantizationParametersT()
            q.scale = np.atleast_1d(np.float32(scale)).tolist()
            q.zeroPoint = np.atleast_1d(zero).tolist() if zero is not None else [0] * len(q.scale)
            q.quantizedDimension = axis
            t.quantization = q
        self.tensors.append(t)
        return len(self.tensors) - 1

    def operator(self, code, version, inputs, outputs, options=None, kind=0) -> None:
        c = tfl.OperatorCodeT()
        c.builtinCode, c.deprecatedBuiltinCode, c.version = code, code, version
        o = tfl.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = len(self.codes), inputs, outputs
        o.builtinOptionsType, o.builtinOptions = kind, options
        self.codes.append(c)
        self.operators.append(o)

    def bytes(self, inputs, outputs) -> bytes:
        graph = tfl.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, inputs, outputs
        model = tfl.ModelT()
        model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, self.codes, [graph], self.buffers
        builder = flatbuffers.Builder(4096)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def tflite_bytes() -> bytes:
    f, op = Flat(), tfl.BuiltinOperator
    int8, half = tfl.TensorType.INT8, (SIZE - 3) // 2 + 1
    image = f.tensor("image", (1, SIZE, SIZE, 3), tfl.TensorType.UINT8, 1.0, 0)
    x = f.tensor("x", (1, SIZE, SIZE, 3), int8, 1.0, -128)
    w = f.tensor("w", (CHANNELS, 3, 3, 3), int8, KERNEL_SCALE, None, KERNEL.transpose(0, 2, 3, 1))
    b = f.tensor("b", (CHANNELS,), tfl.TensorType.INT32, KERNEL_SCALE, None, BIAS)
    r = f.tensor("r", (1, half, half, CHANNELS), int8, INNER_SCALE, -128)
    g = f.tensor("g", (1, CHANNELS), int8, INNER_SCALE, -128)
    axes = f.tensor("axes", (2,), tfl.TensorType.INT32, data=np.array([1, 2], np.int32))
    d = f.tensor("d", (CLASSES, CHANNELS), int8, DENSE_SCALE, None, DENSE)
    c = f.tensor("c", (CLASSES,), tfl.TensorType.INT32, DENSE_SCALE * INNER_SCALE, None, DENSE_BIAS)
    scores = f.tensor("scores", (1, CLASSES), int8, OUT_SCALE, OUT_ZERO - 128)
    f.operator(op.QUANTIZE, 1, [image], [x], tfl.QuantizeOptionsT(), tfl.BuiltinOptions.QuantizeOptions)
    conv = tfl.Conv2DOptionsT()
    conv.padding, conv.strideH, conv.strideW = tfl.Padding.VALID, 2, 2
    conv.dilationHFactor = conv.dilationWFactor = 1
    conv.fusedActivationFunction = tfl.ActivationFunctionType.RELU
    f.operator(op.CONV_2D, 3, [x, w, b], [r], conv, tfl.BuiltinOptions.Conv2DOptions)
    f.operator(op.MEAN, 2, [r, axes], [g], tfl.ReducerOptionsT(), tfl.BuiltinOptions.ReducerOptions)
    dense = tfl.FullyConnectedOptionsT()
    dense.keepNumDims = False
    f.operator(op.FULLY_CONNECTED, 5, [g, d, c], [scores], dense, tfl.BuiltinOptions.FullyConnectedOptions)
    return f.bytes([image], [scores])


if __name__ == "__main__":
    (HERE / "tiny.onnx").write_bytes(onnx_bytes())
    (HERE / "tiny.tflite").write_bytes(tflite_bytes())
