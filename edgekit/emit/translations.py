"""One function for each node kind of the vocabulary: writes its TFLite operators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgekit.emit import kernels
from edgekit.emit.convolutions import conv, gemm
from edgekit.emit.pools import average_pool, global_average_pool, max_pool
from edgekit.emit.reading import attribute, clip_limits, constant, dims, is_read
from edgekit.emit.translate import Translator
from edgekit.emit.values import UNIT, Step, Tensor
from edgekit.errors import GraphError

Translation = Callable[[Translator, Step], None]
# XNNPACK's delegate takes a CONCATENATION of at most this many tensors; one more ends its partition.
MOST_PARTS = 5


def _relu(t: Translator, step: Step) -> None:
    x = t.read(step.node.inputs[0], step.integer)
    code = t.activation_code(step.node, step.results[0])
    names = {kernels.RELU: "RELU", kernels.RELU6: "RELU6", kernels.RELU_N1_TO_1: "RELU_N1_TO_1"}
    if code is None:
        raise GraphError(f"node {step.node.name!r}: TFLite has no activation with the limits {clip_limits(step.node)}")
    if code not in names:
        t.adopt(step.results[0], x)
        return
    y = t.result(step.results[0], x.shape, step.integer)
    t.builder.operator(kernels.version(names[code], step.integer), [x.index], [y.index])


def _channel_axis(node: ir.Node, rank: int) -> int:
    """The axis of a 4-D ONNX tensor where TFLite keeps it."""
    axis = int(attribute(node, "axis", 0)) % rank
    return {0: 0, 1: 3, 2: 1, 3: 2}[axis] if rank == 4 else axis


def _split(t: Translator, step: Step) -> None:
    node = step.node
    x = t.read(node.inputs[0], step.integer)
    sizes = [dims(o)[1] for o in node.outputs]
    if _channel_axis(node, len(x.shape)) != 3:
        raise GraphError(f"node {node.name!r}: only the channels can be split")
    name = str(node.name)
    wanted = [is_read(o) for o in step.results]
    parts = {
        o: t.temporary(str(o.name), (*x.shape[:3], c), x.quantization)
        for o, c, read in zip(step.results, sizes, wanted, strict=True)
        if read or t.tuning.split == "split_v"
    }
    if t.tuning.split == "split_v":
        inputs = [x.index, t.builder.constant(f"{name}_sizes", np.array(sizes, np.int32)),
                  t.builder.constant(f"{name}_axis", np.array(3, np.int32))]  # fmt: skip
        kind = kernels.version("SPLIT_V", step.integer)
        t.builder.operator(kind, inputs, [p.index for p in parts.values()], kernels.split_v(len(parts)))
    else:
        starts = np.cumsum([0, *sizes]).tolist()
        for result, start, size in zip(step.results, starts, sizes, strict=False):
            if result in parts:
                _slice(t, f"{name}_{start}", x, parts[result], start, size)
    for result, read in zip(step.results, wanted, strict=True):
        if read:
            t.adopt(result, parts[result])


def _slice(t: Translator, name: str, x: Tensor, y: Tensor, start: int, size: int) -> None:
    begin = t.builder.constant(f"{name}_begin", np.array([0, 0, 0, start], np.int32))
    if t.tuning.split == "slice":
        # -1: all of that axis, whatever batch the input is resized to.
        count = t.builder.constant(f"{name}_size", np.array([-1, -1, -1, size], np.int32))
        kind = kernels.version("SLICE", x.integer)
        t.builder.operator(kind, [x.index, begin, count], [y.index], kernels.slice_())
        return
    end = t.builder.constant(f"{name}_end", np.array([0, 0, 0, start + size], np.int32))
    steps = t.builder.constant(f"{name}_steps", np.ones(4, np.int32))
    kind = kernels.version("STRIDED_SLICE", x.integer)
    t.builder.operator(kind, [x.index, begin, end, steps], [y.index], kernels.strided_slice(0b0111))


def _concat(t: Translator, step: Step) -> None:
    node = step.node
    axis = _channel_axis(node, 4)
    computed = [v for v in node.inputs if v is not None and constant(v) is None]
    tensors = {v: t.read(v, step.integer) for v in computed}
    shape = list(tensors[computed[0]].shape)
    target = t.target(step.results[0]) if step.integer else None
    parts = []
    for i, value in enumerate(node.inputs):
        if value is None:
            raise GraphError(f"node {node.name!r}: input {i} is missing")
        if value not in tensors:
            raise GraphError(f"node {node.name!r}: a constant part of a Concat would fix the batch")
        part = tensors[value]
        if target is not None and part.quantization is not None and not part.quantization.same_as(target):
            part = t.requantize(part, target, f"{value.name}_rescaled")
        parts.append(part)
    kind = kernels.version("CONCATENATION", step.integer)
    while len(parts) > MOST_PARTS:
        # The smallest run first: what is copied twice should be small.
        count = min(MOST_PARTS, len(parts) - MOST_PARTS + 1)
        starts = range(len(parts) - count + 1)
        at = min(starts, key=lambda i: sum(p.shape[axis] for p in parts[i : i + count]))
        run = parts[at : at + count]
        shape[axis] = sum(p.shape[axis] for p in run)
        merged = t.temporary(f"{node.name}_part", tuple(shape), run[0].quantization)
        t.builder.operator(kind, [p.index for p in run], [merged.index], kernels.concatenation(axis))
        parts[at : at + count] = [merged]
    shape[axis] = sum(p.shape[axis] for p in parts)
    y = t.result(step.results[0], tuple(shape), step.integer)
    t.builder.operator(kind, [p.index for p in parts], [y.index], kernels.concatenation(axis))


def _add(t: Translator, step: Step) -> None:
    a, b = (t.read(v, step.integer) for v in step.node.inputs)
    y = t.result(step.results[0], a.shape, step.integer)
    kind = kernels.version("ADD", step.integer)
    t.builder.operator(kind, [a.index, b.index], [y.index], kernels.add(step.activation))


def _sub(t: Translator, step: Step) -> None:
    """The mean colour off the pixels; repeated over a row, so that kernels run along rows, not along 3 channels."""
    node = step.node
    found = constant(node.inputs[1])
    if found is None or found.data.ndim != 4 or found.data.shape[2:] != (1, 1) or step.integer:
        raise GraphError(f"node {node.name!r}: only a constant per channel can be subtracted, in float")
    x = t.float_of(node.inputs[0])  # type: ignore[arg-type]
    y = t.follow(x, t.result(step.results[0], x.shape, False))
    mean = found.real().ravel()
    row = np.broadcast_to(mean[::-1] if x.index in t.mirrored else mean, (1, 1, *x.shape[2:]))
    colour = t.builder.constant(f"{node.name}_colour", np.ascontiguousarray(row))
    t.builder.operator(kernels.version("SUB", False), [x.index, colour], [y.index], kernels.sub())


def _mul(t: Translator, step: Step) -> None:
    a, b = (t.read(v, step.integer) for v in step.node.inputs)
    y = t.result(step.results[0], a.shape, step.integer)
    t.builder.operator(kernels.version("MUL", step.integer), [a.index, b.index], [y.index], kernels.mul())


def _to_unit(t: Translator, step: Step, op: str, options: tuple[int, object] | None) -> None:
    x = t.read(step.node.inputs[0], step.integer)
    y = t.temporary(f"{step.results[0].name}_unit", x.shape, UNIT if step.integer else None)
    t.builder.operator(kernels.version(op, step.integer), [x.index], [y.index], options)
    t.adopt(step.results[0], y)


def _sigmoid(t: Translator, step: Step) -> None:
    _to_unit(t, step, "LOGISTIC", None)


def _softmax(t: Translator, step: Step) -> None:
    if int(attribute(step.node, "axis", -1)) not in (-1, 1):
        raise GraphError(f"node {step.node.name!r}: Softmax must run over the classes")
    _to_unit(t, step, "SOFTMAX", kernels.softmax())


def _hard_swish(t: Translator, step: Step) -> None:
    x = t.read(step.node.inputs[0], step.integer)
    y = t.result(step.results[0], x.shape, step.integer)
    t.builder.operator(kernels.version("HARD_SWISH", step.integer), [x.index], [y.index], kernels.hard_swish())


TRANSLATIONS: dict[str, Translation] = {
    "Conv": conv,
    "Gemm": gemm,
    "Relu": _relu,
    "Clip": _relu,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "Split": _split,
    "Concat": _concat,
    "Add": _add,
    "Mul": _mul,
    "Sub": _sub,
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "HardSwish": _hard_swish,
}
