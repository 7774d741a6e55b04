"""What the files say about themselves, that they stand alone, and that whole networks come out the same in both."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgekit import emit
from edgekit.contracts import IMAGENET, ImageContract
from edgekit.emit.census import read_tflite
from edgekit.emit.flatbuffer import ModelBuilder
from edgekit.emit.floor import floor_graph
from edgekit.errors import GraphError

LABELS = ("n01440764 tench", "n02102040 Zwergschnauzer, groß", "third")
META = emit.ModelMeta(
    name="tiny", description="for tests", labels=LABELS, image=ImageContract(32, 40, 48), author="A", license="MIT",
    extra={"edgekit.target": "bench"},
)  # fmt: skip


@pytest.fixture(scope="module")
def float_model(nets: Any) -> Any:
    return nets.shuffle_free_v2(size=32, widths=(8, 16, 20, 28, 24), repeats=(3, 4, 2), classes=3)


@pytest.fixture(scope="module")
def int8_model(nets: Any, float_model: Any, pictures: Any) -> Any:
    return nets.quantized(float_model, pictures(4, 32, 32))


@pytest.fixture(scope="module")
def files(float_model: Any, int8_model: Any) -> dict[tuple[str, str], bytes]:
    models = {"fp32": float_model, "fp16": float_model, "int8": int8_model}
    return {
        (kind, precision): write(model, META, precision)
        for precision, model in models.items()
        for kind, write in (("onnx", emit.onnx), ("tflite", emit.tflite))
    }


def test_v2_gives_the_same_numbers_in_both_formats(
    files: Any, float_model: Any, ort_run: Any, lite_run: Any, pictures: Any, nets: Any
) -> None:
    x = pictures(5, 32, 32, seed=1)
    want = nets.float_run(float_model, {"image": x})["scores"]
    scale = np.abs(want).max()
    for kind, run in (("onnx", ort_run), ("tflite", lite_run)):
        assert np.abs(run(files[kind, "fp32"], x) - want).max() / scale < 1e-5
        assert np.abs(run(files[kind, "fp16"], x) - want).max() / scale < 5e-3
    integers = ort_run(files["onnx", "int8"], x).astype(int)
    assert np.abs(lite_run(files["tflite", "int8"], x).astype(int) + 128 - integers).max() <= 1


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_v1_gives_the_same_numbers_in_both_formats(
    nets: Any, ort_run: Any, lite_run: Any, pictures: Any, groups: int
) -> None:
    x = pictures(3, 32, 32)
    model = nets.shuffle_free_v1(size=32, groups=groups, widths=(12, 48, 72, 96), classes=4)
    want = nets.float_run(model, {"image": x})["scores"]
    np.testing.assert_allclose(
        lite_run(emit.tflite(model, META, "fp32"), x), want, rtol=1e-4, atol=1e-5 * np.abs(want).max()
    )
    model = nets.quantized(model, x)
    integers = ort_run(emit.onnx(model, META, "int8"), x).astype(int)
    assert np.abs(lite_run(emit.tflite(model, META, "int8"), x).astype(int) + 128 - integers).max() <= 1


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_any_batch_gives_each_picture_its_own_scores(
    files: Any, ort_run: Any, lite_run: Any, pictures: Any, kind: str, precision: str
) -> None:
    run, content, x = (ort_run if kind == "onnx" else lite_run), files[kind, precision], pictures(3, 32, 32)
    alone = np.concatenate([run(content, x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(run(content, x), alone, rtol=1e-5, atol=1e-5)
    assert len({tuple(row) for row in alone.tolist()}) == 3


def test_the_same_graph_gives_the_same_bytes(files: Any, float_model: Any, int8_model: Any) -> None:
    for (kind, precision), content in files.items():
        model = int8_model if precision == "int8" else float_model
        assert getattr(emit, kind)(model, META, precision) == content


def test_emitting_leaves_the_graph_as_it_was(int8_model: Any) -> None:
    import onnx_ir as ir

    before = ir.to_proto(int8_model).SerializeToString(deterministic=True)
    emit.onnx(int8_model, META, "fp16")
    emit.tflite(int8_model, META, "int8")
    floor_graph(int8_model)
    assert ir.to_proto(int8_model).SerializeToString(deterministic=True) == before


def test_half_precision_stores_half_the_weights(files: Any, float_model: Any) -> None:
    values = float_model.graph.initializers.values()
    weights = sum(v.const_value.numpy().size for v in values if v.dtype.is_floating_point() and len(v.shape) == 4)
    for kind in ("onnx", "tflite"):
        saved = len(files[kind, "fp32"]) - len(files[kind, "fp16"])
        assert saved > 0.5 * 2 * weights, (kind, saved, weights)


def test_onnx_says_what_it_is(files: Any, nets: Any, int8_model: Any) -> None:
    model = onnx.load_from_string(files["onnx", "int8"])
    onnx.checker.check_model(model, full_check=True)
    said = {p.key: p.value for p in model.metadata_props}
    assert model.producer_name == "edgekit"
    assert said["edgekit.labels"].split("\n") == list(LABELS)
    assert json.loads(said["edgekit.image"])["resize"] == 48
    assert said["edgekit.precision"] == "int8" and said["edgekit.target"] == "bench"
    scale = int8_model.graph.initializers["scores_float_s"].const_value.numpy()
    assert np.float32(said["edgekit.output_scale"]) == scale
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["N", 32, 32, 3]
    assert {i.domain: i.version for i in model.opset_import} == {"": 18}


def test_tflite_says_what_it_is(files: Any, int8_model: Any) -> None:
    content = files["tflite", "int8"]
    model = read_tflite(content)
    said = {m.name.decode(): bytes(model.buffers[m.buffer].data) for m in model.metadata}
    assert said["edgekit.labels"].decode().split("\n") == list(LABELS)
    zero = int8_model.graph.initializers["scores_float_z"].const_value.numpy()
    assert int(said["edgekit.output_zero_point"]) == int(zero) - 128
    assert said["min_runtime_version"].rstrip(b"\0").decode() == "2.9.0" or b"." in said["min_runtime_version"]
    assert "reduced_precision_support" not in said
    half = read_tflite(files["tflite", "fp16"])
    assert b"fp16accfp16" in [bytes(half.buffers[m.buffer].data) for m in half.metadata]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(LABELS)


def test_tflite_has_a_named_signature(files: Any) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=files["tflite", "int8"])
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["scores"]}}
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert source["dtype"] == np.uint8 and result["dtype"] == np.int8
    assert list(source["shape"]) == [1, 32, 32, 3]
    assert list(source["shape_signature"]) == [-1, 32, 32, 3]


def test_metadata_follows_the_published_schema(files: Any) -> None:
    """Field by field, at the slots of metadata_schema.fbs; read here with nothing but flatbuffers' own accessors."""
    from flatbuffers import encode, packer
    from flatbuffers.table import Table

    model = read_tflite(files["tflite", "int8"])
    raw = next(bytes(model.buffers[m.buffer].data) for m in model.metadata if m.name == b"TFLITE_METADATA")
    assert raw[4:8] == b"M001"

    def slot(table: Table, index: int) -> int:
        offset = table.Offset(4 + 2 * index)
        assert offset, f"field {index} is missing"
        return table.Pos + offset

    def child(table: Table, index: int) -> Table:
        return Table(table.Bytes, table.Indirect(slot(table, index)))

    def item(table: Table, index: int) -> Table:
        start = table.Vector(slot(table, index) - table.Pos)
        return Table(table.Bytes, table.Indirect(start))

    def text(table: Table, index: int) -> str:
        return str(table.String(slot(table, index)).decode())

    root = Table(bytearray(raw), encode.Get(packer.uoffset, raw, 0))
    assert (text(root, 0), text(root, 1), text(root, 4), text(root, 5)) == ("tiny", "for tests", "A", "MIT")
    subgraph = item(root, 3)
    image, scores = item(subgraph, 2), item(subgraph, 3)
    assert (text(image, 0), text(scores, 0)) == ("image", "scores")
    normalization = child(item(image, 4), 1)
    mean = normalization.Vector(slot(normalization, 0) - normalization.Pos)
    assert encode.Get(packer.float32, raw, mean) == 0.0
    assert text(item(scores, 6), 0) == "labels.txt"
    size = child(child(child(image, 3), 1), 1)
    assert [encode.Get(packer.uint32, raw, slot(size, i)) for i in (0, 1)] == [32, 32]


