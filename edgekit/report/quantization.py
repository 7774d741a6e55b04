"""What the quantizer measured on its way, in the values that a report shows."""

from __future__ import annotations

import numpy as np

from edgekit.quantize import QuantizedGraph
from edgekit.report.record import LayerNoise, RangeHistogram


def layer_noise(quantized: QuantizedGraph) -> tuple[LayerNoise, ...]:
    """Each layer's signal-to-noise ratios, in execution order; empty if it was quantized without pictures."""
    return tuple(
        LayerNoise(
            error.name,
            _kind(quantized, error.name, error.op),
            error.weights_db,
            error.activations_db,
            error.cumulative_db,
            error.why,
        )
        for error in quantized.errors
    )


def range_histograms(quantized: QuantizedGraph) -> tuple[RangeHistogram, ...]:
    """Every measured activation's values, and the range that its 256 levels span after ties and zero."""
    found = []
    for name, seen in quantized.ranges.tensors.items():
        affine = quantized.affine.get(name)
        if affine is None or not seen.histogram or not seen.seen_low < seen.seen_high:
            continue
        counts = np.array(seen.histogram, np.int64)
        chosen = (affine.low, affine.high)
        found.append(RangeHistogram(name, counts, seen.seen_low, seen.seen_high, chosen, seen.observer))
    return tuple(found)


def _kind(quantized: QuantizedGraph, name: str, op: str) -> str:
    """``Conv 1×1`` and ``Conv depthwise`` behave differently under quantization, so they are told apart."""
    layer = quantized.layers.get(name)
    if op != "Conv" or layer is None:
        return op
    outputs, inputs, *kernel = layer.weight.shape
    if inputs == 1 and outputs > 1:
        return "Conv depthwise"
    return "Conv 1×1" if kernel == [1, 1] else "Conv"
