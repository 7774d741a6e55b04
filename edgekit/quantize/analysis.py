"""Where int8 loses signal: figures for one layer at a time, in dB, as frozen values for the report."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edgekit.quantize.affine import Affine
from edgekit.quantize.interpreter import convolve
from edgekit.quantize.network import Op
from edgekit.quantize.weights import LayerIntegers, spread

# A perfect match would be infinite; nothing in 8 bits is.
_BEST_DB = 120.0
# A channel counts as an outlier when it needs this many times the range of the median channel.
_OUTLIER = 4.0


@dataclass(frozen=True, slots=True)
class LayerError:
    """Signal-to-quantization-noise ratios at one layer's result (after its activation), in dB; None: not quantized.

    Attributes:
        name: the layer (node), as ``keep_float`` takes it.
        op: its operator.
        weights_db: with only this layer's weights and bias as integers, and float inputs.
        activations_db: with only this layer's result as integers.
        cumulative_db: of the integer network up to here.
        why: what is behind the worst of them, in words; empty where nothing stands out.
    """

    name: str
    op: str
    weights_db: float | None
    activations_db: float | None
    cumulative_db: float
    why: str = ""


def sqnr_db(real: torch.Tensor, other: torch.Tensor) -> float:
    """10·log10(variance of ``real`` / mean squared difference), the mean of ``real`` being no signal."""
    signal = float(real.var(correction=0))
    noise = float((real - other).square().mean())
    if noise <= signal * 10 ** (-_BEST_DB / 10):
        return _BEST_DB
    return float(10 * torch.log10(torch.tensor(max(signal, 1e-30) / noise, dtype=torch.float64)))


def as_integers(value: torch.Tensor, affine: Affine) -> torch.Tensor:
    """``value`` rounded to its quantization, as real numbers."""
    return torch.fake_quantize_per_tensor_affine(value, affine.scale, affine.zero_point, 0, 255)


def with_integer_weights(op: Op, x: torch.Tensor, integers: LayerIntegers, source: Affine) -> torch.Tensor:
    """The layer's output before any activation, from float inputs and integer weights and bias."""
    weight = torch.from_numpy(integers.weight * spread(integers.scale, integers.weight)).to(torch.float32)
    bias = torch.from_numpy(integers.bias * (integers.scale.astype("float64") * source.scale)).to(torch.float32)
    return convolve(op, x, weight, bias)


def explain(value: torch.Tensor, affine: Affine | None, weights_db: float | None, activations_db: float | None) -> str:
    """What stands out about a layer's result: an outlier channel, clipping, or weights that dominate."""
    said = []
    if value.ndim > 1 and value.shape[1] > 1:
        flat = value.transpose(0, 1).reshape(value.shape[1], -1)
        spans = flat.amax(1).clamp_min(0) - flat.amin(1).clamp_max(0)
        widest, median = float(spans.max()), float(spans.median())
        outliers = int((spans > _OUTLIER * max(median, 1e-12)).sum())
        if 0 < outliers <= max(2, len(spans) // 20):
            channels = "one outlier channel" if outliers == 1 else f"{outliers} outlier channels"
            said.append(f"{channels}: range {widest:.3g} where the median is {median:.3g}")
    if affine is not None:
        outside = float(((value < affine.low - affine.scale) | (value > affine.high + affine.scale)).float().mean())
        if outside > 1e-4:
            said.append(f"{100 * outside:.2g} % of the values are clipped")
    if weights_db is not None and activations_db is not None and weights_db + 6 < activations_db:
        said.append("the rounding of its weights costs more than that of its result")
    return "; ".join(said)
