"""Layer by layer, on the quantized prefix: integers whose output is the float network's.

The float and the integer network walk forward side by side over the same images. At each layer the integer side's true
input is at hand, with everything that quantization has done so far, and so is the output that the float network has.
The layer's weights are rounded for that input and its bias is set so that the means agree; then both sides take a step.
Empirical bias correction (Nagel et al., "Data-Free Quantization", 2019, arXiv:1906.04721, section 4.2) is the last part
alone.

Integer activations are kept as uint8, values are dropped after their last use, and the number of images is chosen to
fit, so that memory does not depend on how many calibration images there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edgekit.quantize.affine import Affine
from edgekit.quantize.analysis import LayerError, as_integers, explain, sqnr_db, with_integer_weights
from edgekit.quantize.collect import ImageSource
from edgekit.quantize.fit import fit_weights
from edgekit.quantize.influence import spread_images
from edgekit.quantize.interpreter import clip_bounds, convolve, evaluate, last_uses, torch_threads
from edgekit.quantize.network import LAYERS, SAME_SCALE, Network, Op
from edgekit.quantize.points import Points
from edgekit.quantize.scheme import Scheme
from edgekit.quantize.weights import LayerIntegers, integer_bias

_BUDGET_BYTES = 500 * 2**20
# More images than this add time and nothing else: 128 and 256 differ by less than 0.1 dB at the scores.
_MOST_IMAGES = 128
# Images that the figures of the report are measured on.
_REPORTED = 16
# Images on which means after the activation are matched. Both sides see the same ones, so few are enough.
_MATCHED = 64
_NEWTON_STEPS = 2
# A channel that hardly ever passes its ReLU would need a huge change of bias for a tiny one of its mean.
_LEAST_SLOPE = 0.02


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Integers of every integer layer, the biases of the others, and the figures of every layer and Add, in order.

    ``float_biases`` float32 ``[O]`` make up for what the integers before a float layer shift its mean by; layers whose
    input is exact have none.
    """

    layers: Mapping[str, LayerIntegers]
    errors: tuple[LayerError, ...]
    float_biases: Mapping[str, NDArray[np.float32]]


