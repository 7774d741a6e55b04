"""Where quantization loses signal: the float and the integer network walk side by side over a few pictures.

At every layer three signal-to-quantization-noise ratios (10·log10 Σ r² / Σ e², dB) are taken at its result r, the value
after the activation fused into it:

1. *weights*: the float input meets the integer weights; the error's mean per channel is left out, since the integer
   bias takes it up;
2. *activation*: r is rounded to its 256 levels, everything before it is float;
3. *cumulative*: everything up to here is integer.

They are measured on the equalized graph, which is the same network in real numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from edgekit.quantize import QuantizedGraph, equalize
from edgekit.quantize.affine import Affine
from edgekit.quantize.interpreter import clip_bounds, convolve, evaluate, last_uses
from edgekit.quantize.network import LAYERS, SAME_SCALE, Network, Op, read
from edgekit.report.record import LayerNoise, RangeHistogram

# Ratios of ordinary pictures move by less than half a dB beyond this many.
PICTURES = 16
_BINS = 72
# Layers whose figures are explained: those that lose most.
_EXPLAINED = 8


@dataclass(frozen=True)
class Noise:
    """Every layer's ratios, and every measured activation's values with the range that its 256 levels span."""

    layers: tuple[LayerNoise, ...]
    histograms: tuple[RangeHistogram, ...]


def measure(model: ir.Model, quantized: QuantizedGraph, pictures: NDArray[np.uint8], *, threads: int = 2) -> Noise:
    """Walks both networks.

    Args:
        model: the lowered float graph that was quantized; not modified.
        quantized: what became of it.
        pictures: uint8 ``[N, H, W, 3]`` RGB; at most :data:`PICTURES` of them are used, spread evenly.
    """
    network = read(model)
    if quantized.ranges.equalization:
        network = read(equalize.apply(model, network, quantized.ranges.equalization))
    chosen = np.linspace(0, len(pictures) - 1, min(PICTURES, len(pictures))).astype(int)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.no_grad():
            walk = _Walk(network, quantized, torch.from_numpy(np.ascontiguousarray(pictures[chosen])))
            walk.run()
    finally:
        torch.set_num_threads(before)
    return Noise(_explained(walk.rows), tuple(walk.histograms))


@dataclass
class _Row:
    noise: LayerNoise
    reasons: Mapping[str, str] = field(default_factory=dict)  # "weights" | "activation" → why it is what it is

    @property
    def least(self) -> float:
        own = [v for v in (self.noise.weights_db, self.noise.activations_db) if v is not None]
        return min(own, default=math.inf)


class _Walk:
    """Float values on one side, dequantized integers on the other, by value name; both float32."""

    def __init__(self, network: Network, quantized: QuantizedGraph, pixels: torch.Tensor) -> None:
        self.network = network
        self.quantized = quantized
        self.count = len(pixels)
        self.real: dict[str, torch.Tensor] = {network.input: pixels}
        self.integer: dict[str, torch.Tensor] = {network.input: pixels}
        self.rows: list[_Row] = []
        self.histograms: list[RangeHistogram] = []

    def run(self) -> None:
        forget = last_uses(self.network)
        for op in self.network.ops:
            if op.outputs[0] not in self.real:
                self._step(op)
            for name in forget.get(op.name, ()):
                self.real.pop(name, None)
                self.integer.pop(name, None)

    def _step(self, op: Op) -> None:
        activation = self.network.fused.get(op.output)
        result = op.output if activation is None else activation.output
        real = self._both(op, self.real)
        if op.name in self.quantized.layers:
            integer, weights_db, reason = self._layer(op, real[0])
        else:
            integer, weights_db, reason = self._both(op, self.integer), None, None
        names = list(op.outputs)
        if activation is not None:
            real = evaluate(activation, real, self.count)
            integer = evaluate(activation, integer, self.count)
            names = [result]
            self.real[op.output] = self.integer[op.output] = real[0]  # read by the activation alone, which is done
        for name, value, other in zip(names, real, integer, strict=True):
            self.real[name], self.integer[name] = value, self._rounded(name, other)
        if op.kind not in SAME_SCALE | {"Transpose", "Cast"}:
            self._record(op, result, weights_db, reason)

    def _both(self, op: Op, values: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        return evaluate(op, [values[name] for name in op.inputs], self.count)

    def _layer(self, op: Op, real: torch.Tensor) -> tuple[list[torch.Tensor], float | None, str]:
        """The integer side's output, the ratio that the weights alone leave, and what is special about them."""
        own = self.quantized.layers[op.name]
        source = self.quantized.affine[op.inputs[0]]
        scale = own.scale.reshape(-1, *([1] * (op.weight.ndim - 1)))
        weight = torch.from_numpy(own.weight.astype(np.float32) * scale)
        bias = torch.from_numpy((own.bias * (np.float32(source.scale) * own.scale)).astype(np.float32))
        error = convolve(op, self.real[op.inputs[0]], weight - torch.from_numpy(op.weight), None)
        error -= error.mean([d for d in range(error.ndim) if d != 1], keepdim=True)
        noisy = real + error
        activation = self.network.fused.get(op.output)
        if activation is not None:
            low, high = (0.0, math.inf) if activation.kind == "Relu" else clip_bounds(activation)
            noisy, real = noisy.clamp(low, high), real.clamp(low, high)
        integer = convolve(op, self.integer[op.inputs[0]], weight, bias)
        return [integer], _decibels(real, noisy), _about_weights(op)

    def _rounded(self, name: str, value: torch.Tensor) -> torch.Tensor:
        affine = self.quantized.affine.get(name)
        return value if affine is None else _round(value, affine)

    def _record(self, op: Op, result: str, weights_db: float | None, reason: str | None) -> None:
        real, affine = self.real[result], self.quantized.affine.get(result)
        reasons = {} if reason is None else {"weights": reason}
        activations_db = None
        if affine is not None:
            activations_db = _decibels(real, _round(real, affine))
            reasons["activation"] = _about_values(real, affine)
            self.histograms.append(_histogram(result, real, affine, self._observer(result)))
        cumulative = _decibels(real, self.integer[result])
        self.rows.append(_Row(LayerNoise(op.name, _kind(op), weights_db, activations_db, cumulative), reasons))

    def _observer(self, name: str) -> str:
        chosen = self.quantized.ranges.tensors.get(name)
        return "" if chosen is None else chosen.observer


