"""A small pen for drawing ONNX graphs, and a way to run them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ir = pytest.importorskip("onnx_ir")
ort = pytest.importorskip("onnxruntime")


class Pen:
    """Draws an ONNX graph node by node; values are names, and ``shapes`` remembers each."""

    def __init__(self, channels: int = 3, size: int = 12, seed: int = 0) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.random = np.random.default_rng(seed)
        self.shapes: dict[str, tuple[int, ...]] = {"x": (1, channels, size, size)}

    def const(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, inputs: list[str], shape: tuple[int, ...], outputs: int = 1, **attributes: Any) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        outs = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(onnx.helper.make_node(op, inputs, outs, name=name, **attributes))
        for out in outs:
            self.shapes[out] = shape
        return name

    def conv(
        self, x: str, out: int, *, kernel: int = 1, stride: int = 1, group: int = 1, pad: int | None = None
    ) -> str:
        _, c, h, _w = self.shapes[x]
        pad = kernel // 2 if pad is None else pad
        weight = self.random.normal(0, (2.0 / (c // group * kernel * kernel)) ** 0.5, (out, c // group, kernel, kernel))
        size = (h + 2 * pad - kernel) // stride + 1
        return self.node(
            "Conv",
            [x, self.const(weight.astype(np.float32)), self.const(self.random.normal(0, 0.3, out).astype(np.float32))],
            (1, out, size, size),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=group,
        )

    def batch_norm(self, x: str) -> str:
        c = self.shapes[x][1]
        gamma, variance = self.random.uniform(0.5, 1.5, c), self.random.uniform(0.5, 1.5, c)
        beta, mean = self.random.normal(0, 0.3, c), self.random.normal(0, 0.3, c)
        values = [self.const(v.astype(np.float32)) for v in (gamma, beta, mean, variance)]
        return self.node("BatchNormalization", [x, *values], self.shapes[x], epsilon=1e-3)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x], self.shapes[x])

    def gather(self, x: str, indices: Any) -> str:
        n, _, h, w = self.shapes[x]
        return self.node("Gather", [x, self.const(np.asarray(indices, np.int64))], (n, len(indices), h, w), axis=1)

    def shuffle(self, x: str, groups: int) -> str:
        n, c, h, w = self.shapes[x]
        five = (n, groups, c // groups, h, w)
        view = self.node("Reshape", [x, self.const(np.array(five, np.int64))], five)
        turned = self.node("Transpose", [view], (n, c // groups, groups, h, w), perm=[0, 2, 1, 3, 4])
        return self.node("Reshape", [turned, self.const(np.array((n, c, h, w), np.int64))], (n, c, h, w))

    def split(self, x: str, at: int) -> tuple[str, str]:
        n, c, h, w = self.shapes[x]
        sizes = self.const(np.array([at, c - at], np.int64))
        name = self.node("Split", [x, sizes], (), outputs=2, axis=1)
        self.shapes[f"{name}_0"], self.shapes[f"{name}_1"] = (n, at, h, w), (n, c - at, h, w)
        return f"{name}_0", f"{name}_1"

    def concat(self, parts: list[str]) -> str:
        n, _, h, w = self.shapes[parts[0]]
        return self.node("Concat", parts, (n, sum(self.shapes[p][1] for p in parts), h, w), axis=1)

    def head(self, x: str, classes: int = 5) -> str:
        c = self.shapes[x][1]
        pooled = self.node("GlobalAveragePool", [x], (1, c, 1, 1))
        flat = self.node("Flatten", [pooled], (1, c), axis=1)
        weight = self.random.normal(0, c**-0.5, (classes, c)).astype(np.float32)
        bias = self.random.normal(0, 0.3, classes).astype(np.float32)
        return self.node("Gemm", [flat, self.const(weight), self.const(bias)], (1, classes), transB=1)

    def model(self, out: str, opset: int = 18) -> Any:
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            self.nodes,
            "drawn",
            [info("x", onnx.TensorProto.FLOAT, self.shapes["x"])],
            [info(out, onnx.TensorProto.FLOAT, self.shapes[out])],
            self.constants,
        )
        proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9)
        onnx.checker.check_model(proto)
        return ir.from_proto(proto)


def run_graph(model: Any, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.fixture
def pen() -> type[Pen]:
    return Pen


@pytest.fixture
def run() -> Any:
    return run_graph
