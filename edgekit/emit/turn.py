"""Half a turn of the picture, so that TFLite needs no PAD.

torch pads a window of stride 2 one before and, on even sizes, effectively none after. TFLite's SAME pads none before
and one after. Turn the picture by 180° and every kernel with it, and the one becomes the other: all layers compute the
same numbers, only in the turned places, and the global average at the end does not care about places. So the file
takes upright pictures, reverses their bytes once and then has nothing to pad.

Reversing rows, columns and channels together is reversing memory, which LiteRT's REVERSE_V2 does in one pass (4 µs for
224×224×3, where the seven PADs it replaces take 90); the channels it reverses too are put right in the first kernel.

Rules
1. The graph is turned if that leaves fewer windows that neither VALID nor SAME can say, see
   :mod:`edgekit.emit.window`.
2. Refused where a turned window would have to start inside the picture (the last pixels are never read).
3. Refused unless the picture goes, whole, into one dense convolution, through nothing but casts and a Sub.
"""

from __future__ import annotations

import onnx_ir as ir

from edgekit.emit.reading import DEQUANTIZE, QUANTIZE, attribute, constant, dims, sole_user
from edgekit.emit.window import Window

_PASSED = frozenset({DEQUANTIZE, QUANTIZE, "Cast", "Sub", "Transpose"})
_WINDOWED = frozenset({"Conv", "MaxPool", "AveragePool"})
_PLACELESS = frozenset({"Relu", "Clip", "HardSwish", "Sigmoid", "Mul", "Add", "Sub", "Split", "Concat", "Identity"})
_KNOWN = _WINDOWED | _PLACELESS | {DEQUANTIZE, QUANTIZE, "Cast", "Transpose", "GlobalAveragePool"}
_AFTER_POOL = frozenset({"Flatten", "Gemm", "Softmax"})


def windows_of(node: ir.Node, height: int, width: int) -> tuple[Window, Window]:
    """The windows of a Conv or pool over a picture of this size, as the graph says them."""
    kernel = attribute(node, "kernel_shape")
    if kernel is None:
        weights = constant(node.inputs[1])
        kernel = [1, 1] if weights is None else list(weights.data.shape[2:])
    strides = attribute(node, "strides", [1, 1])
    pads = attribute(node, "pads", [0, 0, 0, 0])
    return (
        Window(height, int(kernel[0]), int(strides[0]), int(pads[0]), int(pads[2])),
        Window(width, int(kernel[1]), int(strides[1]), int(pads[1]), int(pads[3])),
    )


def turned(window: Window) -> Window | None:
    """The same window on a reversed axis; None where rule 2 refuses."""
    before = (window.outputs - 1) * window.stride + window.kernel - window.before - window.size
    if before < 0:
        return None
    return Window(window.size, window.kernel, window.stride, before, window.before)


def pays(graph: ir.Graph) -> bool:
    """Whether to turn (rules 1 to 3)."""
    if _first_convolution(graph) is None:
        return False
    upright = reversed_ = 0
    for node in graph:
        if node.op_type not in _KNOWN and node.op_type not in _AFTER_POOL:
            return False
        source = node.inputs[0] if node.op_type in _WINDOWED else None
        if source is None:
            continue
        pair = windows_of(node, *dims(source)[2:])
        other = [turned(w) for w in pair]
        if other[0] is None or other[1] is None:
            return False
        upright += _needs_pad(*pair)
        reversed_ += _needs_pad(other[0], other[1])
    return reversed_ < upright


def _first_convolution(graph: ir.Graph) -> ir.Node | None:
    value = graph.inputs[0]
    while (node := sole_user(value)) is not None:
        if node.op_type == "Conv":
            return node if attribute(node, "group", 1) == 1 else None
        if node.op_type not in _PASSED:
            return None
        value = node.outputs[0]
    return None


def _needs_pad(high: Window, wide: Window) -> bool:
    return {w.way(False)[0] for w in (high, wide)} not in ({"valid"}, {"same"})
