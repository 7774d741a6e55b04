"""The ONNX operators that move values without computing, carried out on arrays of element numbers.

Every activation is followed as an int64 array of the value's own shape that says, for each element, which element of
which layer it is. Running Reshape, Transpose, Split, … on those arrays gives the meaning of any spelling of a channel
shuffle, whichever exporter wrote it, without matching patterns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import GraphError

Ids = NDArray[np.int64]
ZERO, LOWEST = -1, -2  # element numbers of padding: the value 0, and a value below every other


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """The plain Python value of an attribute, or ``default``."""
    attr = node.attributes.get(name)
    if attr is None:
        return default
    value = attr.value
    return list(value) if isinstance(value, list | tuple) else value


def _operand(node: ir.Node, index: int, consts: list[NDArray[Any] | None], name: str) -> list[int] | None:
    """A list of integers given as input ``index`` (newer opsets) or as attribute ``name`` (older ones)."""
    if index < len(node.inputs) and node.inputs[index] is not None:
        constant = consts[index]
        if constant is None:
            raise GraphError(f"{node.op_type} '{node.name}': its {name} are not constant")
        return [int(v) for v in np.atleast_1d(constant).tolist()]
    value = attribute(node, name)
    return None if value is None else [int(v) for v in value]


def _reshape(node: ir.Node, x: Ids, consts: list[NDArray[Any] | None]) -> list[Ids]:
    shape = _operand(node, 1, consts, "shape") or []
    if not attribute(node, "allowzero", 0):
        shape = [x.shape[i] if d == 0 else d for i, d in enumerate(shape)]
    return [x.reshape(shape)]


def _transpose(node: ir.Node, x: Ids, consts: list[NDArray[Any] | None]) -> list[Ids]:
    return [x.transpose(attribute(node, "perm"))]


def _split(node: ir.Node, x: Ids, consts: list[NDArray[Any] | None]) -> list[Ids]:
    axis, parts = attribute(node, "axis", 0), len(node.outputs)
    sizes = _operand(node, 1, consts, "split")
    if sizes is None:
        step = -(-x.shape[axis] // parts)  # the last part may be smaller: ONNX Split-18
        return [x.take(range(i * step, min((i + 1) * step, x.shape[axis])), axis) for i in range(parts)]
    return list(np.split(x, np.cumsum(sizes)[:-1], axis))


def _slice(node: ir.Node, x: Ids, consts: list[NDArray[Any] | None]) -> list[Ids]:
    starts, ends = _operand(node, 1, consts, "starts") or [], _operand(node, 2, consts, "ends") or []
    axes = _operand(node, 3, consts, "axes") or list(range(len(starts)))
    steps = _operand(node, 4, consts, "steps") or [1] * len(starts)
    index: list[Any] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = x.shape[axis]
        # ONNX clamps a far end of a backward slice to "before the first"; Python spells that None.
        stop = None if step < 0 and end < -size else end
        index[axis] = slice(start, stop, step)
    return [x[tuple(index)]]


def _gather(node: ir.Node, x: Ids, consts: list[NDArray[Any] | None]) -> list[Ids]:
    if consts[1] is None:
        raise GraphError(f"Gather '{node.name}': its indices are not constant")
    return [np.take(x, consts[1].astype(np.int64), attribute(node, "axis", 0))]


def _squeeze(node: ir.Node, x: Ids, consts: list[NDArray[Any] | None]) -> list[Ids]:
    axes = _operand(node, 1, consts, "axes")
    return [x.squeeze(tuple(axes) if axes is not None else None)]


def _unsqueeze(node: ir.Node, x: Ids, consts: list[NDArray[Any] | None]) -> list[Ids]:
    return [np.expand_dims(x, tuple(_operand(node, 1, consts, "axes") or []))]


def _flatten(node: ir.Node, x: Ids, consts: list[NDArray[Any] | None]) -> list[Ids]:
    axis = attribute(node, "axis", 1) % (x.ndim + 1)
    return [x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)]


def _pad(node: ir.Node, x: Ids, consts: list[NDArray[Any] | None]) -> list[Ids]:
    mode = attribute(node, "mode", "constant")
    pads = _operand(node, 1, consts, "pads") or []
    value = attribute(node, "value", 0.0)
    if len(node.inputs) > 2 and consts[2] is not None:
        value = float(np.asarray(consts[2]).reshape(-1)[0])
    axes = _operand(node, 3, consts, "axes") or list(range(x.ndim))
    if mode not in ("constant", b"constant") or not (value == 0.0 or value < -1e30) or min(pads, default=0) < 0:
        raise GraphError(f"Pad '{node.name}': only padding with zeros is supported (mode {mode}, value {value})")
    widths = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        widths[axis] = (pads[i], pads[i + len(axes)])
    return [np.pad(x, widths, constant_values=ZERO if value == 0.0 else LOWEST)]


def _identity(node: ir.Node, x: Ids, consts: list[NDArray[Any] | None]) -> list[Ids]:
    return [x]


_MOVES: dict[str, Callable[[ir.Node, Ids, list[NDArray[Any] | None]], list[Ids]]] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
    "Pad": _pad,
    "Identity": _identity,
    "Dropout": _identity,  # in inference
    "Cast": _identity,  # between floats: the network is computed in float32 whatever it was stored in
}
MOVEMENT = frozenset(_MOVES) | {"Concat"}


def move(node: ir.Node, ids: list[Ids | None], consts: list[NDArray[Any] | None]) -> list[Ids]:
    """What a movement operator does to element numbers.

    Args:
        node: an operator of :data:`MOVEMENT`.
        ids: the element numbers of each input, None where the input is a constant.
        consts: the value of each input, None where it is an activation.

    Raises:
        GraphError: an operand that should be constant is not, or the operator is used in an unsupported way.
    """
    if node.op_type == "Concat":
        if any(i is None for i in ids):
            raise GraphError(f"Concat '{node.name}' joins an activation with a constant")
        return [np.concatenate([i for i in ids if i is not None], attribute(node, "axis", 1))]
    if ids[0] is None:
        raise GraphError(f"{node.op_type} '{node.name}' uses an activation as an operand")
    try:
        return _MOVES[node.op_type](node, ids[0], consts)
    except (ValueError, IndexError) as error:
        raise GraphError(f"{node.op_type} '{node.name}': its shapes do not agree ({error})") from error
