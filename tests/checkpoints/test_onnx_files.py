"""ONNX files of anybody's: what they say, what they compute, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgekit import checkpoints
from edgekit.errors import CheckpointError

SIZE = 32
PICTURE = np.random.default_rng(5).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)


def weights(name: str, *shape: int) -> TensorProto:
    random = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array((random.standard_normal(shape) * 0.4).astype(np.float32), name)


def network(*, front: list[onnx.NodeProto] | None = None, classes: int = 5) -> onnx.ModelProto:
    """A small classifier with a shuffle, unfused batch norm and softmax, at opset 11 with a dynamic batch."""
    nodes = [
        *(front or []),
        helper.make_node("Conv", ["scaled" if front else "x", "w"], ["c"], name="stem", kernel_shape=[3, 3],
                         strides=[2, 2], pads=[1, 1, 1, 1], group=1),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], epsilon=1e-5),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["p", "five"], ["q"]),
        helper.make_node("Transpose", ["q"], ["t"], perm=[0, 2, 1, 3, 4]),
        helper.make_node("Reshape", ["t", "four"], ["u"]),
        helper.make_node("Split", ["u"], ["left", "right"], axis=1),
        helper.make_node("Concat", ["right", "left"], ["cc"], axis=1),
        helper.make_node("GlobalAveragePool", ["cc"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "fw", "fb"], ["y"], transB=1),
        helper.make_node("Softmax", ["y"], ["z"], axis=1),
    ]  # fmt: skip
    variance = numpy_helper.from_array(np.full(4, 1.5, np.float32), "v")
    shapes = [numpy_helper.from_array(np.array(v), n) for n, v in (("five", [-1, 2, 2, 8, 8]), ("four", [-1, 4, 8, 8]))]
    constants = [weights("w", 4, 3, 3, 3), weights("s", 4), weights("b", 4), weights("m", 4), variance, *shapes,
                 weights("fw", classes, 4), weights("fb", classes), weights("half", 1)]  # fmt: skip
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", classes])], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


def read(folder: Path, model: onnx.ModelProto) -> checkpoints.Checkpoint:
    (folder / "m.bin").write_bytes(model.SerializeToString())
    return checkpoints.load(folder / "m.bin")


def scores(model: Any, x: np.ndarray = PICTURE) -> np.ndarray:
    content = model if isinstance(model, bytes) else ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def test_reads_and_computes_the_same(tmp_path: Path) -> None:
    model = network()
    checkpoint = read(tmp_path, model)
    assert checkpoint.graph is not None
    assert (checkpoint.family, checkpoint.classes, checkpoint.quantized) == ("onnx", 5, False)
    assert checkpoint.graph.opset_imports[""] == 18
    assert (checkpoint.image.height, checkpoint.image.width, checkpoint.image.resize) == (SIZE, SIZE, 37)
    assert all(value.shape is not None for node in checkpoint.graph.graph for value in node.outputs)
    several = np.concatenate([PICTURE, PICTURE * 2])
    np.testing.assert_allclose(scores(checkpoint.graph, several), scores(model.SerializeToString(), several), rtol=1e-5)


def test_is_described(tmp_path: Path) -> None:
    facts = checkpoints.describe(read(tmp_path, network()))
    assert facts["architecture"] == "plain CNN"
    assert facts["params"] == 4 * 27 + 8 + 25
    assert facts["macs"] == 16 * 16 * 4 * 27 + 20
    assert facts["input"] == [3, SIZE, SIZE]


@pytest.mark.realdata
@pytest.mark.parametrize("opset", [3, 9])
def test_recorded_zoo_answer(shared_data: Path, opset: int) -> None:
    recorded = np.load(shared_data / "families/zoo_v1_x0.5_g3.npz")
    checkpoint = checkpoints.load(shared_data / f"families/zoo_v1_x0.5_g3_opset{opset}.onnx")
    assert checkpoint.normalization.to_dict() == {"order": "bgr", "mean": [0.0] * 3, "std": [1.0] * 3}
    found = scores(checkpoint.graph, recorded["x"].astype(np.float32))
    assert np.linalg.norm(found - recorded["softmax"]) / np.linalg.norm(recorded["softmax"]) < 1e-5
    facts = checkpoints.describe(checkpoint)
    assert facts["architecture"] == "ShuffleNet V1 x0.5 g3"
    assert round(facts["mflops"]) == 42


# -- quantized -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("integer_operators", [False, True])
def test_quantized_files_are_taken_as_they_are(tmp_path: Path, integer_operators: bool) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = [{"x": PICTURE}]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    (tmp_path / "float.onnx").write_bytes(network().SerializeToString())
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", Pictures(), activation_type=QuantType.QUInt8,
        weight_type=QuantType.QUInt8,
        quant_format=QuantFormat.QOperator if integer_operators else QuantFormat.QDQ,
    )  # fmt: skip
    checkpoint = checkpoints.load(tmp_path / "int8.onnx")
    assert checkpoint.quantized
    assert checkpoint.classes == 5
    np.testing.assert_array_equal(scores(checkpoint.graph), scores((tmp_path / "int8.onnx").read_bytes()))
    assert checkpoints.describe(checkpoint)["macs"] == 16 * 16 * 4 * 27 + 20


# -- what the input expects --------------------------------------------------------------------------------


def seen(model: onnx.ModelProto, mean: tuple[float, float, float], spread: float) -> onnx.ModelProto:
    """Gives the first batch norm the statistics that inputs of this mean and spread would leave behind."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    kernel = numpy_helper.to_array(tensors["w"]).astype(np.float64)
    sums = kernel.sum((2, 3))
    power = np.array([(sums[o] ** 2).sum() for o in range(4)])
    tensors["m"].CopyFrom(numpy_helper.from_array((sums @ np.array(mean)).astype(np.float32), "m"))
    tensors["v"].CopyFrom(numpy_helper.from_array((spread**2 * power).astype(np.float32), "v"))
    return model


