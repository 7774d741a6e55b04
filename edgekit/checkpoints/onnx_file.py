"""Reads anybody's ONNX file: parses it with bounds, checks it, brings it to opset 18 with every shape inferred."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgekit.checkpoints.limits import MAX_FILE_BYTES
from edgekit.checkpoints.onnx_upgrade import upgrade
from edgekit.checkpoints.wire import Walker
from edgekit.errors import CheckpointError

MAX_NODES = 20_000
# Nodes, names and attributes; an exported ShuffleNet has 0.1 to 0.4 MB of them.
MAX_STRUCTURE_BYTES = 8 << 20
# Field numbers of onnx.proto: ModelProto.graph, GraphProto.initializer, and TensorProto's float_data to raw_data.
_MODEL_GRAPH, _GRAPH_INITIALIZER, _TENSOR_NUMBERS = 7, 5, (4, 5, 7, 9, 10, 11)
MAX_DIMENSION = 1 << 24
# Operators of integer arithmetic, in ONNX's own set and in ONNX Runtime's (com.microsoft).
INTEGER_OPERATORS = ("QuantizeLinear", "DequantizeLinear", "QLinear", "ConvInteger", "MatMulInteger", "DynamicQuantize")
DOMAINS = ("", "ai.onnx", "com.microsoft")
# Window sizes of zero would divide by zero in the checkers behind.
_POSITIVE = ("strides", "dilations", "kernel_shape", "group", "num_outputs")


def parse(data: bytes) -> ModelProto:
    """The model in the bytes.

    Raises:
        CheckpointError: not an ONNX model, or truncated.
    """
    try:
        if len(data) - _weight_bytes(data) > MAX_STRUCTURE_BYTES:
            raise CheckpointError("refused: an ONNX model with more structure than any classifier has")
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, TypeError) as error:
        raise CheckpointError("not an ONNX model, or a truncated one", hint="export or download it again") from error
    if not model.graph.node:
        raise CheckpointError("an ONNX model without a graph")
    return model


def _weight_bytes(data: bytes) -> int:
    """Bytes of the initializers' numbers, told without parsing: what else there is grows many times in memory."""
    walker, total = Walker(data), 0
    for number, start, end in walker.fields(0, len(data)):
        if number != _MODEL_GRAPH:
            continue
        for part, first, last in walker.fields(start, end):
            if part == _GRAPH_INITIALIZER:
                total += sum(b - a for kind, a, b in walker.fields(first, last) if kind in _TENSOR_NUMBERS)
    return total


def read(data: bytes, folder: Path) -> tuple[ir.Model, bool]:
    """The network at opset 18 with its shapes inferred, and whether it computes in integers already.

    Args:
        data: the file's bytes.
        folder: where the file lies; tensors may be stored in files inside it, and nowhere else.

    Returns:
        A model with one float32 ``[N, 3, H, W]`` input (initializers are no inputs) and one output.

    Raises:
        CheckpointError: broken, hostile, or not an image classifier.
    """
    model = parse(data)
    if model.functions:
        _check_functions(model)
        model = onnx.inliner.inline_local_functions(model)
    if len(model.graph.node) > MAX_NODES:
        raise CheckpointError(f"refused: a graph of more than {MAX_NODES} nodes")
    _check_nodes(model)
    _load_external(model, folder)
    for tensor in _tensors(model.graph):
        _check_tensor(tensor)
    _one_input(model.graph)
    quantized = any(node.op_type.startswith(INTEGER_OPERATORS) for node in model.graph.node)
    model = upgrade(model)
    read = ir.from_proto(_inferred(model, quantized))
    _check_channels(read)
    return read, quantized


def _check_functions(model: ModelProto) -> None:
    """Refuses functions that call themselves or unfold to more nodes than any classifier has."""
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Iterable[NodeProto], depth: int) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in bodies and key not in sizes:
                if depth > 32:
                    raise CheckpointError("refused: functions nested too deeply")
                sizes[key] = size(bodies[key], depth + 1)
            total += sizes.get(key, 1)
            if total > MAX_NODES:
                raise CheckpointError(f"refused: a graph of more than {MAX_NODES} nodes")
        return total

    size(model.graph.node, 0)


