"""The TFLite file format: tensors and operators in, flatbuffer bytes out.

Tables come from the schema that ships with LiteRT; TensorFlow is not needed. Everything is written in the order it
was added, so the same calls give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgekit.emit.reading import Quantization

_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}
# Readers map the file and use its arrays in place; the schema asks for this alignment, its Python code ignores it.
_ALIGNMENT = 16
_SCHEMA_VERSION = 3
_MAX_UNEXTENDED_CODE = 127


@dataclass(frozen=True)
class OperatorVersion:
    """A builtin operator at the version its inputs ask for, and the first TensorFlow release that runs it."""

    code: int
    version: int
    release: tuple[int, int, int]


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    def Pack(self, builder: Any) -> Any:  # noqa: N802 (the schema's own name)
        offset = None
        if self.data is not None:
            raw = bytes(self.data)
            builder.StartVector(1, len(raw), _ALIGNMENT)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            offset = builder.EndVector()
        schema.BufferStart(builder)
        if offset is not None:
            schema.BufferAddData(builder, offset)
        return schema.BufferEnd(builder)


class ModelBuilder:
    """Collects one subgraph. Tensors and operators are named by index, in the order of their creation."""

    def __init__(self, description: str) -> None:
        self.model = schema.ModelT()
        self.model.version = _SCHEMA_VERSION
        self.model.description = description
        self.model.buffers = [_AlignedBuffer()]
        self.model.operatorCodes = []
        self.model.metadata = []
        self.graph = schema.SubGraphT()
        self.graph.name = "main"
        self.graph.tensors = []
        self.graph.operators = []
        self.model.subgraphs = [self.graph]
        self.release = (1, 5, 0)
        self._codes: dict[OperatorVersion, int] = {}
        self._buffers: dict[bytes, int] = {}
        self._names: dict[str, int] = {}

    def tensor(
        self,
        name: str,
        shape: list[int],
        dtype: Any,
        quantization: Quantization | None = None,
        axis: int = 0,
        data: NDArray[Any] | None = None,
    ) -> int:
        """Adds a tensor; without ``data`` its first dimension is the batch, and may be resized. Returns its index."""
        t = schema.TensorT()
        t.name = self._unique(name)
        t.shape = [int(d) for d in shape]
        t.type = _TYPES[np.dtype(dtype)]
        t.buffer = 0
        if data is not None:
            t.buffer = self._buffer(np.ascontiguousarray(data).tobytes())
        elif len(shape) > 1:
            t.shapeSignature = [-1, *t.shape[1:]]
        if quantization is not None:
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale = [float(s) for s in quantization.scale]
            t.quantization.zeroPoint = [int(quantization.zero_point)] * len(quantization.scale)
            t.quantization.quantizedDimension = axis
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, data: NDArray[Any], quantization: Quantization | None = None, axis: int = 0) -> int:
        return self.tensor(name, list(data.shape), data.dtype, quantization, axis, data)

    def operator(
        self, kind: OperatorVersion, inputs: list[int], outputs: list[int], options: tuple[int, Any] | None = None
    ) -> None:
        """Adds an operator; ``options`` is its BuiltinOptions code and the options object."""
        if kind not in self._codes:
            code = schema.OperatorCodeT()
            code.builtinCode = kind.code
            code.deprecatedBuiltinCode = min(kind.code, _MAX_UNEXTENDED_CODE)
            code.version = kind.version
            self._codes[kind] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(code)
        self.release = max(self.release, kind.release)
        op = schema.OperatorT()
        op.opcodeIndex = self._codes[kind]
        op.inputs, op.outputs = inputs, outputs
        if options is not None:
            op.builtinOptionsType, op.builtinOptions = options
        self.graph.operators.append(op)

    def metadata(self, name: str, data: bytes) -> None:
        entry = schema.MetadataT()
        entry.name = name
        entry.buffer = self._buffer(data)
        self.model.metadata.append(entry)

    def finish(self, inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
        """The file, with one signature ``serving_default`` that names its inputs and outputs."""
        self.graph.inputs, self.graph.outputs = list(inputs.values()), list(outputs.values())
        signature = schema.SignatureDefT()
        signature.signatureKey = "serving_default"
        signature.subgraphIndex = 0
        signature.inputs = [_tensor_map(k, v) for k, v in inputs.items()]
        signature.outputs = [_tensor_map(k, v) for k, v in outputs.items()]
        self.model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _unique(self, name: str) -> str:
        n = self._names.get(name, 0)
        self._names[name] = n + 1
        return name if n == 0 else self._unique(f"{name}_{n}")

    def _buffer(self, data: bytes) -> int:
        """Equal bytes are stored once."""
        if data not in self._buffers:
            buffer = _AlignedBuffer()
            buffer.data = data
            self._buffers[data] = len(self.model.buffers)
            self.model.buffers.append(buffer)
        return self._buffers[data]


def _tensor_map(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry
