"""Old operators mean the same at opset 18. What each meant is written here in numpy, after the changelog of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.checkpoints.onnx_upgrade import upgrade
from edgekit.errors import CheckpointError

X = np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)
C = np.array([0.5, -1.0, 2.0, 0.25], np.float32)
PER_CHANNEL = C[:, None, None]


def model(
    opset: int, nodes: list[onnx.NodeProto], x: np.ndarray = X, outputs: int = 1, **constants: np.ndarray
) -> onnx.ModelProto:
    """x → … → y, without any shapes between, as old exporters wrote it."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ["y", "y2"][:outputs]]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, made, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3)


def run(old: onnx.ModelProto, x: np.ndarray = X) -> list[np.ndarray]:
    new = upgrade(old)
    assert [(entry.domain, entry.version) for entry in new.opset_import] == [("", 18)]
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(new, strict_mode=True))
    session = onnxruntime.InferenceSession(new.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


def node(kind: str, inputs: str = "x", output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), **attributes)


def flat_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    rows = x.reshape(int(np.prod(x.shape[:axis])), -1)
    powers = np.exp(rows - rows.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).reshape(x.shape)


def sliced(x: np.ndarray) -> np.ndarray:
    return x[:, 1:3]


CASES: dict[str, tuple[int, list[onnx.NodeProto], dict[str, np.ndarray], np.ndarray]] = {
    "relu consumes": (1, [node("Relu", consumed_inputs=[0])], {}, np.maximum(X, 0)),
    "add at axis": (3, [node("Add", "x c", axis=1, broadcast=1)], {"c": C}, X + PER_CHANNEL),
    "mul at axis of a computed tensor": (
        6, [node("Relu", "c", "d"), node("Mul", "x d", axis=1, broadcast=1)], {"c": C}, X * np.maximum(PER_CHANNEL, 0)),
    "div of equal shapes": (6, [node("Div", "x d")], {"d": np.full_like(X, 4)}, X / 4),
    "add at the end": (6, [node("Add", "x c", broadcast=1)], {"c": np.arange(6, dtype=np.float32)},
                       X + np.arange(6, dtype=np.float32)),
    "sub since 7": (7, [node("Sub", "x c")], {"c": PER_CHANNEL}, X - PER_CHANNEL),
    "batch norm 1": (
        1, [node("BatchNormalization", "x c c m v", is_test=1, spatial=1, epsilon=1e-3, consumed_inputs=[0] * 5)],
        {"c": C, "m": C * 2, "v": np.abs(C)},
        (X - 2 * PER_CHANNEL) / np.sqrt(np.abs(PER_CHANNEL) + 1e-3) * PER_CHANNEL + PER_CHANNEL),
    "batch norm 7 with outputs": (
        7, [node("BatchNormalization", "x c c m v", "y a b c1 d", momentum=0.9)], {"c": C, "m": C, "v": np.abs(C)},
        (X - PER_CHANNEL) / np.sqrt(np.abs(PER_CHANNEL) + 1e-5) * PER_CHANNEL + PER_CHANNEL),
    "dropout 1": (1, [node("Dropout", "x", "y mask", is_test=1, ratio=0.4)], {}, X),
    "dropout 12": (12, [node("Dropout", "x r")], {"r": np.float32(0.5)}, X),
    "sum of three": (1, [node("Sum", "x x x", consumed_inputs=[0, 0, 0])], {}, 3 * X),
    "sum of one": (6, [node("Sum", "x")], {}, X),
    "reshape 1": (1, [node("Reshape", shape=[2, 2, 2, 6, 6], consumed_inputs=[0])], {}, X.reshape(2, 2, 2, 6, 6)),
    "softmax over the rest": (9, [node("Softmax")], {}, flat_softmax(X, 1)),
    "softmax at 2": (11, [node("Softmax", axis=2)], {}, flat_softmax(X, 2)),
    "softmax at the last": (1, [node("Softmax", axis=3)], {}, flat_softmax(X, 3)),
    "softmax behind flatten": (6, [node("Flatten", output="f"), node("Softmax", "f")], {},
                               flat_softmax(X.reshape(2, -1), 1)),
    "clip 1": (1, [node("Clip", min=-0.5, max=0.5, consumed_inputs=[0])], {}, np.clip(X, -0.5, 0.5)),
    "clip 6 above": (6, [node("Clip", max=0.5)], {}, np.minimum(X, 0.5)),
    "clip 6 open": (6, [node("Clip")], {}, X),
    "pad 1": (1, [node("Pad", paddings=[0, 0, 1, 0, 0, 0, 0, 2], value=1.5)], {},
              np.pad(X, ((0, 0), (0, 0), (1, 0), (0, 2)), constant_values=1.5)),
    "pad 2": (2, [node("Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1])], {}, np.pad(X, ((0, 0), (0, 0), (1, 1), (1, 1)))),
    "slice 1": (1, [node("Slice", starts=[1], ends=[3], axes=[1])], {}, sliced(X)),
    "slice 9 without axes": (9, [node("Slice", starts=[0, 1], ends=[2, 3])], {}, sliced(X)),
    "squeeze and unsqueeze": (
        11, [node("Unsqueeze", "x", "u", axes=[0, 3]), node("Squeeze", "u", "y", axes=[0, 3])], {}, X),
    "reduce mean 11": (11, [node("ReduceMean", axes=[2, 3], keepdims=0)], {}, X.mean((2, 3))),
    "reduce sum 11": (11, [node("ReduceSum", axes=[1])], {}, X.sum(1, keepdims=True)),
    "concat 1": (1, [node("Concat", "x x")], {}, np.concatenate([X, X], 1)),
    "cast by word": (1, [node("Cast", "x", "i", to="INT32"), node("Cast", "i", "y", to="FLOAT")], {}, np.trunc(X)),
    "prelu 6": (6, [node("PRelu", "x c")], {"c": C}, np.where(X < 0, X * PER_CHANNEL, X)),
    "upsample 7": (7, [node("Upsample", mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])], {}, X.repeat(2, 2).repeat(2, 3)),
    "upsample 9": (9, [node("Upsample", "x s", mode="nearest")], {"s": np.array([1, 1, 2, 1], np.float32)},
                   X.repeat(2, 2)),
    "resize 10": (10, [node("Resize", "x s", mode="nearest")], {"s": np.array([1, 1, 1, 2], np.float32)},
                  X.repeat(2, 3)),
    "average pool leaves the border out": (
        1, [node("AveragePool", kernel_shape=[6, 6], pads=[1, 0, 0, 0])], {},
        np.stack([X[:, :, :5].mean((2, 3)), X.mean((2, 3))], 2)[..., None]),
    "gemm 1": (
        1, [node("Flatten", output="f"), node("Gemm", "f w b", transB=1, broadcast=1)],
        {"w": np.ones((3, 144), np.float32), "b": np.arange(3, dtype=np.float32)},
        X.reshape(2, -1).sum(1, keepdims=True) + np.arange(3, dtype=np.float32)),
    "newer average pool": (19, [node("AveragePool", kernel_shape=[6, 6], dilations=[1, 1])], {},
                           X.mean((2, 3), keepdims=True)),
    "newer cast": (21, [node("Cast", to=1, saturate=1)], {}, X),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_meaning_is_kept(name: str) -> None:
    opset, nodes, constants, expected = CASES[name]
    (found,) = run(model(opset, nodes, **constants))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("opset", "attributes"), [(2, {"split": [1, 3]}), (11, {"split": [1, 3]}), (11, {})])
def test_split(opset: int, attributes: dict[str, Any]) -> None:
    first, second = run(model(opset, [node("Split", "x", "y y2", axis=1, **attributes)], outputs=2))
    at = 1 if attributes else 2
    np.testing.assert_array_equal(first, X[:, :at])
    np.testing.assert_array_equal(second, X[:, at:])


@pytest.mark.parametrize(
    ("opset", "bad", "says"),
    [
        (7, node("BatchNormalization", "x c c c c", spatial=0), "spatial=0"),
        (15, node("BatchNormalization", "x c c c c", training_mode=1), "training mode"),
        (25, node("Relu"), "opset 25"),
        (6, node("Sum", ""), "malformed"),
    ],
)
def test_refusals(opset: int, bad: onnx.NodeProto, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        run(model(opset, [bad], c=C))


def test_a_used_mask_is_a_training_graph() -> None:
    with pytest.raises(CheckpointError, match="mask"):
        upgrade(model(10, [node("Dropout", "x", "d m"), node("Cast", "m", "f", to=1), node("Add", "d f")]))


def test_the_model_given_is_left_alone() -> None:
    old = model(6, [node("Dropout", "x", "y", ratio=0.1)])
    before = old.SerializeToString()
    upgrade(old)
    assert old.SerializeToString() == before