def _check_nodes(model: ModelProto) -> None:
    made: set[str] = set()
    for node in model.graph.node:
        if not all(isinstance(text, str) for text in (node.op_type, node.domain, node.name, *node.input, *node.output)):
            raise CheckpointError("an operator's name is not text: the file is damaged")
        if not node.output or not made.isdisjoint(name for name in node.output if name):
            raise CheckpointError(f"{node.op_type} {node.name!r} has no output, or one that another node has too")
        made.update(node.output)
        if node.domain not in DOMAINS:
            raise CheckpointError(f"operator {node.op_type!r} of domain {node.domain!r} is not ONNX's")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise CheckpointError(f"{node.op_type} {node.name!r}: a classifier has no control flow")
            if attribute.name in _POSITIVE and any(
                v < 1 for v in (*attribute.ints, attribute.i if not attribute.ints else 1)
            ):
                raise CheckpointError(f"{node.op_type} {node.name!r}: {attribute.name} must be positive")
    if model.graph.sparse_initializer:
        raise CheckpointError("sparse tensors are not supported")


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _load_external(model: ModelProto, folder: Path) -> None:
    """Reads tensors that are stored beside the model into it."""
    left = MAX_FILE_BYTES
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        facts = {entry.key: entry.value for entry in tensor.external_data}
        place = (folder / facts.get("location", "")).resolve()
        if not place.is_relative_to(folder.resolve()) or not place.is_file():
            raise CheckpointError(
                f"tensor {tensor.name!r} is stored in {facts.get('location')!r}, which is not a file beside the model",
                hint="keep the model and its data file together, in one folder",
            )
        try:
            offset, length = int(facts.get("offset", 0)), int(facts.get("length", -1))
            dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
            expected = math.prod(tensor.dims) * dtype.itemsize
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"tensor {tensor.name!r}: broken reference to external data") from error
        if offset < 0 or min(tensor.dims, default=1) < 0 or length not in (-1, expected) or expected > left:
            raise CheckpointError(f"tensor {tensor.name!r}: {length} bytes of external data do not fit its shape")
        left -= expected
        with place.open("rb") as file:
            file.seek(offset)
            raw = file.read(expected)
        if len(raw) != expected:
            raise CheckpointError(f"tensor {tensor.name!r}: {place.name} is truncated")
        tensor.raw_data = raw
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _check_tensor(tensor: TensorProto) -> None:
    if any(not 0 <= size <= MAX_DIMENSION for size in tensor.dims):
        raise CheckpointError(f"tensor {tensor.name!r} has shape {list(tensor.dims)}")
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise CheckpointError(f"tensor {tensor.name!r} does not fit its shape {list(tensor.dims)}") from error
    # A lone infinity is a bound (of Clip, of padding); in weights it is an accident, as NaN is anywhere.
    if array.dtype.kind == "f" and (np.isnan(array).any() or (array.size > 1 and np.isinf(array).any())):
        raise CheckpointError(f"tensor {tensor.name!r} holds NaN or infinite values", hint="the training run diverged")


def _one_input(graph: GraphProto) -> None:
    """Leaves the picture as the only input, and checks that it is one."""
    initialized = {tensor.name for tensor in graph.initializer}
    pictures = [value for value in graph.input if value.name not in initialized]
    if len(pictures) != 1 or len(graph.output) != 1:
        raise CheckpointError(
            f"{len(pictures)} inputs and {len(graph.output)} outputs: a classifier has one of each",
            hint="export the network in evaluation mode, without auxiliary heads",
        )
    picture = pictures[0]
    kept = ValueInfoProto()
    kept.CopyFrom(picture)
    tensor = kept.type.tensor_type
    dims = tensor.shape.dim
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type else "nothing"
        raise CheckpointError(f"input {picture.name!r} takes {kind}, expected FLOAT", hint="export it in float32")
    if len(dims) != 4 or (dims[1].HasField("dim_value") and dims[1].dim_value != 3):
        shape = [dim.dim_value or dim.dim_param or "?" for dim in dims]
        raise CheckpointError(f"input {picture.name!r} has shape {shape}, expected [N, 3, H, W]")
    dims[1].dim_value = 3
    del graph.input[:]
    graph.input.append(kept)


def _inferred(model: ModelProto, quantized: bool) -> ModelProto:
    """The model with every shape that follows; stale ones of the old opset are dropped first."""
    del model.graph.value_info[:]
    try:
        # ONNX Runtime's own integer operators have no schema here, so nothing follows behind them.
        inferred = onnx.shape_inference.infer_shapes(
            model, check_type=not quantized, strict_mode=not quantized, data_prop=True
        )
        onnx.checker.check_model(inferred, full_check=False)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"the graph does not fit together: {first}") from error
    return inferred


def _check_channels(model: ir.Model) -> None:
    """Inference does not compare a convolution's weights with what it gets."""
    for node in model.graph:
        shapes = [[size if isinstance(size, int) else None for size in value.shape] if value is not None and value.shape
                  is not None else [] for value in node.inputs]  # fmt: skip
        if node.op_type != "Conv" or len(shapes) < 2 or len(shapes[0]) < 2 or len(shapes[1]) < 2:
            continue
        group = node.attributes["group"].as_int() if "group" in node.attributes else 1
        given, outputs, taken = shapes[0][1], shapes[1][0], shapes[1][1]
        bias = shapes[2][0] if len(shapes) > 2 and shapes[2] else outputs
        if None not in (given, taken) and given != (taken or 0) * group:
            raise CheckpointError(
                f"Conv {node.name!r}: weights of {taken} channels in {group} groups do not fit {given}"
            )
        if None not in (outputs, bias) and (bias != outputs or (outputs or 0) % group):
            raise CheckpointError(f"Conv {node.name!r}: {outputs} outputs, {bias} biases, {group} groups do not fit")


def input_size(model: ir.Model) -> tuple[int | None, int | None]:
    """Height and width of the picture where the file fixes them."""
    shape = model.graph.inputs[0].shape
    sizes: list[Any] = [None, None] if shape is None else [shape[2], shape[3]]
    height, width = (size if isinstance(size, int) and size > 0 else None for size in sizes)
    return height, width


def classes(model: ir.Model) -> int:
    """Scores that come out.

    Raises:
        CheckpointError: the output is not one row of scores a picture.
    """
    output = model.graph.outputs[0]
    dims = list(output.shape)[1:] if output.shape is not None else []
    sizes = [dim for dim in dims if isinstance(dim, int)]
    if not dims or len(sizes) != len(dims) or sum(size != 1 for size in sizes) > 1:
        raise CheckpointError(f"output {output.name!r} has shape {output.shape}, expected [N, classes]")
    return math.prod(sizes)