def test_normalization_of_a_float_input_is_told(nets: Any) -> None:
    net = nets.Net()
    net.channels["input"] = 3
    net.tail(net.conv("input", 8, 3, 2), 3)
    meta = emit.ModelMeta(normalization=IMAGENET)
    content = emit.tflite(net.model((3, 8, 8), 1, "input"), meta, "fp32")
    model = read_tflite(content)
    said = {m.name.decode(): bytes(model.buffers[m.buffer].data) for m in model.metadata}
    assert json.loads(said["edgekit.normalization"]) == IMAGENET.to_dict()
    assert np.float32(IMAGENET.mean[0]).tobytes() in said["TFLITE_METADATA"]


def test_constants_are_aligned_and_shared() -> None:
    """Runtimes use them in place, with vector loads."""
    builder = ModelBuilder("alignment")
    data = [np.arange(n, dtype=np.float32) for n in (1, 3, 5, 3)]
    for i, array in enumerate(data):
        builder.constant(f"c{i}", array)
    x = builder.tensor("x", [1, 2], np.float32)
    content = builder.finish({"x": x}, {"x": x})
    for array in data:
        assert content.index(array[1:].tobytes() if len(array) > 1 else array.tobytes()) >= 0
    model = schema.Model.GetRootAs(content, 0)
    assert model.BuffersLength() == 4  # the empty one, and three different ones
    for i in range(1, 4):
        raw = model.Buffers(i).DataAsNumpy().tobytes()
        position = content.index(raw) if len(raw) > 4 else None
        assert position is None or position % 16 == 0