@pytest.mark.parametrize(
    ("mean", "spread", "order", "std"),
    [
        ((103, 116, 124), 60, "bgr", 1.0),
        ((124, 116, 103), 60, "rgb", 1.0),
        ((0.48, 0.46, 0.41), 0.25, "rgb", 255.0),
        ((0.1, -0.1, 0.05), 1.0, "rgb", 0.229 * 255),
    ],
)
def test_the_first_batch_norm_tells_the_scale(
    tmp_path: Path, mean: tuple[float, float, float], spread: float, order: str, std: float
) -> None:
    checkpoint = read(tmp_path, seen(network(), mean, spread))
    assert checkpoint.normalization.order == order
    assert checkpoint.normalization.std[0] == pytest.approx(std)
    assert "first batch norm" in checkpoint.notes[0]


def test_without_a_sign_imagenet_is_assumed_and_said(tmp_path: Path) -> None:
    checkpoint = read(tmp_path, network())
    assert checkpoint.normalization.mean[0] == pytest.approx(123.675)
    assert "assumed" in checkpoint.notes[0]


@pytest.mark.parametrize(
    ("operator", "value", "std"), [("Mul", 1 / 255, 1.0), ("Sub", 127.5, 1.0), ("Sub", 0.485, 255.0)]
)
def test_scaling_inside_the_graph_means_pixels_outside(tmp_path: Path, operator: str, value: float, std: float) -> None:
    model = network(front=[helper.make_node(operator, ["x", "scale"], ["scaled"])])
    model.graph.initializer.append(numpy_helper.from_array(np.float32([value]), "scale"))
    assert read(tmp_path, model).normalization.std == (std, std, std)


def test_labels_in_the_metadata(tmp_path: Path) -> None:
    model = network()
    helper.set_model_props(model, {"names": '{"0": "a", "1": "b", "2": "c", "3": "d", "4": "e"}'})
    assert read(tmp_path, model).labels == ("a", "b", "c", "d", "e")
    helper.set_model_props(model, {"names": "a\nb\nc"})
    assert read(tmp_path, model).labels is None


# -- refused -----------------------------------------------------------------------------------------------


def test_external_data_inside_the_folder_is_read(tmp_path: Path) -> None:
    expected = scores(network().SerializeToString())
    onnx.save(network(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    checkpoint = checkpoints.load(tmp_path / "m.onnx")
    np.testing.assert_allclose(scores(checkpoint.graph), expected, rtol=1e-5)


@pytest.mark.parametrize("where", ["../secret", "/etc/passwd", "link", "missing", "", "../model/../secret"])
def test_external_data_elsewhere_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(4096))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    model = network()
    outside(model.graph.initializer[0], where)
    with pytest.raises(CheckpointError, match="not a file beside the model"):
        read(folder, model)


@pytest.mark.parametrize(("offset", "length"), [("-1", "432"), ("0", "9999999999"), ("x", "432"), ("999999", "432")])
def test_external_data_that_does_not_fit(tmp_path: Path, offset: str, length: str) -> None:
    (tmp_path / "data").write_bytes(bytes(1000))
    model = network()
    outside(model.graph.initializer[0], "data", offset=offset, length=length)
    with pytest.raises(CheckpointError, match=r"external data|truncated"):
        read(tmp_path, model)


def outside(tensor: TensorProto, where: str, **more: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": where, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, [1]))


def _half(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def _nhwc(model: onnx.ModelProto) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIZE, SIZE, 3]))


