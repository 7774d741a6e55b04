"""Reads a TFLite file with the runtime's own schema: tensors, operators, metadata, and what each operator costs."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from dataclasses import dataclass, field
from typing import Any

from edgekit.errors import EngineError, GraphError
from edgekit.report.work import OperatorCost

_IDENTIFIER = b"TFL3"
_KINDS = {"CONV_2D": "Conv", "DEPTHWISE_CONV_2D": "Conv depthwise", "FULLY_CONNECTED": "Gemm"}
_FREE = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """An input or output: dtype, shape with −1 where it may change, scale and zero point where it is an integer."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class TfliteFacts:
    """What a TFLite file holds; ``operators`` in order, ``files`` are those zipped behind the model."""

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    operators: tuple[str, ...]
    costs: tuple[OperatorCost, ...]
    metadata: dict[str, str]
    files: dict[str, str]
    description: str
    weights: frozenset[str] = field(default_factory=frozenset)


def is_tflite(content: bytes) -> bool:
    return content[4:8] == _IDENTIFIER


def read(content: bytes, where: str) -> TfliteFacts:
    """Reads a file's bytes; ``where`` names it in errors.

    Raises:
        GraphError: not a TFLite file, or a damaged one.
        EngineError: LiteRT, whose schema is used, is not installed.
    """
    if not is_tflite(content):
        raise GraphError(f"{where}: not a TFLite file", hint="a .tflite file holds 'TFL3' at its fifth byte")
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise EngineError(f"{where}: reading TFLite files needs LiteRT", hint="pip install ai-edge-litert") from error
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        return _facts(model, schema, content)
    except (struct.error, IndexError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise GraphError(f"{where}: the file is damaged: {error}", hint="copy it again") from error


def _facts(model: Any, schema: Any, content: bytes) -> TfliteFacts:
    graph = model.subgraphs[0]
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    dtypes = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
    operators, costs, weights = [], [], set()
    constants = {i for i, tensor in enumerate(graph.tensors) if _is_stored(model, tensor)}
    for op in graph.operators:
        code = model.operatorCodes[op.opcodeIndex]
        # Files of before 2020 keep the code in a byte that cannot hold the later ones.
        name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")
        name = _text(code.customCode) or name if name == "CUSTOM" else name
        if name == "DEQUANTIZE" and op.inputs[0] in constants:
            # A constant kept as float16: undone once, when the file is loaded.
            weights.add(dtypes[graph.tensors[op.inputs[0]].type])
            constants.add(op.outputs[0])
            continue
        operators.append(name)
        costs.append(_cost(name, op, graph.tensors, constants))
        if name in _KINDS:
            weights.add(dtypes[graph.tensors[op.inputs[1]].type])
    return TfliteFacts(
        tuple(_tensor(graph.tensors[i], dtypes) for i in graph.inputs),
        tuple(_tensor(graph.tensors[i], dtypes) for i in graph.outputs),
        tuple(operators),
        tuple(costs),
        {
            _text(entry.name): _printable(bytes(model.buffers[entry.buffer].data))
            for entry in model.metadata or []
            if model.buffers[entry.buffer].data is not None
        },
        _attached(content),
        _text(model.description),
        frozenset(weights),
    )


def _cost(name: str, op: Any, tensors: Any, stored: set[int]) -> OperatorCost:
    """Multiply-accumulates: output elements × one output's weights (CONV_2D and FULLY_CONNECTED keep outputs first)."""
    output = tensors[op.outputs[0]]
    weighted = name in _KINDS
    shape = [int(size) for size in tensors[op.inputs[1]].shape] if weighted else []
    macs = 0
    if weighted:
        macs = _elements(output) * math.prod(shape[1:3] if name == "DEPTHWISE_CONV_2D" else shape[1:])
    kind = _KINDS.get(name, name)
    if name == "CONV_2D" and shape[1:3] == [1, 1]:
        kind = "Conv 1×1"
    free = name in _FREE
    read = sum(_elements(tensors[i]) for i in op.inputs if i >= 0 and i not in stored)
    return OperatorCost(
        _text(output.name),
        kind,
        macs,
        math.prod(shape) if weighted else 0,
        _elements(tensors[op.inputs[2]]) if weighted and len(op.inputs) > 2 and op.inputs[2] >= 0 else 0,
        0 if free else read,
        0 if free else sum(_elements(tensors[i]) for i in op.outputs),
        output.quantization is not None and output.quantization.scale is not None,
    )


def _elements(tensor: Any) -> int:
    return math.prod(int(size) for size in tensor.shape)


def _is_stored(model: Any, tensor: Any) -> bool:
    return model.buffers[tensor.buffer].data is not None


def _tensor(tensor: Any, dtypes: dict[int, str]) -> TensorFacts:
    signature = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    own = tensor.quantization
    scaled = own is not None and own.scale is not None and len(own.scale) == 1
    return TensorFacts(
        _text(tensor.name),
        dtypes[tensor.type],
        tuple(int(size) for size in signature),
        float(own.scale[0]) if scaled else None,
        int(own.zeroPoint[0]) if scaled and own.zeroPoint is not None else None,
    )


def _attached(content: bytes) -> dict[str, str]:
    """Text files zipped behind the model, as TFLite's metadata tools put them."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: _printable(archive.read(name)) for name in archive.namelist()[:16]}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError):
        return {}


def _printable(data: bytes) -> str:
    try:
        found = data.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        return f"{len(data)} bytes"
    return found if found.isprintable() or "\n" in found or "\t" in found else f"{len(data)} bytes"


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
