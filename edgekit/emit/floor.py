"""The floor under a graph's latency: its convolutions alone.

What a runtime would need if moving channels were free. Every convolution of the graph, with its own weights and its
activation, is chained onto the latest tensor that has the shape it reads. Split, Concat, Add and explicit pads are
gone; only where nothing of the needed shape exists (a stage's end, whose channels are several convolutions' together)
are the latest tensors of that size joined, the last of them cut to measure. Pools and the classifier stay, so that
the file takes pictures and gives scores. Its numbers mean nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from edgekit.emit.reading import DEQUANTIZE, QUANTIZE, attribute, dims
from edgekit.errors import GraphError


def floor_graph(model: ir.Model) -> ir.Model:
    """The convolutions of a lowered or QDQ graph in a chain; ``model`` is left as it was.

    Raises:
        GraphError: no tensors can be put together to the shape that a convolution reads.
    """
    model = model.clone()
    graph = model.graph
    chain = _Chain(graph)
    for node in list(graph):
        if node.op_type in ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool"):
            chain.link(node)
    _prune(graph)
    return model


class _Chain:
    """The values made so far that a convolution may read, latest last: as its kernel reads them (dequantized)."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.made: list[ir.Value] = []
        self.read: set[ir.Value] = set()

    def link(self, node: ir.Node) -> None:
        source = node.inputs[0]
        if source is None:
            raise GraphError(f"node {node.name!r} has no input")
        shape = dims(source)
        if self.made:
            node.replace_input_with(0, self._stand_in(node, shape))
        if node.op_type == "Conv" or node.op_type.endswith("Pool"):
            _end_aligned(node)
        self.made.append(_as_read(node.outputs[0]))

    def _stand_in(self, node: ir.Node, shape: list[int]) -> ir.Value:
        # Unread ones first, so that no convolution is left without a reader and dropped.
        made = sorted(reversed(self.made), key=self.read.__contains__)
        for value in made:
            if dims(value) == shape:
                self.read.add(value)
                return value
        parts: list[ir.Value] = []
        missing = shape[1]
        for value in made:
            have = dims(value)
            if have[2:] == shape[2:] and have[1] <= missing:
                parts.append(value)
                missing -= have[1]
        if missing:
            left = [v for v in made if v not in parts]
            whole = next((v for v in left if dims(v)[2:] == shape[2:] and dims(v)[1] > missing), None)
            if whole is None:
                raise GraphError(f"node {node.name!r}: nothing before it can stand in for its input {shape}")
            self.read.add(whole)
            parts.append(self._cut(node, whole, missing))
        self.read.update(parts)
        return self._join(node, parts, shape) if len(parts) > 1 else parts[0]

    def _cut(self, node: ir.Node, value: ir.Value, channels: int) -> ir.Value:
        """The first channels of a value, quantized as it is."""
        have = dims(value)
        sizes = ir.Value(
            name=f"{node.name}.floor.sizes",
            shape=ir.Shape([2]),
            type=ir.TensorType(ir.DataType.INT64),
            const_value=ir.tensor(np.array([channels, have[1] - channels], np.int64)),
        )
        self.graph.register_initializer(sizes)
        outs = [
            ir.Value(
                name=f"{node.name}.floor.part{i}",
                shape=ir.Shape([1, c, *have[2:]]),
                type=ir.TensorType(ir.DataType.FLOAT),
            )
            for i, c in enumerate((channels, have[1] - channels))
        ]
        self.graph.insert_before(
            node, ir.node("Split", [value, sizes], {"axis": 1}, outputs=outs, name=f"{node.name}.floor.split")
        )
        return self._quantized_like(node, outs[0], value, [1, channels, *have[2:]], f"{node.name}.floor.part0")

    def _quantized_like(self, node: ir.Node, value: ir.Value, like: ir.Value, shape: list[int], name: str) -> ir.Value:
        """``value`` through Q and DQ with the scale of ``like``, if that has one."""
        source = like.producer()
        if source is None or source.op_type != DEQUANTIZE:
            return value
        scale, zero = source.inputs[1], source.inputs[2]
        q = self._insert(node, QUANTIZE, [value, scale, zero], f"{name}.q", shape, {})
        q.type = ir.TensorType(ir.DataType.UINT8)
        return self._insert(node, DEQUANTIZE, [q, scale, zero], f"{name}.dq", shape, {})

    def _join(self, node: ir.Node, parts: list[ir.Value], shape: list[int]) -> ir.Value:
        """A Concat; quantized like its first part, if that is."""
        joined = self._insert(node, "Concat", parts, f"{node.name}.floor", shape, {"axis": 1})
        source = parts[0].producer()
        if source is not None and source.op_type == DEQUANTIZE:
            for part in parts:
                _requantize(part, source.inputs[1], source.inputs[2])
        value = self._quantized_like(node, joined, parts[0], shape, f"{node.name}.floor")
        self.made.append(value)
        return value

    def _insert(
        self, before: ir.Node, op: str, inputs: list[Any], name: str, shape: list[int], attributes: dict[str, Any]
    ) -> ir.Value:
        out = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
        node = ir.node(op, inputs, attributes, outputs=[out], name=name)
        self.graph.insert_before(before, node)
        return out


def _requantize(value: ir.Value, scale: ir.Value | None, zero: ir.Value | None) -> None:
    """Gives a quantized value another scale: a join needs one for all."""
    node = value.producer()
    q = node.inputs[0].producer() if node is not None and node.inputs[0] is not None else None
    for each in (node, q):
        if each is not None and each.op_type in (QUANTIZE, DEQUANTIZE):
            each.replace_input_with(1, scale)
            each.replace_input_with(2, zero)


def _as_read(value: ir.Value) -> ir.Value:
    """What a later kernel reads of a kernel's output: behind its activation, and behind Q and DQ."""
    while True:
        uses = [u.node for u in value.uses()]
        after = next((n for n in uses if n.op_type in ("Relu", "Clip", QUANTIZE, DEQUANTIZE)), None)
        if after is None:
            return value
        value = after.outputs[0]


def _end_aligned(node: ir.Node) -> None:
    """Pads after instead of before, where the sum allows: what SAME means, and no runtime needs a pad operator for."""
    pads = attribute(node, "pads")
    strides = attribute(node, "strides", [1, 1])
    if pads and max(strides) > 1 and any(pads):
        node.attributes["pads"] = ir.AttrInt64s("pads", [0, 0, pads[0] + pads[2], pads[1] + pads[3]])
        _fit(node)


def _fit(node: ir.Node) -> None:
    """Trims pads behind that no window reaches, so that output sizes stay."""
    source = node.inputs[0]
    if source is None:
        return
    kernel, strides = attribute(node, "kernel_shape"), attribute(node, "strides", [1, 1])
    out, into = dims(node.outputs[0])[2:], dims(source)[2:]
    after = [max(0, (o - 1) * s + k - i) for o, s, k, i in zip(out, strides, kernel, into, strict=True)]
    node.attributes["pads"] = ir.AttrInt64s("pads", [0, 0, *after])


def _prune(graph: ir.Graph) -> None:
    """Removes what nothing reads any more."""
    for node in reversed(list(graph)):
        if not any(list(v.uses()) or v.is_graph_output() for v in node.outputs):
            graph.remove(node, safe=True)
    for name in [n for n, v in graph.initializers.items() if not list(v.uses())]:
        del graph.initializers[name]