def _round(value: torch.Tensor, affine: Affine) -> torch.Tensor:
    levels = torch.round(value / affine.scale).add_(affine.zero_point).clamp_(0, 255)
    return (levels - affine.zero_point) * affine.scale


def _decibels(real: torch.Tensor, other: torch.Tensor) -> float | None:
    """None where there is no signal (a layer whose activation is always off) or no noise."""
    signal = float(real.double().square().sum())
    noise = float((real.double() - other.double()).square().sum())
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def _explained(rows: list[_Row]) -> tuple[LayerNoise, ...]:
    """The layers in order; those that lose most by themselves say why."""
    worst = sorted(range(len(rows)), key=lambda i: rows[i].least)[:_EXPLAINED]
    found = []
    for i, row in enumerate(rows):
        noise, why = row.noise, ""
        if i in worst and row.reasons:
            by_weights = noise.weights_db is not None and noise.weights_db == row.least
            why = row.reasons.get("weights" if by_weights else "activation", "")
        found.append(LayerNoise(noise.name, noise.op, noise.weights_db, noise.activations_db, noise.cumulative_db, why))
    return tuple(found)


def _about_weights(op: Op) -> str:
    """Which channel's weights are the hardest to cover with 255 levels."""
    flat = np.abs(op.weight.reshape(len(op.weight), -1).astype(np.float64))
    spread = flat.max(1) / np.maximum(np.sqrt(np.square(flat).mean(1)), 1e-12)
    channel = int(spread.argmax())
    return (
        f"rounding of weights: channel {channel}'s largest is {spread[channel]:.1f} × their root mean square "
        f"(median over channels {np.median(spread):.1f} ×)"
    )


def _about_values(real: torch.Tensor, affine: Affine) -> str:
    """What makes the step of an activation coarse: one wide channel, or a range far beyond the usual values."""
    channels = real.transpose(0, 1).reshape(real.shape[1], -1)
    widths = (channels.amax(1).clamp_min(0) - channels.amin(1).clamp_max(0)).numpy()
    widest, median = float(widths.max()), float(np.median(widths))
    clipped = float(((real < affine.low - affine.scale / 2) | (real > affine.high + affine.scale / 2)).float().mean())
    said = f"range of its values: step {affine.scale:.3g}"
    if median > 0 and widest > 3 * median:
        said += f", set by channel {int(widths.argmax())}, {widest:.3g} wide where the median channel is {median:.3g}"
    else:
        deviation = float(real.std())
        said += f", {(affine.high - affine.low) / max(deviation, 1e-12):.0f} standard deviations wide"
    return said + (f", {100 * clipped:.2g} % clipped" if clipped > 0 else "")


def _histogram(name: str, real: torch.Tensor, affine: Affine, observer: str) -> RangeHistogram:
    low, high = float(real.min()), float(real.max())
    if high <= low:
        high = low + 1e-6
    counts = torch.histc(real.float(), _BINS, low, high).numpy().astype(np.int64)
    return RangeHistogram(name, counts, low, high, (affine.low, affine.high), observer)


def _kind(op: Op) -> str:
    if op.kind not in LAYERS or op.kind == "Gemm":
        return op.kind
    if op.depthwise:
        return "Conv depthwise"
    pointwise = op.weight.shape[2:] == (1, 1)
    return ("Conv 1×1" if pointwise else "Conv") + (" grouped" if op.group > 1 else "")
