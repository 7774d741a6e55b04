"""One function for each node kind of the vocabulary: writes its TFLite operators."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.emit import kernels, pairs, turn
from edgekit.emit.reading import Constant, Quantization, attribute, clip_limits, constant, dims, is_read
from edgekit.emit.translate import OFFSET, UNIT, Step, Tensor, Translation, Translator
from edgekit.emit.window import Window, grown, plan
from edgekit.errors import GraphError

# Largest int8 weight; a 1/9 kernel written with it loses nothing to rounding.
INT8_MAX = 127
# XNNPACK's delegate takes a CONCATENATION of at most this many tensors; one more ends its partition.
MOST_PARTS = 5


def _windows(t: Translator, node: ir.Node, x: Tensor) -> tuple[Window, Window]:
    if any(d != 1 for d in attribute(node, "dilations", [1, 1])) or attribute(node, "ceil_mode", 0):
        raise GraphError(f"node {node.name!r}: dilation and ceil_mode are not supported")
    if (auto := attribute(node, "auto_pad", "NOTSET")) not in ("NOTSET", "VALID"):
        raise GraphError(f"node {node.name!r}: auto_pad {auto} must be resolved to pads")
    high, wide = turn.windows_of(node, x.shape[1], x.shape[2])
    if t.turned:
        other = turn.turned(high), turn.turned(wide)
        if other[0] is None or other[1] is None:
            raise GraphError(f"node {node.name!r}: this window cannot be turned")
        high, wide = other[0], other[1]
    return high, wide


def _padded(t: Translator, name: str, x: Tensor, windows: tuple[Window, Window], lowest: bool = False) -> Tensor:
    """An explicit PAD with zeros, or with the lowest number for a maximum."""
    high, wide = windows
    amounts = np.array([[0, 0], [high.before, high.needed_after], [wide.before, wide.needed_after], [0, 0]], np.int32)
    shape = (x.shape[0], x.shape[1] + int(amounts[1].sum()), x.shape[2] + int(amounts[2].sum()), x.shape[3])
    y = t.temporary(f"{name}_pad", shape, x.quantization)
    paddings = t.builder.constant(f"{name}_paddings", amounts)
    if not lowest:
        t.builder.operator(kernels.version("PAD", x.integer), [x.index, paddings], [y.index], kernels.pad())
        return y
    low: NDArray[np.generic] = np.array([-OFFSET], np.int8) if x.integer else np.array([np.finfo(np.float32).min])
    fill = t.builder.constant(f"{name}_lowest", low if x.integer else low.astype(np.float32), x.quantization)
    t.builder.operator(kernels.version("PADV2", x.integer), [x.index, paddings, fill], [y.index], kernels.padv2())
    return y


def _convolve(
    t: Translator,
    name: str,
    x: Tensor,
    y: Tensor,
    weights: Constant,
    bias: NDArray[np.float32] | NDArray[np.int32],
    windows: tuple[Window, Window],
    activation: int,
    group: int,
) -> None:
    """A convolution of ``x`` into ``y``; ``weights`` [O, I/group, h, w], ``bias`` int32 at input times weight scale."""
    kernel = (windows[0].kernel, windows[1].kernel)
    stride = (windows[0].stride, windows[1].stride)
    way, size = plan(*windows, may_grow=t.tuning.stride2 == "grow")
    if way == "pad":
        x = _padded(t, name, x, windows)
    data = grown(weights.data, size) if size != kernel else weights.data
    padding = kernels.SAME if way in ("same", "grow") else kernels.VALID
    integer = x.integer
    out, channels = data.shape[0], x.shape[3]
    depthwise = group == channels and group > 1
    layout = data[:, 0].transpose(1, 2, 0)[None] if depthwise else data.transpose(0, 2, 3, 1)
    axis = 3 if depthwise else 0
    w = t.weights(f"{name}_weights", np.ascontiguousarray(layout), weights.quantization, axis)
    bias_scale = None
    if integer and x.quantization is not None and weights.quantization is not None:
        scale = (weights.quantization.scale * x.quantization.scale).astype(np.float32)
        bias_scale = Quantization(scale, 0)
    b = t.builder.constant(f"{name}_bias", bias, bias_scale)
    if depthwise:
        kind, options = "DEPTHWISE_CONV_2D", kernels.depthwise(stride, padding, activation, out // group)
    else:
        kind = "CONV_2D" if group == 1 else "CONV_2D grouped"
        options = kernels.conv(stride, padding, activation)
    t.builder.operator(kernels.version(kind, integer), [x.index, w, b], [y.index], options)


def _parameters(step: Step, x: Tensor) -> tuple[Constant, NDArray[np.float32] | NDArray[np.int32]]:
    """Weights and bias of a Conv or Gemm, as integers in integer steps and as float32 otherwise."""
    node = step.node
    weights = constant(node.inputs[1])
    if weights is None:
        raise GraphError(f"node {node.name!r}: weights are computed, not constant")
    out = weights.data.shape[0]
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    if not step.integer:
        zeros = np.zeros(out, np.float32)
        return Constant(weights.real(), None), zeros if bias is None else bias.real()
    if weights.quantization is None or weights.data.dtype != np.int8 or weights.quantization.zero_point != 0:
        raise GraphError(f"node {node.name!r}: integer steps need symmetric int8 weights")
    if bias is None:
        return weights, np.zeros(out, np.int32)
    if bias.data.dtype == np.int32:
        return weights, bias.data
    if x.quantization is None:
        raise GraphError(f"node {node.name!r}: integer step with a float input")
    scale = weights.quantization.scale * x.quantization.scale
    return weights, np.round(bias.real() / scale).astype(np.int32)


def _paired(
    t: Translator, name: str, x: Tensor, weights: Constant, windows: tuple[Window, Window]
) -> tuple[Tensor, Constant, tuple[Window, Window]]:
    """The same convolution over pairs of columns (see :mod:`edgekit.emit.pairs`)."""
    y = t.reshaped(f"{name}_pairs", x, (x.shape[0], x.shape[1], x.shape[2] // 2, x.shape[3] * 2))
    data, wide = pairs.paired(weights.data, windows[1])
    return y, Constant(data, weights.quantization), (windows[0], wide)


def _conv(t: Translator, step: Step) -> None:
    node = step.node
    x = t.read(node.inputs[0], step.integer)
    weights, bias = _parameters(step, x)
    windows = _windows(t, node, x)
    y = t.result(step.results[0], (x.shape[0], windows[0].outputs, windows[1].outputs, len(weights.data)), step.integer)
    group = int(attribute(node, "group", 1))
    if t.turned:
        data = weights.data[:, :, ::-1, ::-1]
        weights = Constant(data[:, ::-1] if x.index in t.mirrored else data, weights.quantization)
    if step.integer and t.tuning.pair_columns and group == 1 and pairs.possible(windows[1], x.shape[3]):
        x, weights, windows = _paired(t, str(node.name), x, weights, windows)
    _convolve(t, str(node.name), x, y, weights, bias, windows, step.activation, group)


def _gemm(t: Translator, step: Step) -> None:
    node = step.node
    if not attribute(node, "transB", 0) or attribute(node, "transA", 0):
        raise GraphError(f"node {node.name!r}: only Gemm with transB=1 and transA=0 is known")
    if attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0:
        raise GraphError(f"node {node.name!r}: alpha and beta of Gemm must be folded into its weights")
    x = t.read(node.inputs[0], step.integer)
    weights, bias = _parameters(step, x)
    out, name = len(weights.data), str(node.name)
    if t.tuning.classifier == "fc" or len(x.shape) == 2:
        y = t.result(step.results[0], (x.shape[0], out), step.integer)
        w = t.weights(f"{name}_weights", weights.data, weights.quantization, 0)
        scale = None
        if x.quantization is not None and weights.quantization is not None:
            scale = Quantization((weights.quantization.scale * x.quantization.scale).astype(np.float32), 0)
        b = t.builder.constant(f"{name}_bias", bias, scale)
        kind = kernels.version("FULLY_CONNECTED", step.integer)
        t.builder.operator(kind, [x.index, w, b], [y.index], kernels.fully_connected())
        return
    # A 1x1 convolution: per-channel scales there are as old as int8 itself, in FULLY_CONNECTED they are recent.
    q = t.target(step.results[0]) if step.integer else None
    maps = t.temporary(f"{name}_map", (x.shape[0], 1, 1, out), q)
    kernel = Constant(weights.data[:, :, None, None], weights.quantization)
    one = Window(1, 1, 1, 0, 0)
    _convolve(t, name, x, maps, kernel, bias, (one, one), step.activation, 1)
    y = t.result(step.results[0], (x.shape[0], out), step.integer)
    shape = t.builder.constant(f"{name}_shape", np.array([-1, out], np.int32))
    t.builder.operator(
        kernels.version("RESHAPE", step.integer), [maps.index, shape], [y.index], kernels.reshape([-1, out])
    )


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


def _max_pool(t: Translator, step: Step) -> None:
    node = step.node
    x = t.read(node.inputs[0], step.integer)
    windows = _windows(t, node, x)
    kernel = (windows[0].kernel, windows[1].kernel)
    way, _ = plan(*windows, may_grow=False)
    if way == "pad":
        # Where nothing is below zero, zeros never win a maximum, and PAD runs inside XNNPACK while PADV2 does not.
        x = _padded(t, str(node.name), x, windows, lowest=not _never_negative(node.inputs[0], x))
    shape = (x.shape[0], windows[0].outputs, windows[1].outputs, x.shape[3])
    y = t.temporary(f"{node.name}_max", shape, x.quantization)
    padding = kernels.SAME if way == "same" else kernels.VALID
    options = kernels.pool(kernel, (windows[0].stride, windows[1].stride), padding)
    t.builder.operator(kernels.version("MAX_POOL_2D", step.integer), [x.index], [y.index], options)
    t.adopt(step.results[0], y)


def _never_negative(value: ir.Value | None, x: Tensor) -> bool:
    if x.quantization is not None:
        return x.quantization.zero_point == -OFFSET
    node = value.producer() if value is not None else None
    return node is not None and node.op_type in ("Relu", "Clip") and clip_limits(node)[0] >= 0


def _average_pool(t: Translator, step: Step) -> None:
    """TFLite's own where it counts as ONNX does; else a depthwise convolution with equal weights, pads included."""
    node = step.node
    x = t.read(node.inputs[0], step.integer)
    windows = _windows(t, node, x)
    kernel = (windows[0].kernel, windows[1].kernel)
    shape = (x.shape[0], windows[0].outputs, windows[1].outputs, x.shape[3])
    way, _ = plan(*windows, may_grow=False)
    counts_pads = bool(attribute(node, "count_include_pad", 0))
    if way == "valid" or (way == "same" and not counts_pads):
        y = t.temporary(f"{node.name}_mean", shape, x.quantization)
        padding = kernels.VALID if way == "valid" else kernels.SAME
        options = kernels.pool(kernel, (windows[0].stride, windows[1].stride), padding)
        t.builder.operator(kernels.version("AVERAGE_POOL_2D", step.integer), [x.index], [y.index], options)
        t.adopt(step.results[0], y)
        return
    if not counts_pads:
        raise GraphError(f"node {node.name!r}: pads that are not counted start where TFLite's SAME does not")
    size = kernel[0] * kernel[1]
    channels = x.shape[3]
    if step.integer:
        scale = np.full(channels, 1 / (INT8_MAX * size), np.float32)
        equal = Constant(np.full((channels, 1, *kernel), INT8_MAX, np.int8), Quantization(scale, 0))
        bias: NDArray[np.float32] | NDArray[np.int32] = np.zeros(channels, np.int32)
    else:
        equal = Constant(np.full((channels, 1, *kernel), 1 / size, np.float32), None)
        bias = np.zeros(channels, np.float32)
    y = t.result(step.results[0], shape, step.integer)
    _convolve(t, str(node.name), x, y, equal, bias, windows, kernels.NONE, channels)


def _global_average_pool(t: Translator, step: Step) -> None:
    x = t.read(step.node.inputs[0], step.integer)
    y = t.result(step.results[0], (x.shape[0], 1, 1, x.shape[3]), step.integer)
    axes = t.builder.constant(f"{step.node.name}_axes", np.array([1, 2], np.int32))
    t.builder.operator(kernels.version("MEAN", step.integer), [x.index, axes], [y.index], kernels.mean())


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
    "Conv": _conv,
    "Gemm": _gemm,
    "Relu": _relu,
    "Clip": _relu,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "Split": _split,
    "Concat": _concat,
    "Add": _add,
    "Mul": _mul,
    "Sub": _sub,
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "HardSwish": _hard_swish,
}