def test_census_counts_operators_of_either_format(files: Any, float_model: Any) -> None:
    found = emit.census(files["onnx", "fp32"])
    assert found["Conv"] == sum(n.op_type == "Conv" for n in float_model.graph)
    assert emit.census(files["onnx", "fp16"]) == found, "stored casts are not operators"
    tflite = emit.census(files["tflite", "int8"])
    assert tflite["CONV_2D"] + tflite["DEPTHWISE_CONV_2D"] == found["Conv"] + found["Gemm"]
    assert "PAD" not in tflite and "PADV2" not in tflite and "TRANSPOSE" not in tflite
    assert emit.census(files["tflite", "fp16"]) == emit.census(files["tflite", "fp32"])
    with pytest.raises(GraphError):
        emit.census(b"neither of the two")


def test_xnnpack_takes_the_network_in_one_piece(files: Any) -> None:
    from edgekit.emit.delegation import outside_xnnpack

    for precision in ("int8", "fp32", "fp16"):
        assert set(outside_xnnpack(files["tflite", precision])) == {"RESHAPE", "REVERSE_V2"}


def test_the_floor_has_every_convolution_and_nearly_nothing_else(
    float_model: Any, int8_model: Any, ort_run: Any, lite_run: Any, pictures: Any
) -> None:
    x = pictures(2, 32, 32)
    for model, precision in ((float_model, "fp32"), (int8_model, "int8")):
        floor = floor_graph(model)
        onnx_file, tflite_file = emit.onnx(floor, META, precision), emit.tflite(floor, META, precision)
        found, whole = emit.census(onnx_file), emit.census(emit.onnx(model, META, precision))
        assert found["Conv"] == whole["Conv"]
        assert found.get("Concat", 0) <= 3 and found.get("Split", 0) <= 3
        assert ort_run(onnx_file, x).shape == lite_run(tflite_file, x).shape == (2, 3)
        assert "PAD" not in emit.census(tflite_file)
