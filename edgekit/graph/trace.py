"""ONNX graph → network: follows every channel through the graph and keeps only the layers that compute.

The trace interprets the graph once, in order, with three kinds of values: constants (evaluated with ONNX's own
reference implementation), element numbers (see :mod:`edgekit.graph.movement`) and the layers that make new elements
(see :mod:`edgekit.graph.operators`). Shapes come out on the way, so no shape inference is needed.

Refuses, with :class:`~edgekit.errors.GraphError` naming the node, when

1. an operator is none of movement, constant or one that :mod:`edgekit.graph.operators` knows;
2. pixels move (space to depth, a transposed image): a convolution would read something that is no plain channel;
3. an operand that must be constant is computed from the picture.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import GraphError
from edgekit.graph import movement
from edgekit.graph.movement import LOWEST, ZERO, Ids
from edgekit.graph.network import Kind, Layer, Network, Wires

_BITS = 32  # an element number is (layer << 32) + its position in the layer's [C, H, W]
_MASK = (1 << _BITS) - 1


class Tracer:
    """State of one trace: the layers found so far, and what each value of the graph is."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.shared: dict[tuple[Any, ...], int] = {}  # elementwise layers already made, so that twins become one
        self.names: set[str] = set()

    def add(self, layer: Layer) -> Ids:
        """Appends a layer; returns the element numbers of its output, ``[1, C, H, W]``."""
        name, n = layer.name, 1
        while layer.name in self.names:
            n += 1
            layer.name = f"{name}_{n}"
        self.names.add(layer.name)
        self.layers.append(layer)
        size = layer.channels * layer.height * layer.width
        base = (len(self.layers) - 1) << _BITS
        return (base + np.arange(size, dtype=np.int64)).reshape(1, layer.channels, layer.height, layer.width)

    def split(self, ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(layer, channel) of each element; meaningless where the element is padding."""
        source = ids >> _BITS
        area = np.array([layer.height * layer.width for layer in self.layers], dtype=np.int64)
        return source, (ids & _MASK) // area[source]

    def channels(self, ids: Ids, node: ir.Node) -> tuple[Wires, tuple[int, int, int, int], bool]:
        """Reads ``ids`` as channels of an image.

        Returns:
            wires ``[C, 2]``; the zero or lowest-value pixels around them (top, left, bottom, right); and whether that
            padding is of the lowest value.

        Raises:
            GraphError: the elements are not whole channels in their own pixel order (rule 2).
        """
        where = f"{node.op_type} '{node.name}'"
        if ids.ndim == 2:
            ids = ids[:, :, None, None]
        if ids.ndim != 4 or ids.shape[0] != 1:
            raise GraphError(f"{where}: its input of shape {list(ids.shape)} is no picture")
        padding = ids < 0
        pads = (0, 0, 0, 0)
        lowest = False
        if padding.any():
            rows, columns = np.flatnonzero(~padding.all((0, 1, 3))), np.flatnonzero(~padding.all((0, 1, 2)))
            if not len(rows):
                raise GraphError(f"{where} reads nothing but padding")
            top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
            pads = (int(top), int(left), int(ids.shape[2] - bottom), int(ids.shape[3] - right))
            kinds = set(np.unique(ids[padding]).tolist())
            ids = ids[:, :, top:bottom, left:right]
            if (ids < 0).any() or kinds not in ({ZERO}, {LOWEST}):
                raise GraphError(f"{where}: padding between channels or of two values is not supported")
            lowest = kinds == {LOWEST}
        source, channel = self.split(ids[0])
        wires = np.stack([source[:, 0, 0], channel[:, 0, 0]], axis=1)
        height, width = ids.shape[2:]
        for index in np.unique(wires[:, 0]):
            if (self.layers[index].height, self.layers[index].width) != (height, width):
                raise GraphError(f"{where} reads part of the pixels of '{self.layers[index].name}'")
        expected = (wires[:, 0] << _BITS) + wires[:, 1] * (height * width)
        if np.any(ids[0].reshape(len(wires), -1) != expected[:, None] + np.arange(height * width)):
            raise GraphError(f"{where} reads pixels that an earlier operator rearranged, not only channels")
        return wires, pads, lowest

    def elementwise(self, ids: Ids, kind: Kind, limits: tuple[float, float] = (0.0, 0.0), label: str = "") -> Ids:
        """Applies an activation to each *source* of ``ids`` and moves the result as ``ids`` was moved.

        An activation works on each element alone, so it commutes with any movement; applied at the source it fuses
        with the convolution that made it.
        """
        source = ids >> _BITS
        renamed = np.arange(len(self.layers), dtype=np.int64)
        for index in np.unique(source[ids >= 0]):
            renamed[index] = self._twin(int(index), kind, limits, label)
        return np.where(ids >= 0, (renamed[np.maximum(source, 0)] << _BITS) + (ids & _MASK), ids)

    def _twin(self, index: int, kind: Kind, limits: tuple[float, float], label: str) -> int:
        key = (kind, index, limits)
        if key not in self.shared:
            of = self.layers[index]
            wires = np.stack([np.full(of.channels, index), np.arange(of.channels)], axis=1)
            self.add(
                Layer(f"{of.name}.{label or kind}", kind, [wires], of.channels, of.height, of.width, limits=limits)
            )
            self.shared[key] = len(self.layers) - 1
        return self.shared[key]

    def affine(self, ids: Ids, scale: NDArray[Any], shift: NDArray[Any], node: ir.Node) -> Ids:
        """scale·x + shift with constants that broadcast to ``ids``; they must be the same all over a channel.

        Raises:
            GraphError: the constants change the shape, vary within a channel, or would change padding.
        """
        where = f"{node.op_type} '{node.name}'"
        try:
            scales, shifts = np.broadcast_to(scale, ids.shape), np.broadcast_to(shift, ids.shape)
        except ValueError as error:
            raise GraphError(f"{where}: its constant does not fit its input ({error})") from error
        real = ids >= 0
        if np.any(shifts[~real]):
            raise GraphError(f"{where} adds to padding")
        source, channel = self.split(np.where(real, ids, 0))
        per_source: dict[int, list[NDArray[np.float64]]] = {}
        for index in np.unique(source[real]).tolist():
            of = self.layers[index]
            here = real & (source == index)
            per_source[index] = [np.ones(of.channels), np.zeros(of.channels)]
            for values, filled in zip((scales, shifts), per_source[index], strict=True):
                filled[channel[here]] = values[here]
                if np.any(filled[channel[here]] != values[here]):
                    return self._affine_of_copies(ids, scales, shifts, node)
        result = ids.copy()
        for index, (scale, shift) in per_source.items():
            of = self.layers[index]
            wires = np.stack([np.full(of.channels, index), np.arange(of.channels)], axis=1)
            name = f"{of.name}.{node.op_type.lower()}"
            self.add(Layer(name, "affine", [wires], of.channels, of.height, of.width, scale=scale, bias=shift))
            here = real & (source == index)
            result[here] = ((len(self.layers) - 1) << _BITS) + (ids[here] & _MASK)
        return result

    def _affine_of_copies(self, ids: Ids, scales: NDArray[Any], shifts: NDArray[Any], node: ir.Node) -> Ids:
        """As :meth:`affine` where a channel appears twice, each time with its own constants: a 1×1 depthwise conv."""
        wires, pads, _ = self.channels(ids, node)
        where = f"{node.op_type} '{node.name}'"
        if ids.ndim != 4 or any(pads):
            raise GraphError(f"{where}: its constant varies within a channel")
        per_channel = [values[0].reshape(len(wires), -1) for values in (scales, shifts)]
        if any(np.any(values != values[:, :1]) for values in per_channel):
            raise GraphError(f"{where}: its constant varies within a channel")
        scale, shift = (values[:, 0].astype(np.float64).copy() for values in per_channel)
        of = self.layers[int(wires[0, 0])]
        weight = scale.reshape(-1, 1, 1, 1)
        return self.add(
            Layer(
                node.name or node.op_type,
                "conv",
                [wires],
                len(wires),
                of.height,
                of.width,
                weight,
                shift,
                groups=len(wires),
            )
        )

    def pairs(self, a: Ids, b: Ids) -> list[tuple[int, int]] | None:
        """The layers that meet when ``a`` and ``b`` are combined, if both were moved in the same way; else None."""
        if a.shape != b.shape or np.any((a & _MASK) != (b & _MASK)) or np.any(a < 0) or np.any(b < 0):
            return None
        met = np.unique(np.stack([a.ravel() >> _BITS, b.ravel() >> _BITS], axis=1), axis=0)
        pairs = [(int(s), int(t)) for s, t in met]
        alike = all(_shape(self.layers[s]) == _shape(self.layers[t]) for s, t in pairs)
        return pairs if alike and len({s for s, _ in pairs}) == len(pairs) else None

    def renamed(self, ids: Ids, new: dict[int, int]) -> Ids:
        table = np.arange(len(self.layers), dtype=np.int64)
        for old, index in new.items():
            table[old] = index
        return cast(Ids, (table[ids >> _BITS] << _BITS) + (ids & _MASK))


def _shape(layer: Layer) -> tuple[int, int, int]:
    return layer.channels, layer.height, layer.width


def _constant(node: ir.Node, operands: list[NDArray[Any] | None], opset: int) -> list[NDArray[Any]]:
    """Evaluates a node whose inputs are all constant with ONNX's reference implementation."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    proto = ir.to_proto(node)
    inputs = [name for name in proto.input if name]
    graph = onnx.helper.make_graph(
        [proto],
        "constant",
        [onnx.helper.make_value_info(n, onnx.TypeProto()) for n in dict.fromkeys(inputs)],
        [onnx.helper.make_value_info(n, onnx.TypeProto()) for n in proto.output],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    feeds: dict[str, Any] = {v.name or "": x for v, x in zip(node.inputs, operands, strict=True) if v is not None}
    try:
        return [np.asarray(v) for v in ReferenceEvaluator(model).run(None, feeds)]
    except Exception as error:  # the evaluator raises whatever numpy does
        raise GraphError(f"{node.op_type} '{node.name}': cannot be evaluated ({error})") from error


def trace(model: ir.Model, height: int, width: int) -> Network:
    """Follows the channels of ``model`` on one picture of ``height`` × ``width`` pixels.

    Args:
        model: one float32 input ``[N, 3, H, W]``; the first output is taken as ``[N, classes]`` scores.
        height, width: used where the graph leaves them open, in pixels.

    Raises:
        GraphError: see the module's rules.
    """
    from edgekit.graph.integers import INTEGER_OPERATORS, stored
    from edgekit.graph.operators import OPERATORS

    known = {**OPERATORS, **INTEGER_OPERATORS}
    graph, tracer = model.graph, Tracer()
    opset = model.opset_imports.get("") or 18
    pictures = [v for v in graph.inputs if v.name not in graph.initializers]
    if len(pictures) != 1 or not graph.outputs:
        raise GraphError(
            f"the graph has {len(pictures)} inputs and {len(graph.outputs)} outputs, an image classifier one each"
        )
    shape = [d if isinstance(d, int) and d > 0 else None for d in (pictures[0].shape or [None] * 4)]
    if len(shape) != 4 or shape[1] not in (None, 3):
        raise GraphError(f"input '{pictures[0].name}' of shape {pictures[0].shape} is no [N, 3, H, W] picture")
    ids: dict[ir.Value, Ids] = {
        pictures[0]: tracer.add(Layer("image", "input", [], 3, shape[2] or height, shape[3] or width))
    }
    consts: dict[ir.Value, NDArray[Any]] = {}
    for value in graph.initializers.values():
        if value.const_value is None:
            raise GraphError(f"initializer '{value.name}' has no value")
        consts[value] = value.const_value.numpy()
    for node in graph:
        held = [None if v is None else consts.get(v) for v in node.inputs]
        moved = [None if v is None else ids.get(v) for v in node.inputs]
        unknown = [
            v.name
            for v, c, m in zip(node.inputs, held, moved, strict=True)
            if v is not None and c is None and m is None
        ]
        if unknown:
            raise GraphError(f"{node.op_type} '{node.name}' reads '{unknown[0]}', which nothing defines")
        if all(m is None for m in moved):
            made = [stored(node, held)] if node.op_type == "DequantizeLinear" else _constant(node, held, opset)
            consts.update(zip(node.outputs, made, strict=False))
        elif node.op_type == "Shape" and moved[0] is not None:
            start, end = movement.attribute(node, "start", 0), movement.attribute(node, "end")
            consts[node.outputs[0]] = np.array(moved[0].shape[slice(start, end)], dtype=np.int64)
        elif node.op_type in movement.MOVEMENT and node.domain in ("", "ai.onnx"):
            ids.update(zip(node.outputs, movement.move(node, moved, held), strict=False))
        elif node.op_type in known and (node.domain in ("", "ai.onnx") or node.op_type in INTEGER_OPERATORS):
            ids[node.outputs[0]] = known[node.op_type](tracer, node, moved, held)
        else:
            raise GraphError(
                f"operator {node.domain or 'ai.onnx'}.{node.op_type} ('{node.name}') is not a plain classifier's",
                hint="export the network in float, for inference",
            )
    final = ids.get(graph.outputs[0])
    if final is None or final.size == 0 or final.shape[0] != 1 or any(d != 1 for d in final.shape[2:]):
        raise GraphError(f"output '{graph.outputs[0].name}' is no [N, classes] table of scores")
    source, channel = tracer.split(final.ravel())
    return Network(tracer.layers, np.stack([source, channel], axis=1))
