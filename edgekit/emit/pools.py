"""Pooling as TFLite operators."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.emit import kernels
from edgekit.emit.convolutions import convolve, padded, windows_in
from edgekit.emit.reading import Constant, Quantization, attribute, clip_limits
from edgekit.emit.translate import Translator
from edgekit.emit.values import INT8_MAX, OFFSET, Step, Tensor
from edgekit.emit.window import plan
from edgekit.errors import GraphError


def max_pool(t: Translator, step: Step) -> None:
    node = step.node
    x = t.read(node.inputs[0], step.integer)
    windows = windows_in(t, node, x)
    kernel = (windows[0].kernel, windows[1].kernel)
    way, _ = plan(*windows, may_grow=False)
    if way == "pad":
        # Where nothing is below zero, zeros never win a maximum, and PAD runs inside XNNPACK while PADV2 does not.
        x = padded(t, str(node.name), x, windows, lowest=not _never_negative(node.inputs[0], x))
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


def average_pool(t: Translator, step: Step) -> None:
    """TFLite's own where it counts as ONNX does; else a depthwise convolution with equal weights, pads included."""
    node = step.node
    x = t.read(node.inputs[0], step.integer)
    windows = windows_in(t, node, x)
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
    convolve(t, str(node.name), x, y, equal, bias, windows, kernels.NONE, channels)


def global_average_pool(t: Translator, step: Step) -> None:
    x = t.read(step.node.inputs[0], step.integer)
    y = t.result(step.results[0], (x.shape[0], 1, 1, x.shape[3]), step.integer)
    axes = t.builder.constant(f"{step.node.name}_axes", np.array([1, 2], np.int32))
    t.builder.operator(kernels.version("MEAN", step.integer), [x.index, axes], [y.index], kernels.mean())