def _nan(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((4, 3, 3, 3), np.nan, np.float32), "w"))


def _huge(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 1 << 40


def _does_not_fit(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 5


def _zero_stride(model: onnx.ModelProto) -> None:
    strides = next(attribute for attribute in model.graph.node[0].attribute if attribute.name == "strides")
    strides.ints[0] = 0


def _loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["x", "x"], ["l"], body=body))


def _foreign(model: onnx.ModelProto) -> None:
    model.graph.node[2].domain = "ai.somebody"


def _twice(model: onnx.ModelProto) -> None:
    model.graph.node[2].output[0] = "n"


def _wrong_channels(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].CopyFrom(weights("w", 4, 5, 3, 3))


def _cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "r"


def _laughs(model: onnx.ModelProto) -> None:
    for depth in range(60):  # each calls the next twice: 2^60 nodes
        inner = f"f{depth + 1}" if depth < 59 else "Relu"
        domain = "f" if depth < 59 else ""
        body = [helper.make_node(inner, [a], [b], domain=domain) for a, b in (("i", "j"), ("j", "k"))]
        imports = [helper.make_opsetid("", 11), helper.make_opsetid("f", 1)]
        model.functions.append(helper.make_function("f", f"f{depth}", ["i"], ["k"], body, imports))
    model.opset_import.append(helper.make_opsetid("f", 1))
    model.graph.node[2].CopyFrom(helper.make_node("f0", ["n"], ["r"], domain="f"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_two_inputs, "2 inputs"),
        (_half, "FLOAT16"),
        (_nhwc, "expected \\[N, 3, H, W\\]"),
        (_nan, "'w' holds NaN"),
        (_huge, "'w' has shape"),
        (_does_not_fit, "'w' does not fit"),
        (_zero_stride, "strides must be positive"),
        (_loop, "control flow"),
        (_foreign, "ai.somebody"),
        (_twice, "another node has too"),
        (_wrong_channels, "'stem': weights of 5 channels"),
        (_cycle, "does not fit together"),
        (_laughs, "refused"),
    ],
)
def test_refused_by_name(tmp_path: Path, spoil: Callable[[onnx.ModelProto], None], says: str) -> None:
    model = network()
    spoil(model)
    with pytest.raises(CheckpointError, match=says) as raised:
        read(tmp_path, model)
    assert raised.value.message.startswith(str(tmp_path / "m.bin"))


def test_a_file_of_nothing_but_structure_is_not_parsed(tmp_path: Path) -> None:
    """Two bytes of an empty node become a hundred in memory."""
    from onnx.onnx_ml_pb2 import GraphProto

    model = network()
    nodes = b"\x0a\x00" * 150_000
    content = model.SerializeToString() + b"\x3a" + _length(len(nodes)) + nodes
    assert len(GraphProto.FromString(nodes).node) == 150_000
    (tmp_path / "m").write_bytes(content + bytes([0x32]) + _length(9 << 20) + bytes(9 << 20))
    with pytest.raises(CheckpointError, match="structure"):
        checkpoints.load(tmp_path / "m")
    (tmp_path / "m").write_bytes(content + content)
    with pytest.raises(CheckpointError):
        checkpoints.load(tmp_path / "m")


def _length(size: int) -> bytes:
    out = b""
    while size > 127:
        out, size = out + bytes([size & 127 | 128]), size >> 7
    return out + bytes([size])


def test_local_functions_are_unfolded(tmp_path: Path) -> None:
    model = network()
    imports = [helper.make_opsetid("", 11)]
    body = [helper.make_node("Relu", ["i"], ["o"])]
    model.functions.append(helper.make_function("own", "Activation", ["i"], ["o"], body, imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.ir_version = 8
    model.graph.node[2].CopyFrom(helper.make_node("Activation", ["n"], ["r"], domain="own"))
    np.testing.assert_allclose(scores(read(tmp_path, model).graph), scores(network().SerializeToString()), rtol=1e-5)


CONTENT = network().SerializeToString()
fuzzed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@fuzzed
@given(cut=st.integers(0, len(CONTENT) - 1))
def test_truncated_at_any_byte(tmp_path: Path, cut: int) -> None:
    (tmp_path / "m").write_bytes(CONTENT[:cut])
    with pytest.raises(CheckpointError):
        checkpoints.load(tmp_path / "m")


@fuzzed
@given(edits=st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_damaged_bytes_load_or_are_refused(tmp_path: Path, edits: list[tuple[int, int]]) -> None:
    content = bytearray(CONTENT)
    for at, value in edits:
        content[at] = value
    (tmp_path / "m").write_bytes(content)
    try:
        checkpoint = checkpoints.load(tmp_path / "m")
    except CheckpointError:
        return
    assert checkpoint.graph is not None
