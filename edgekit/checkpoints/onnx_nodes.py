"""What the rules of ``onnx_rules`` work with: a node's attributes, new constants, and ranks as far as they follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper


class Upgrade:
    """One model's rewrite: its old opset, its constants, and the ranks of its tensors as far as they follow."""

    def __init__(self, model: ModelProto, opset: int) -> None:
        self.graph, self.opset = model.graph, opset
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.used = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
        self.names = set(self.constants) | self.used | {name for node in model.graph.node for name in node.output}
        self.ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
        for value in model.graph.input:
            self.ranks.setdefault(value.name, len(value.type.tensor_type.shape.dim))

    def name(self, wanted: str) -> str:
        """A name that no tensor has yet."""
        name, number = wanted, 1
        while name in self.names:
            name, number = f"{wanted}_{number}", number + 1
        self.names.add(name)
        return name

    def constant(self, values: Any, dtype: Any, near: str) -> str:
        """A new initializer, named after the node it serves."""
        name = self.name(near)
        tensor = numpy_helper.from_array(np.asarray(values, dtype), name)
        self.graph.initializer.append(tensor)
        self.constants[name] = tensor
        self.ranks[name] = np.asarray(values).ndim
        return name

    def array(self, name: str) -> NDArray[Any] | None:
        """An initializer's values."""
        found = self.constants.get(name)
        return None if found is None else numpy_helper.to_array(found)


def get(node: NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value, text as str."""
    for attribute in node.attribute:
        if attribute.name == name:
            value = helper.get_attribute_value(attribute)
            return value.decode() if isinstance(value, bytes) else value
    return default


def drop(node: NodeProto, *names: str) -> None:
    """Removes attributes."""
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)


def put(node: NodeProto, name: str, value: Any) -> None:
    """Sets an attribute."""
    drop(node, name)
    node.attribute.append(helper.make_attribute(name, value))


def called(node: NodeProto) -> str:
    """How messages speak of a node."""
    return f"{node.op_type} {node.name or node.output[0]!r}"


def as_inputs(node: NodeProto, context: Upgrade, values: Sequence[tuple[str, Any]]) -> None:
    """Gives a node the constants as inputs behind its first; an entry of None is an input left out."""
    names = [
        "" if value is None else context.constant(value, np.int64, f"{node.output[0]}_{name}") for name, value in values
    ]
    while names and not names[-1]:
        names.pop()
    del node.input[1:]
    node.input.extend(names)


def follow_rank(node: NodeProto, context: Upgrade) -> None:
    """Notes the rank of a node's outputs, where it follows."""
    ranks = [context.ranks[name] for name in node.input if name in context.ranks]
    rank = max(ranks[:2], default=None)
    if node.op_type == "Reshape":
        shape = context.array(node.input[1]) if len(node.input) > 1 else None
        rank = None if shape is None else len(shape)
    elif node.op_type in ("Flatten", "Gemm"):
        rank = 2
    elif node.op_type == "Constant":
        value = get(node, "value")
        rank = len(value.dims) if isinstance(value, TensorProto) else None
    elif node.op_type in ("Squeeze", "Unsqueeze", "Shape", "Gather", "MatMul"):
        rank = None
    elif ranks:
        rank = ranks[0] if node.op_type not in ("Add", "Sub", "Mul", "Div") else rank
    if rank is not None:
        context.ranks.update(dict.fromkeys(node.output, rank))
