"""Convolutions and the classifier as TFLite operators: weight layouts, padding, pairs of columns, half turns."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.emit import kernels, pairs, turn
from edgekit.emit.reading import Constant, Quantization, attribute, constant
from edgekit.emit.translate import Translator
from edgekit.emit.values import OFFSET, Step, Tensor
from edgekit.emit.window import Window, grown, plan
from edgekit.errors import GraphError


def windows_in(t: Translator, node: ir.Node, x: Tensor) -> tuple[Window, Window]:
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


def padded(t: Translator, name: str, x: Tensor, windows: tuple[Window, Window], lowest: bool = False) -> Tensor:
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


def convolve(
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
        x = padded(t, name, x, windows)
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


def conv(t: Translator, step: Step) -> None:
    node = step.node
    x = t.read(node.inputs[0], step.integer)
    weights, bias = _parameters(step, x)
    windows = windows_in(t, node, x)
    y = t.result(step.results[0], (x.shape[0], windows[0].outputs, windows[1].outputs, len(weights.data)), step.integer)
    group = int(attribute(node, "group", 1))
    if t.turned:
        data = weights.data[:, :, ::-1, ::-1]
        weights = Constant(data[:, ::-1] if x.index in t.mirrored else data, weights.quantization)
    if step.integer and t.tuning.pair_columns and group == 1 and pairs.possible(windows[1], x.shape[3]):
        x, weights, windows = _paired(t, str(node.name), x, weights, windows)
    convolve(t, str(node.name), x, y, weights, bias, windows, step.activation, group)


def gemm(t: Translator, step: Step) -> None:
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
    convolve(t, name, x, maps, kernel, bias, (one, one), step.activation, 1)
    y = t.result(step.results[0], (x.shape[0], out), step.integer)
    shape = t.builder.constant(f"{name}_shape", np.array([-1, out], np.int32))
    t.builder.operator(
        kernels.version("RESHAPE", step.integer), [maps.index, shape], [y.index], kernels.reshape([-1, out])
    )
