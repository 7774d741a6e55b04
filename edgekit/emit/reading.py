"""How the emitters read a graph: constants, quantization parameters, and which activation belongs to which kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import GraphError

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
WITH_ACTIVATION = frozenset({"Conv", "Gemm", "Add"})
ACTIVATIONS = frozenset({"Relu", "Clip"})


@dataclass(frozen=True, eq=False)
class Quantization:
    """real = (integer - zero_point) * scale; ``scale`` is float32 [1], or [channels] with ``zero_point`` 0."""

    scale: NDArray[np.float32]
    zero_point: int

    def same_as(self, other: Quantization) -> bool:
        return self.zero_point == other.zero_point and np.array_equal(self.scale, other.scale)

    def shifted(self, by: int) -> Quantization:
        """The same real numbers for integers that are ``by`` larger (int8 of uint8: -128)."""
        return Quantization(self.scale, self.zero_point + by)


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant as it will be stored: integers with their quantization, or float32 with None."""

    data: NDArray[Any]
    quantization: Quantization | None

    def real(self) -> NDArray[np.float32]:
        if self.quantization is None:
            return self.data.astype(np.float32)
        scale = self.quantization.scale
        if scale.size > 1:
            scale = scale.reshape((-1,) + (1,) * (self.data.ndim - 1))
        return ((self.data.astype(np.float32) - self.quantization.zero_point) * scale).astype(np.float32)


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """The value of an attribute; lists come back as lists of int."""
    found = node.attributes.get(name)
    if found is None:
        return default
    value = found.value
    return list(value) if isinstance(value, (list, tuple)) or type(value).__name__ == "tuple" else value


def array(value: ir.Value | None) -> NDArray[Any] | None:
    """The numbers of an initializer, or None for anything that is computed."""
    if value is None or value.const_value is None:
        return None
    return np.asarray(value.const_value.numpy())


def quantization_of(node: ir.Node) -> Quantization:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear.

    Raises:
        GraphError: they are computed, or a per-channel zero point is not 0.
    """
    scale = array(node.inputs[1])
    if scale is None:
        raise GraphError(f"{node.name}: the scale of {node.op_type} is computed, not constant")
    zero = array(node.inputs[2]) if len(node.inputs) > 2 else None
    zeros = np.zeros(1, np.int64) if zero is None else zero.astype(np.int64).ravel()
    if zeros.size > 1 and zeros.any():
        raise GraphError(f"{node.name}: per-channel zero points other than 0 cannot be expressed in TFLite")
    return Quantization(scale.astype(np.float32).ravel(), int(zeros[0]))


def constant(value: ir.Value | None) -> Constant | None:
    """A weight, bias or border: an initializer, or one seen through Q, DQ, Identity or Expand; None if computed."""
    if value is None:
        return None
    data = array(value)
    if data is not None:
        return Constant(data, None)
    node = value.producer()
    if node is None or node.op_type not in (QUANTIZE, DEQUANTIZE, "Expand", "Identity"):
        return None
    inner = constant(node.inputs[0])
    if inner is None:
        return None
    if node.op_type == DEQUANTIZE and inner.quantization is None:
        return Constant(inner.data, quantization_of(node))
    if node.op_type == QUANTIZE and inner.quantization is None:
        q = quantization_of(node)
        zero = array(node.inputs[2])
        dtype = np.uint8 if zero is None else zero.dtype
        limits = np.iinfo(dtype)
        integers = np.clip(np.round(inner.data / q.scale) + q.zero_point, limits.min, limits.max)
        return Constant(integers.astype(dtype), None)
    return inner


def sole_user(value: ir.Value) -> ir.Node | None:
    """The only node that reads a value; None if there are several, none, or the value leaves the graph."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def is_read(value: ir.Value) -> bool:
    """Whether anything but quantization depends on a value."""
    if value.is_graph_output():
        return True
    nodes = [use.node for use in value.uses()]
    return any(n.op_type not in (QUANTIZE, DEQUANTIZE) or is_read(n.outputs[0]) for n in nodes)


def fused_activation(node: ir.Node) -> ir.Node | None:
    """The Relu or Clip that runs inside a kernel of ``node``."""
    if node.op_type not in WITH_ACTIVATION:
        return None
    user = sole_user(node.outputs[0])
    return user if user is not None and user.op_type in ACTIVATIONS else None


def clip_limits(node: ir.Node) -> tuple[float, float]:
    """What a Relu or Clip limits its output to."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    limits = [float("-inf"), float("inf")]
    for i in (1, 2):
        found = constant(node.inputs[i]) if len(node.inputs) > i and node.inputs[i] is not None else None
        if found is not None:
            limits[i - 1] = float(found.real().ravel()[0])
    return limits[0], limits[1]


def dims(value: ir.Value) -> list[int]:
    """Static dimensions with N as 1.

    Raises:
        GraphError: the shape is unknown, or more than the first dimension is symbolic.
    """
    if value.shape is None:
        raise GraphError(f"value {value.name!r} has no shape", hint="run shape inference before emitting")
    out = [d if isinstance(d, int) else 1 for d in value.shape]
    if any(not isinstance(d, int) for d in list(value.shape)[1:]):
        raise GraphError(f"value {value.name!r} has the shape {value.shape}: only the first may be open")
    return out


def output_quantization(graph: ir.Graph) -> Quantization | None:
    """Quantization of the scores (uint8 numbers), or None where they are float32."""
    producer = graph.outputs[0].producer()
    return quantization_of(producer) if producer is not None and producer.op_type == QUANTIZE else None
