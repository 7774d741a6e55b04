"""Small lowered graphs that hold every operator of the vocabulary, and pictures to calibrate them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 16


class Graph:
    """Writes a lowered graph node by node; every method returns the name of the value it makes."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.op("Transpose", ["image"], "planes", perm=[0, 3, 1, 2])
        self.op("Cast", ["planes"], "pixels", to=TensorProto.FLOAT)

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def op(
        self,
        kind: str,
        inputs: list[str],
        value: str,
        outputs: list[str] | None = None,
        node: str = "",
        **attributes: Any,
    ) -> str:
        made = outputs or [value]
        self.nodes.append(helper.make_node(kind, inputs, made, name=node or value, **attributes))
        return made[0]

    def conv(
        self, x: str, name: str, shape: tuple[int, int, int, int], *, stride: int = 1, group: int = 1, gain: float = 1.0
    ) -> str:
        fan = int(np.prod(shape[1:]))
        weight = (self.random.normal(size=shape) * gain / np.sqrt(fan)).astype(np.float32)
        bias = self.random.normal(size=shape[0]).astype(np.float32) * np.float32(0.1 * gain)
        pad = shape[2] // 2
        inputs = [x, self.constant(f"{name}.W", weight), self.constant(f"{name}.B", bias)]
        return self.op(
            "Conv", inputs, name, strides=[stride] * 2, pads=[pad] * 4, group=group, kernel_shape=list(shape[2:])
        )

    def split(self, x: str, name: str, sizes: list[int]) -> list[str]:
        outputs = [f"{name}.{i}" for i in range(len(sizes))]
        self.op("Split", [x, self.constant(f"{name}.sizes", np.array(sizes))], name, outputs, axis=1)
        return outputs

    def classify(self, x: str, channels: int, classes: int = 5) -> ir.Model:
        x = self.op("GlobalAveragePool", [x], "pooled")
        x = self.op("Flatten", [x], "features", axis=1)
        weight = self.random.normal(size=(classes, channels)).astype(np.float32)
        bias = self.random.normal(size=classes).astype(np.float32)
        self.op("Gemm", [x, self.constant("fc.W", weight), self.constant("fc.B", bias)], "scores", node="fc", transB=1)
        return self.model("scores", classes)

    def model(self, scores: str, classes: int) -> ir.Model:
        graph = helper.make_graph(
            self.nodes,
            "lowered",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIZE, SIZE, 3])],
            [helper.make_tensor_value_info(scores, TensorProto.FLOAT, [1, classes])],
            self.constants,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        made = onnx.shape_inference.infer_shapes(made)
        onnx.checker.check_model(made)
        return ir.from_proto(made)


def shuffle_unit() -> ir.Model:
    """Stem, max pool, a split-concat unit with a depthwise convolution, a residual Add with ReLU, and a classifier."""
    g = Graph()
    x = g.op("Relu", [g.conv("pixels", "stem", (8, 3, 3, 3), stride=2, gain=0.02)], "stem.relu")
    x = g.op("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    kept, read = g.split(x, "half", [4, 4])
    y = g.op("Relu", [g.conv(read, "narrow", (6, 4, 1, 1))], "narrow.relu")
    y = g.conv(y, "depthwise", (6, 1, 3, 3), group=6)
    y = g.op("Relu", [g.conv(y, "wide", (4, 6, 1, 1))], "wide.relu")
    x = g.op("Concat", [kept, y], "joined", axis=1)
    y = g.conv(x, "branch", (8, 4, 1, 1), group=2)
    x = g.op("Relu", [g.op("Add", [x, y], "sum")], "sum.relu")
    return g.classify(x, 8)


def swish_unit() -> ir.Model:
    """The other activations: swish, HardSwish, Clip, an AveragePool, and a Softmax."""
    g = Graph(1)
    x = g.conv("pixels", "stem", (8, 3, 3, 3), stride=2, gain=0.02)
    x = g.op("Mul", [x, g.op("Sigmoid", [x], "gate")], "swish")
    x = g.op("HardSwish", [g.conv(x, "second", (8, 8, 1, 1))], "hard")
    limits = [g.constant("low", np.array(0, np.float32)), g.constant("high", np.array(6, np.float32))]
    x = g.op("Clip", [g.conv(x, "third", (8, 8, 1, 1)), *limits], "six")
    x = g.op("AveragePool", [x], "mean", kernel_shape=[2, 2], strides=[2, 2])
    x = g.op("GlobalAveragePool", [x], "pooled")
    x = g.op("Flatten", [x], "features", axis=1)
    weight = g.random.normal(size=(5, 8)).astype(np.float32)
    x = g.op("Gemm", [x, g.constant("fc.W", weight), g.constant("fc.B", np.zeros(5, np.float32))], "logits", transB=1)
    g.op("Softmax", [x], "scores", axis=-1)
    return g.model("scores", 5)


@pytest.fixture
def new_graph() -> Callable[[int], Graph]:
    return Graph


@pytest.fixture
def shuffle_model() -> ir.Model:
    return shuffle_unit()


@pytest.fixture
def swish_model() -> ir.Model:
    return swish_unit()


@pytest.fixture
def images() -> NDArray[np.uint8]:
    """48 smooth random pictures, uint8 [48, 16, 16, 3]: neighbouring pixels alike, as in photos."""
    random = np.random.default_rng(7)
    coarse = random.integers(0, 256, (48, 4, 4, 3)).repeat(4, 1).repeat(4, 2)
    return np.clip(coarse + random.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def run() -> Callable[..., list[NDArray[np.generic]]]:
    """Runs an ir.Model in ONNX Runtime: (model, images, names of values, optimize) → their arrays."""
    import onnxruntime as ort

    from edgekit.graph.batch import dynamic_batch

    def execute(
        model: ir.Model, images: NDArray[np.uint8], names: list[str] | None = None, optimize: bool = True
    ) -> list[NDArray[np.generic]]:
        copy = dynamic_batch(model)
        present = {value.name for value in copy.graph.outputs}
        for node in copy.graph:
            for value in node.outputs:
                if names and value.name in names and value.name not in present:
                    copy.graph.outputs.append(value)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        data = ir.to_proto(copy).SerializeToString()
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return list(session.run(names, {"image": images}))

    return execute