def images_for(network: Network, available: int, wanted: int) -> int:
    """How many images the walk can hold within its memory budget.

    float32 and uint8 for every live value; four times float32 for what a layer makes, one for what it reads.
    """
    forget = last_uses(network)
    live: set[str] = set()
    peak = 1
    for op in network.ops:
        live.update(op.outputs)
        now = 5 * sum(network.elements[name] for name in live) + 16 * sum(network.elements[name] for name in op.outputs)
        peak = max(peak, now)
        live -= forget.get(op.name, set())
    return max(1, min(available, wanted, _MOST_IMAGES, _BUDGET_BYTES // peak))


def quantize_tensor(value: torch.Tensor, affine: Affine) -> torch.Tensor:
    """As ONNX's QuantizeLinear: uint8, ties to even."""
    scaled = torch.round(value / float(affine.scale)).add_(affine.zero_point)
    return scaled.clamp_(0, 255).to(torch.uint8)


def reconstruct(
    network: Network,
    points: Points,
    affine: Mapping[str, Affine],
    images: ImageSource,
    scheme: Scheme,
    *,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Reconstruction:
    """Integers of every layer that is not kept in float.

    Args:
        affine: representative of each tied group → its quantization.
        images: uint8 ``[N, H, W, 3]``; at most ``scheme.images`` and 128 of them are used, fewer on very wide networks.
        progress: called with (operators done, operators in all).
    """
    with torch_threads(threads), torch.no_grad():
        count = images_for(network, len(images), scheme.images)
        walk = _Walk(network, points, affine, scheme, torch.from_numpy(spread_images(images, count)))
        forget = last_uses(network)
        for index, op in enumerate(network.ops):
            walk.step(op)
            for name in forget.get(op.name, ()):
                walk.drop(name)
            if progress is not None:
                progress(index + 1, len(network.ops))
    return Reconstruction(walk.layers, tuple(walk.errors), walk.float_biases)


class _Walk:
    """The state of both sides between two operators: float values, and integers by the same names."""

    def __init__(
        self, network: Network, points: Points, affine: Mapping[str, Affine], scheme: Scheme, pixels: torch.Tensor
    ) -> None:
        self.network = network
        self.points = points
        self.affine = {name: affine[group] for name, group in points.group.items()}
        self.scheme = scheme
        self.count = len(pixels)
        self.real: dict[str, torch.Tensor] = {network.input: pixels}
        self.integers: dict[str, torch.Tensor] = {network.input: pixels}  # uint8, of quantized values
        self.inexact: dict[str, torch.Tensor] = {}  # float32, of the integer side's values that stay float
        self.layers: dict[str, LayerIntegers] = {}
        self.errors: list[LayerError] = []
        self.float_biases: dict[str, NDArray[np.float32]] = {}

    def read(self, name: str) -> torch.Tensor:
        """The integer side's ``name`` as real numbers."""
        if name in self.inexact:
            return self.inexact[name]
        affine = self.affine[name]
        return (self.integers[name].to(torch.float32) - affine.zero_point) * affine.scale

    def store(self, name: str, value: torch.Tensor) -> None:
        if name in self.affine:
            self.integers[name] = quantize_tensor(value, self.affine[name])
        producer = self.network.producer[name]
        if name not in self.affine or producer.name in self.points.float_ops:
            self.inexact[name] = value

    def drop(self, name: str) -> None:
        for store in (self.real, self.integers, self.inexact):
            store.pop(name, None)

    def step(self, op: Op) -> None:
        integer = op.name not in self.points.float_ops
        if op.kind in ("Transpose", "Cast"):
            self.real[op.output] = evaluate(op, [self.real[op.inputs[0]]], self.count)[0]
            pixels = self.integers[op.inputs[0]]
            self.integers[op.output] = pixels.permute(0, 3, 1, 2) if op.kind == "Transpose" else pixels
        elif op.kind in LAYERS and integer:
            self._layer(op)
        elif op.kind in LAYERS:
            self._float_layer(op)
        else:
            self._other(op, integer)

    def _other(self, op: Op, integer: bool) -> None:
        outputs = evaluate(op, [self.real[name] for name in op.inputs], self.count)
        self.real.update(zip(op.outputs, outputs, strict=True))
        if integer and op.inputs and op.inputs[0] in self.network.fused:
            return  # the layer before has stored its activation's result
        if integer and op.kind in SAME_SCALE - {"AveragePool", "Concat", "Expand"} and op.inputs[0] in self.integers:
            moved = evaluate(op, [self.integers[op.inputs[0]].to(torch.float32)], self.count)
            self.integers.update((name, v.to(torch.uint8)) for name, v in zip(op.outputs, moved, strict=True))
            return
        results = evaluate(op, [self._input(op, name) for name in op.inputs], self.count)
        activation = self.network.fused.get(op.output) if integer else None
        if activation is not None:
            results = evaluate(activation, results, self.count)
        for name, value in zip((activation or op).outputs, results, strict=True):
            self.store(name, value)
        if op.kind == "Add" and integer:
            self._report(op, (activation or op).output, outputs[0], None)

    def _float_layer(self, op: Op) -> None:
        """A layer kept in float: exact weights, on an input that integers may have shifted."""
        weight, bias = torch.tensor(op.weight), torch.tensor(op.bias)
        before, now = self.real[op.inputs[0]], self.read(op.inputs[0])
        target = convolve(op, before, weight, bias)
        self.real[op.output] = target
        got = convolve(op, now, weight, None)
        if self.scheme.bias_correction and not torch.equal(before, now):
            over = tuple(d for d in range(got.ndim) if d != 1)
            start = target.mean(over, dtype=torch.float64) - got.mean(over, dtype=torch.float64)
            sample = slice(None, None, max(1, self.count // _MATCHED))
            activation = self.network.fused.get(op.output)
            unit = torch.ones(len(bias), dtype=torch.float32)
            bias = _match_means(got[sample], unit, target[sample], start, activation).to(torch.float32)
            self.float_biases[op.name] = bias.numpy()
        self.store(op.output, got + bias.reshape(-1, *([1] * (got.ndim - 2))))

    def _input(self, op: Op, name: str) -> torch.Tensor:
        """What ``op`` reads: integers, unless both it and the value's maker stay in float."""
        if op.name not in self.points.float_ops and name in self.integers:
            affine = self.affine[name]
            return (self.integers[name].to(torch.float32) - affine.zero_point) * affine.scale
        return self.read(name)

    def _layer(self, op: Op) -> None:
        source = self.affine[op.inputs[0]]
        name = self.network.result(op)
        result = self.affine[name]
        target = convolve(op, self.real[op.inputs[0]], torch.tensor(op.weight), torch.tensor(op.bias))
        self.real[op.output] = target
        zeroed = self.integers[op.inputs[0]].to(torch.float32) - source.zero_point
        height, width = target.shape[2:] if target.ndim == 4 else (1, 1)
        scale, integers = fit_weights(op, zeroed, (height, width), source, result, self.scheme)
        # In the integers' own units: exact in float32 as long as sums stay below 2**24.
        accumulator = convolve(op, zeroed, torch.from_numpy(integers.astype(np.float32)), None)
        del zeroed
        per_channel = (-1, *([1] * (accumulator.ndim - 2)))
        unit = torch.from_numpy(np.float32(source.scale) * scale)
        activation = self.network.fused.get(op.output)
        bias = op.bias.astype(np.float64)
        if self.scheme.bias_correction:
            over = tuple(d for d in range(accumulator.ndim) if d != 1)
            now = accumulator.mean(over, dtype=torch.float64) * unit
            start = target.mean(over, dtype=torch.float64) - now
            sample = slice(None, None, max(1, self.count // _MATCHED))
            bias = _match_means(accumulator[sample], unit, target[sample], start, activation).numpy()
        self.layers[op.name] = LayerIntegers(integers, scale, integer_bias(bias, source, scale))
        accumulator += torch.from_numpy(self.layers[op.name].bias.astype(np.float32)).reshape(per_channel)
        accumulator *= unit.reshape(per_channel)
        if activation is not None:
            accumulator.clamp_(*_bounds(activation))
        self.integers[name] = quantize_tensor(accumulator, result)
        self._report(op, name, target, source)

    def _report(self, op: Op, name: str, output: torch.Tensor, source: Affine | None) -> None:
        """Figures of a layer or an Add whose float output before activation is ``output``."""
        activation = self.network.fused.get(op.output)
        bounds = (-np.inf, np.inf) if activation is None else _bounds(activation)
        floor = self._floor(name)
        real = torch.maximum(output[:_REPORTED].clamp(*bounds), floor)
        affine = self.affine[name]
        weights_db = None
        if source is not None:
            rounded = with_integer_weights(op, self.real[op.inputs[0]][:_REPORTED], self.layers[op.name], source)
            weights_db = sqnr_db(real, torch.maximum(rounded.clamp_(*bounds), floor))
        activations_db = sqnr_db(real, torch.maximum(as_integers(real, affine), floor))
        got = torch.maximum(
            (self.integers[name][:_REPORTED].to(torch.float32) - affine.zero_point) * affine.scale, floor
        )
        why = explain(real, affine, weights_db, activations_db)
        self.errors.append(LayerError(op.name, op.kind, weights_db, activations_db, sqnr_db(real, got), why))

    def _floor(self, name: str) -> torch.Tensor:
        """Below this the value ``name`` is not heard."""
        other = self.network.hushed_by(name)
        return (
            -self.real[other][:_REPORTED] if other is not None and other in self.real else torch.tensor(-float("inf"))
        )


def _match_means(
    accumulator: torch.Tensor, unit: torch.Tensor, target: torch.Tensor, start: torch.Tensor, activation: Op | None
) -> torch.Tensor:
    """The bias, float64 ``[O]``, with which integer and float outputs have equal means after the activation.

    Rounding noise that is zero on average lifts the mean of what passes a ReLU, so that equal means before it are not
    enough. Newton's method: the slope of the mean is the share of the values that are not clamped.
    """
    if activation is None:
        return start
    low, high = _bounds(activation)
    over = tuple(d for d in range(accumulator.ndim) if d != 1)
    shape = (-1, *([1] * (accumulator.ndim - 2)))
    wanted = target.clamp(low, high).mean(over, dtype=torch.float64)
    bias = start
    for _ in range(_NEWTON_STEPS):
        before = accumulator * unit.reshape(shape) + bias.to(torch.float32).reshape(shape)
        after = before.clamp(low, high)
        free = (before == after).to(torch.float32).mean(over, dtype=torch.float64)
        bias = bias + (wanted - after.mean(over, dtype=torch.float64)) / free.clamp_min(_LEAST_SLOPE)
    return bias


def _bounds(activation: Op) -> tuple[float, float]:
    return (0.0, float("inf")) if activation.kind == "Relu" else clip_bounds(activation)
