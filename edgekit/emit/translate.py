"""From the nodes of a lowered or quantized graph to TFLite operators.

Every ONNX value has up to two tensors: int8 (from its QuantizeLinear on) and float32. A node runs on integers when all
that it reads has an int8 tensor and its result goes straight into one QuantizeLinear; otherwise it runs in float, and
DEQUANTIZE or QUANTIZE appear at the border. Channels move last: [N, C, H, W] is stored as [N, H, W, C].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.emit import kernels, turn
from edgekit.emit.flatbuffer import ModelBuilder
from edgekit.emit.reading import (
    DEQUANTIZE,
    QUANTIZE,
    Quantization,
    attribute,
    clip_limits,
    constant,
    dims,
    fused_activation,
    is_read,
    quantization_of,
    sole_user,
)
from edgekit.emit.values import INT8_MAX, OFFSET, Step, Tensor, Tuning, nhwc, pixel_quantization, stored
from edgekit.errors import GraphError

SHAPE_ONLY = frozenset({"Shape", "Expand", "Constant"})


class Translator:
    """Walks a graph once, in order. ``half`` stores float weights as float16."""

    def __init__(self, builder: ModelBuilder, half: bool, tuning: Tuning) -> None:
        self.builder = builder
        self.half = half
        self.tuning = tuning
        self.integers: dict[ir.Value, Tensor] = {}
        self.floats: dict[ir.Value, Tensor] = {}
        # DequantizeLinear's output -> the quantized value it reads.
        self.behind: dict[ir.Value, ir.Value] = {}
        # The int8 twin of a uint8 tensor, by the latter's index.
        self.shifted: dict[int, Tensor] = {}
        self.unsigned: set[int] = set()
        self.done: set[ir.Node] = set()
        # Whether rows and columns run backwards, and which tensors' channels do too (see edgekit.emit.turn).
        self.turned = False
        self.mirrored: set[int] = set()

    # -- graph ----------------------------------------------------------------------------------------------------

    def run(self, graph: ir.Graph) -> tuple[Tensor, Tensor]:
        """Translates everything; returns the tensors of the graph's input and output."""
        self.turned = self.tuning.half_turn and turn.pays(graph)
        source = self._input(graph.inputs[0])
        for node in graph:
            if node not in self.done:
                self._node(node)
        value = graph.outputs[0]
        result = self.integers.get(value) or self.float_of(value)
        return source, result

    def _input(self, value: ir.Value) -> Tensor:
        shape = dims(value)
        if value.dtype == ir.DataType.UINT8:
            pixels = pixel_quantization(value)
            tensor = Tensor(self.builder.tensor(str(value.name), shape, np.uint8, pixels), tuple(shape), pixels)
            self.integers[value] = self._turn(tensor, f"{value.name}_turned", np.uint8)
            self.unsigned.add(self.integers[value].index)
            return tensor
        shape = nhwc(shape)
        tensor = Tensor(self.builder.tensor(str(value.name), shape, np.float32), tuple(shape), None)
        self.floats[value] = self._turn(tensor, f"{value.name}_turned", np.float32)
        return tensor

    def _turn(self, picture: Tensor, name: str, dtype: Any) -> Tensor:
        """The picture by 180°, if the graph is turned: its bytes in reverse, which also reverses its channels.

        As one long axis: old TFLite runtimes take several axes of REVERSE_V2 without a word and reverse only one.
        """
        if not self.turned:
            return picture
        # Without quantization, XNNPACK leaves these three to LiteRT, which reshapes in place; with it, it would copy.
        plain = Tensor(picture.index, picture.shape, None)
        flat = self._reshaped(f"{name}_bytes", plain, (picture.shape[0], math.prod(picture.shape[1:])), dtype)
        index = self.builder.tensor(f"{name}_reversed", list(flat.shape), dtype)
        axis = self.builder.constant(f"{name}_axis", np.array([1], np.int32))
        kind = kernels.version("REVERSE_V2", picture.integer)
        self.builder.operator(kind, [flat.index, axis], [index], kernels.reverse())
        turned = self._reshaped(name, Tensor(index, flat.shape, None), picture.shape, dtype, picture.quantization)
        self.mirrored.add(turned.index)
        return turned

    def _reshaped(
        self, name: str, x: Tensor, shape: tuple[int, ...], dtype: Any, quantization: Quantization | None = None
    ) -> Tensor:
        index = self.builder.tensor(name, list(shape), dtype, quantization)
        to = [-1, *shape[1:]]
        inputs = [x.index, self.builder.constant(f"{name}_shape", np.array(to, np.int32))]
        self.builder.operator(kernels.version("RESHAPE", x.integer), inputs, [index], kernels.reshape(to))
        return Tensor(index, shape, quantization)

    def reshaped(self, name: str, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The same numbers under another shape, whose first dimension is the batch."""
        return self._reshaped(name, x, shape, np.int8 if x.integer else np.float32, x.quantization)

    def follow(self, old: Tensor, new: Tensor) -> Tensor:
        """``new`` has its channels in the order of ``old``."""
        if old.index in self.mirrored:
            self.mirrored.add(new.index)
        return new

    def _node(self, node: ir.Node) -> None:
        op = node.op_type
        if op in SHAPE_ONLY or all(constant(o) is not None for o in node.outputs):
            return
        if op == DEQUANTIZE:
            self._dequantize(node)
        elif op == QUANTIZE:
            self._quantize(node)
        elif op in ("Identity", "Flatten") or (op == "Transpose" and node.inputs[0] in self.integers):
            self._alias(node)
        elif op == "Cast":
            self._cast(node)
        else:
            self._compute(node)

    def _compute(self, node: ir.Node) -> None:
        from edgekit.emit.translations import TRANSLATIONS

        translate = TRANSLATIONS.get(node.op_type)
        if translate is None:
            raise GraphError(
                f"node {node.name!r}: {node.op_type} is outside the vocabulary that TFLite files are written from",
                hint="lower the graph first",
            )
        activation = fused_activation(node)
        results = [activation.outputs[0]] if activation is not None else list(node.outputs)
        code = kernels.NONE
        if activation is not None:
            code = self.activation_code(activation, results[0])
            if code is None:
                results, code = list(node.outputs), kernels.NONE
            else:
                self.done.add(activation)
        translate(self, Step(node, self.is_integer(node, results), results, code))

    def is_integer(self, node: ir.Node, results: list[ir.Value]) -> bool:
        inputs = [v for v in node.inputs if v is not None and constant(v) is None]
        if node.op_type in ("Conv", "Gemm"):
            weights = constant(node.inputs[1])
            if weights is not None and weights.quantization is None:
                return False  # kept in float, whatever lies around it
        reads = all(v in self.behind for v in inputs)
        used = [r for r in results if is_read(r)]
        users = [sole_user(r) for r in used]
        return reads and all(u is not None and u.op_type == QUANTIZE for u in users)

    # -- borders between integers and floats ------------------------------------------------------------------------

    def _dequantize(self, node: ir.Node) -> None:
        value = node.inputs[0]
        if not is_read(node.outputs[0]):
            return
        if value is None or value not in self.integers:
            raise GraphError(f"node {node.name!r} dequantizes a value that no QuantizeLinear made")
        self.behind[node.outputs[0]] = value

    def _quantize(self, node: ir.Node) -> None:
        value, result = node.inputs[0], node.outputs[0]
        if value is None or result in self.integers or not is_read(result):
            return
        target = stored(quantization_of(node))
        if value in self.behind:
            held = self.signed(self.behind[value])
            same = held.quantization is not None and held.quantization.same_as(target)
            self.integers[result] = held if same else self.requantize(held, target, str(result.name))
            return
        held = self.float_of(value)
        index = self.builder.tensor(str(result.name), list(held.shape), np.int8, target)
        self.builder.operator(kernels.version("QUANTIZE", False), [held.index], [index], kernels.quantize())
        self.integers[result] = Tensor(index, held.shape, target)

    def requantize(self, held: Tensor, target: Quantization, name: str) -> Tensor:
        index = self.builder.tensor(name, list(held.shape), np.int8, target)
        self.builder.operator(kernels.version("QUANTIZE", True), [held.index], [index], kernels.quantize())
        return Tensor(index, held.shape, target)

    def _alias(self, node: ir.Node) -> None:
        """Names for the same numbers: the front Transpose (TFLite is channels-last), Flatten of 1x1 maps."""
        value, result = node.inputs[0], node.outputs[0]
        if value is None:
            raise GraphError(f"node {node.name!r} has no input")
        if node.op_type == "Transpose" and attribute(node, "perm") != [0, 3, 1, 2]:
            raise GraphError(f"node {node.name!r}: only the Transpose from NHWC to NCHW at the input is known")
        if node.op_type == "Flatten" and dims(value)[2:] not in ([1, 1], []):
            raise GraphError(f"node {node.name!r}: Flatten of a {dims(value)} map, only 1x1 is known")
        if value in self.integers:
            self.integers[result] = self.integers[value]
        if value in self.floats:
            self.floats[result] = self.floats[value]
        if value in self.behind:
            self.behind[result] = self.behind[value]

    def _cast(self, node: ir.Node) -> None:
        value = node.inputs[0]
        if value is None or value not in self.integers:
            raise GraphError(f"node {node.name!r}: only the Cast of pixels to float is known")
        self.behind[node.outputs[0]] = value

    def signed(self, value: ir.Value) -> Tensor:
        """The int8 tensor of a quantized value; pixels arrive as uint8 and are shifted once."""
        held = self.integers[value]
        if held.quantization is None or held.index not in self.unsigned:
            return held
        if held.index not in self.shifted:
            self.shifted[held.index] = self.follow(held, self._shift(held, str(value.name)))
        return self.shifted[held.index]

    def _shift(self, held: Tensor, name: str) -> Tensor:
        """uint8 to int8. One QUANTIZE could do it, but XNNPACK only takes it from or to float; so through float."""
        if held.quantization is None:
            raise GraphError(f"value {name!r} has no quantization")
        target = held.quantization.shifted(-OFFSET)
        if self.tuning.pixels == "quantize":
            return self.requantize(held, target, f"{name}_int8")
        middle = self.temporary(f"{name}_float", held.shape, None)
        self.builder.operator(kernels.version("DEQUANTIZE", True), [held.index], [middle.index], kernels.dequantize())
        shifted = self.temporary(f"{name}_int8", held.shape, target)
        self.builder.operator(kernels.version("QUANTIZE", False), [middle.index], [shifted.index], kernels.quantize())
        return shifted

    def float_of(self, value: ir.Value) -> Tensor:
        """The float32 tensor of a value; written by a DEQUANTIZE where only integers exist."""
        if value in self.floats:
            return self.floats[value]
        if value not in self.behind:
            raise GraphError(f"value {value.name!r} is used before it is made")
        held = self.integers[self.behind[value]]
        index = self.builder.tensor(str(value.name), list(held.shape), np.float32)
        self.builder.operator(kernels.version("DEQUANTIZE", True), [held.index], [index], kernels.dequantize())
        self.floats[value] = self.follow(held, Tensor(index, held.shape, None))
        return self.floats[value]

    # -- what translations use ----------------------------------------------------------------------------------------

    def read(self, value: ir.Value | None, integer: bool) -> Tensor:
        if value is None:
            raise GraphError("an optional input is missing where one is needed")
        return self.signed(self.behind[value]) if integer else self.float_of(value)

    def result(self, value: ir.Value, shape: tuple[int, ...], integer: bool) -> Tensor:
        """A new tensor for what a node makes: int8 under its QuantizeLinear's name, or float32."""
        if not integer:
            tensor = Tensor(self.builder.tensor(str(value.name), list(shape), np.float32), shape, None)
            self.floats[value] = tensor
            return tensor
        node = sole_user(value)
        if node is None:
            raise GraphError(f"value {value.name!r} has no QuantizeLinear")
        q = stored(quantization_of(node))
        name = str(node.outputs[0].name)
        tensor = Tensor(self.builder.tensor(name, list(shape), np.int8, q), shape, q)
        self.integers[node.outputs[0]] = tensor
        return tensor

    def target(self, value: ir.Value) -> Quantization:
        """What an integer result will be quantized to."""
        node = sole_user(value)
        if node is None:
            raise GraphError(f"value {value.name!r} has no QuantizeLinear")
        return stored(quantization_of(node))

    def temporary(self, name: str, shape: tuple[int, ...], q: Quantization | None) -> Tensor:
        dtype: Any = np.float32 if q is None else np.int8
        return Tensor(self.builder.tensor(name, list(shape), dtype, q), shape, q)

    def adopt(self, value: ir.Value, tensor: Tensor) -> None:
        """Says that a node's result is this existing tensor."""
        if tensor.quantization is None:
            self.floats[value] = tensor
            return
        node = sole_user(value)
        if node is None:
            raise GraphError(f"value {value.name!r} has no QuantizeLinear")
        target = stored(quantization_of(node))
        result = node.outputs[0]
        same = tensor.quantization.same_as(target)
        self.integers[result] = tensor if same else self.requantize(tensor, target, str(result.name))

    def weights(self, name: str, data: NDArray[Any], q: Quantization | None, axis: int) -> int:
        """Index of a constant; float weights become float16 behind a DEQUANTIZE, which runtimes fold at load."""
        if q is not None or not self.half:
            return self.builder.constant(name, data, q, axis)
        stored_half = self.builder.constant(f"{name}_half", data.astype(np.float16))
        index = self.builder.tensor(name, list(data.shape), np.float32)
        self.builder.graph.tensors[index].shapeSignature = None
        self.builder.operator(
            kernels.version("DEQUANTIZE float16", False), [stored_half], [index], kernels.dequantize()
        )
        return index

    def activation_code(self, node: ir.Node, result: ir.Value) -> int | None:
        """TFLite's fused activation for a Relu or Clip; NONE where the output's own range implies it; else None."""
        limits = clip_limits(node)
        user = sole_user(result)
        if user is not None and user.op_type == QUANTIZE:
            q = stored(quantization_of(user))
            low = (-OFFSET - q.zero_point) * float(q.scale[0])
            high = (INT8_MAX - q.zero_point) * float(q.scale[0])
            if limits[0] <= low and high <= limits[1]:
                return int(kernels.NONE)
        known = {
            (0.0, float("inf")): kernels.RELU,
            (0.0, 6.0): kernels.RELU6,
            (-1.0, 1.0): kernels.RELU_N1_TO_1,
            (float("-inf"), float("inf")): kernels.NONE,
        }
        return known.get(limits)
