"""Which operators a model file holds, read off its bytes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from edgekit.errors import GraphError

_TFLITE_IDENTIFIER = b"TFL3"


def census(content: bytes) -> dict[str, int]:
    """Operator name → how many, most frequent first, of an ONNX or a TFLite file.

    Constants stored as float16 behind a Cast or DEQUANTIZE are not counted: they are folded when the file is loaded.

    Raises:
        GraphError: neither format.
    """
    names = _tflite(content) if content[4:8] == _TFLITE_IDENTIFIER else _onnx(content)
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _onnx(content: bytes) -> list[str]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load_from_string(content).graph
    except DecodeError as error:
        raise GraphError("these bytes are neither an ONNX nor a TFLite model") from error
    constants = {t.name for t in graph.initializer}
    return [n.op_type for n in graph.node if not (n.op_type == "Cast" and n.input[0] in constants)]


def builtin_names() -> dict[int, str]:
    """TFLite's builtin operators by code."""
    from ai_edge_litert import schema_py_generated as schema

    return {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def read_tflite(content: bytes) -> Any:
    """The model table of a TFLite file, as the schema's object."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def _tflite(content: bytes) -> list[str]:
    model, names = read_tflite(content), builtin_names()
    graph = model.subgraphs[0]
    found = []
    for op in graph.operators:
        name = names[model.operatorCodes[op.opcodeIndex].builtinCode]
        source = graph.tensors[op.inputs[0]]
        if name != "DEQUANTIZE" or model.buffers[source.buffer].data is None:
            found.append(name)
    return found
