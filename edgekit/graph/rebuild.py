"""Network + channel orders → ONNX graph without channel shuffles.

Each layer becomes one node with its weights permuted to the chosen orders. What a layer reads becomes contiguous
slices of its producers: one Split per producer that is read in parts, one Concat per set of wires that lies in several
parts, nothing where a producer is read whole. No Reshape, Transpose, Slice or Gather between layers.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.graph.network import Layer, Network, Wires
from edgekit.graph.order import Order, canonical, choose, columns

OPSET = 18
Run = tuple[int, int, int]  # layer, first position, end position
_NODE = {
    "relu": "Relu", "sigmoid": "Sigmoid", "hardswish": "HardSwish", "clip": "Clip", "add": "Add", "mul": "Mul",
    "maxpool": "MaxPool", "avgpool": "AveragePool", "gap": "GlobalAveragePool", "softmax": "Softmax",
}  # fmt: skip


def rebuild(network: Network, *, pixels: bool = True) -> ir.Model:
    """The graph of ``network`` with every layer's channels in the order that :func:`order.choose` gives.

    Args:
        pixels: the input is ``image``, uint8 ``[1, H, W, 3]``; otherwise ``input``, float32 ``[1, 3, H, W]``.
    """
    orders = choose(network)
    reads = _plan(network, orders)
    return _Builder(network, orders, reads, pixels).model()


def _plan(network: Network, orders: list[Order]) -> list[list[tuple[Order, list[Run]]]]:
    """For each layer and port (and last, the output): the order its wires are read in, and the slices that gives."""
    positions = [np.argsort(order) for order in orders]
    joined: dict[bytes, Wires] = {}

    def runs(wires: Wires) -> list[Run]:
        found: list[Run] = []
        for source, channel in wires:
            at = int(positions[source][channel])
            if found and found[-1][0] == source and found[-1][2] == at:
                found[-1] = (found[-1][0], found[-1][1], at + 1)
            else:
                found.append((int(source), at, at + 1))
        return found

    plan = []
    for index, layer in enumerate(network.layers):
        ports = []
        for port, wires in enumerate(layer.inputs):
            picked = columns(network, index, port, orders, joined)
            joined.setdefault(canonical(wires), wires[picked])
            ports.append((picked, runs(wires[picked])))
        plan.append(ports)
    plan.append([(np.arange(len(network.output)), runs(network.output))])
    return plan


class _Builder:
    def __init__(
        self, network: Network, orders: list[Order], plan: list[list[tuple[Order, list[Run]]]], pixels: bool
    ) -> None:
        self.network, self.orders, self.plan, self.pixels = network, orders, plan, pixels
        self.nodes: list[ir.Node] = []
        self.constants: list[ir.Value] = []
        self.values: list[ir.Value] = []  # each layer's output
        self.pieces: dict[Run, ir.Value] = {}
        self.joins: dict[tuple[Run, ...], ir.Value] = {}
        self.cuts = self._cuts()

    def model(self) -> ir.Model:
        picture = self._input()
        for index, layer in enumerate(self.network.layers):
            if index:
                self.values.append(self._layer(index, layer))
            self._split(index)
        scores = self._read(self.plan[-1][0][1], "scores")
        scores = self._flat(scores)
        if scores.producer() is None or scores.name == picture.name:
            scores = self._node("Identity", [scores], "scores", scores.shape)
        scores.name = "scores"
        graph = ir.Graph(
            [picture],
            [scores],
            nodes=self.nodes,
            initializers=self.constants,
            opset_imports={"": OPSET},
            name="edgekit",
        )
        return ir.Model(graph, ir_version=9, producer_name="edgekit")

    def _cuts(self) -> list[list[int]]:
        """Where each layer's channels are cut: at every end of a slice that somebody reads."""
        cuts = [{0, layer.channels} for layer in self.network.layers]
        for ports in self.plan:
            for _, runs in ports:
                for source, start, end in runs:
                    cuts[source] |= {start, end}
        return [sorted(c) for c in cuts]

    def _constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        value = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            const_value=ir.tensor(array, name=name),
        )
        self.constants.append(value)
        return value

    def _node(
        self, op: str, inputs: list[ir.Value], name: str, shape: Any, attributes: dict[str, Any] | None = None
    ) -> ir.Value:
        out = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
        self.nodes.append(ir.node(op, inputs, attributes or {}, outputs=[out], name=name))
        return out

    def _input(self) -> ir.Value:
        of = self.network.layers[0]
        if not self.pixels:
            picture = ir.Value(
                name="input", shape=ir.Shape([1, 3, of.height, of.width]), type=ir.TensorType(ir.DataType.FLOAT)
            )
            self.values.append(picture)
            return picture
        byte = ir.TensorType(ir.DataType.UINT8)
        picture = ir.Value(name="image", shape=ir.Shape([1, of.height, of.width, 3]), type=byte)
        planes = self._node("Transpose", [picture], "planes", [1, 3, of.height, of.width], {"perm": [0, 3, 1, 2]})
        planes.type = byte
        self.values.append(
            self._node("Cast", [planes], "pixels", [1, 3, of.height, of.width], {"to": int(ir.DataType.FLOAT)})
        )
        return picture

    def _split(self, index: int) -> None:
        """Cuts a layer's output into the slices that are read, with one Split."""
        of, cuts = self.values[index], self.cuts[index]
        parts = list(pairwise(cuts))
        if len(parts) == 1:
            self.pieces[index, 0, cuts[-1]] = of
            return
        tail = list(of.shape or [])[2:]
        outputs = [
            ir.Value(name=f"{of.name}.part{i}", shape=ir.Shape([1, b - a, *tail]), type=of.type)
            for i, (a, b) in enumerate(parts)
        ]
        sizes = self._constant(f"{of.name}.sizes", np.array([b - a for a, b in parts], dtype=np.int64))
        self.nodes.append(ir.node("Split", [of, sizes], {"axis": 1}, outputs=outputs, name=f"{of.name}.split"))
        self.pieces.update({(index, a, b): out for (a, b), out in zip(parts, outputs, strict=True)})

    def _read(self, runs: list[Run], name: str) -> ir.Value:
        """The value that holds ``runs`` one after the other: a layer, a part of one, or a Concat of parts."""
        if len(runs) == 1 and runs[0][1:] == (0, self.network.layers[runs[0][0]].channels):
            return self.values[runs[0][0]]
        parts: list[Run] = []
        for source, start, end in runs:
            if (start, end) == (0, self.network.layers[source].channels):
                parts.append((source, start, end))
                continue
            inside = [c for c in self.cuts[source] if start <= c <= end]
            parts += [(source, a, b) for a, b in pairwise(inside)]
        if len(parts) == 1:
            return self.pieces[parts[0]]
        key = tuple(parts)
        if key not in self.joins:
            values = [
                self.values[s] if (a, b) == (0, self.network.layers[s].channels) else self.pieces[s, a, b]
                for s, a, b in parts
            ]
            shape = [1, sum(b - a for _, a, b in parts), *list(values[0].shape or [])[2:]]
            self.joins[key] = self._node("Concat", values, f"{name}.joined", shape, {"axis": 1})
        return self.joins[key]

    def _flat(self, value: ir.Value) -> ir.Value:
        shape = list(value.shape or [])
        if len(shape) == 2:
            return value
        return self._node("Flatten", [value], f"{value.name}.flat", [1, shape[1]], {"axis": 1})

    def _layer(self, index: int, layer: Layer) -> ir.Value:
        names = [layer.name, *(f"{layer.name}.{port}" for port in range(1, len(layer.inputs)))]
        read = [self._read(runs, name) for (_, runs), name in zip(self.plan[index], names, strict=False)]
        shape: list[Any] = [1, layer.channels, layer.height, layer.width]
        if layer.kind == "center":
            colour = np.array(layer.colour).reshape(1, -1, 1, 1)
            return self._node("Sub", [read[0], self._constant(f"{layer.name}.mean", colour)], layer.name, shape)
        if layer.kind in ("conv", "gemm"):
            weight, bias = layer.parameters
            weight, bias = self._weight(index, layer, weight), bias[self.orders[index]]
            inputs = [self._constant(f"{layer.name}.weight", weight), self._constant(f"{layer.name}.bias", bias)]
            if layer.kind == "gemm":
                return self._node("Gemm", [self._flat(read[0]), *inputs], layer.name, shape[:2], {"transB": 1})
            return self._node("Conv", [read[0], *inputs], layer.name, shape, {**_window(layer), "group": layer.groups})
        attributes: dict[str, Any] = {}
        if layer.kind in ("maxpool", "avgpool"):
            attributes = _window(layer)
        if layer.kind == "softmax":
            read, attributes = [self._flat(read[0])], {"axis": -1}
        if layer.kind == "clip":
            read += [
                self._constant(f"{layer.name}.{end}", np.array(limit, dtype=np.float32))
                for end, limit in zip(("min", "max"), layer.limits, strict=True)
            ]
        rank = len(read[0].shape or [])
        return self._node(_NODE[layer.kind], read, layer.name, shape[:rank], attributes)

    def _weight(self, index: int, layer: Layer, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        order = self.orders[index]
        if layer.depthwise:
            return weight[order]
        picked = self.plan[index][0][0]
        size = len(picked) // layer.groups
        local = picked.reshape(layer.groups, size) - np.arange(layer.groups)[:, None] * size
        groups = np.arange(layer.channels) // (layer.channels // layer.groups)
        # Position p of the output is original channel order[p], in the same group; its columns follow that group's.
        return np.stack([weight[channel][local[group]] for channel, group in zip(order, groups, strict=True)])


def _window(layer: Layer) -> dict[str, Any]:
    top, left, bottom, right = layer.pads
    return {"kernel_shape": list(layer.kernel), "strides": list(layer.strides), "pads": [top, left, bottom, right]}
