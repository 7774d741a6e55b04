"""Cross-layer equalization: channels rescaled over the whole network so that shared ranges fit, exactly in float.

Dividing a channel by s > 0 where it is made and multiplying by s where it is read changes nothing in real numbers, as
long as everything between commutes with a positive factor: ReLU, pooling, moving channels about, adding two channels
with the same factor. Per-tensor integers gain: a channel that uses a tenth of the shared range gets ten times the
resolution. (Nagel et al., "Data-Free Quantization", 2019, arXiv:1906.04721, do this for pairs of layers.)

Rules

1. Every channel of every value is an *atom*. Relu, MaxPool, AveragePool, GlobalAveragePool, Flatten, Split and Concat
   (axis 1) pass atoms on; Add ties its two inputs' and its output's. One variable s per set of tied atoms.
2. Conv and Gemm end an atom and begin new ones, also depthwise: W'[o, i] = W[o, i]·s[i] / s[o], b'[o] = b[o] / s[o].
3. Atoms of the image, of the scores, and those that touch Clip, HardSwish, Sigmoid, Mul or Softmax keep s = 1.
4. A channel may also be *shifted* by a constant t that its makers' biases take off and its readers' biases put back, if
   every operator between commutes with that: Split, Concat, MaxPool, GlobalAveragePool and Flatten do, and its readers
   are layers without padding. That centres the channels of a depthwise convolution's result on each other.
5. s minimizes the rounding noise that all activations and all weights together add to the scores, weighed by
   :mod:`edgekit.quantize.influence`. It is one smooth problem over all variables: ranges are maxima over channels,
   softened to p-norms, and tied tensors (Concat) count as one range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from edgekit.quantize.constants import BIAS, WEIGHT, constant, replace_constant
from edgekit.quantize.influence import Influence
from edgekit.quantize.interpreter import torch_threads
from edgekit.quantize.minimize import minimize
from edgekit.quantize.network import LAYERS, Network, Op
from edgekit.quantize.points import Points, UnionFind
from edgekit.quantize.ranges import Rescaling
from edgekit.quantize.scheme import Rounding, Scheme
from edgekit.quantize.statistics import TensorStatistics

_PASSES = frozenset({"Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Flatten", "Split", "Concat", "Add"})
_SHIFTS = frozenset({"Split", "Concat", "MaxPool", "GlobalAveragePool", "Flatten"})
_NORM = 16.0
# No channel is stretched by more than this against its neighbours: a dead channel gains nothing and costs headroom.
_LARGEST_FACTOR = 64.0
_STEPS = 120
# A channel counts with what all but its few most extreme pictures reach: their mean reach and this many standard
# deviations. What goes beyond is clipped or not by the tensor's range. On V1, 1.5, 2 and 2.5 gave 23.0, 23.3, 23.4 dB
# and 1 or the very extremes 0.5 dB less.
_DEVIATIONS = 2.0
# What is left of the weights' rounding noise that influence predicts: second-moment rounding takes back most of it.
WEIGHT_NOISE: dict[Rounding, float] = {"nearest": 1.0, "second-moment": 0.1}


@dataclass(frozen=True, eq=False)
class Atoms:
    """``variable``: value name → index of each channel's variable ``[C]``, -1 where s must be 1.

    ``shiftable``: for each variable (and last for -1), whether rule 4 lets its channels be shifted.
    """

    variable: Mapping[str, NDArray[np.int64]]
    count: int
    shiftable: NDArray[np.bool_]


def atoms(network: Network) -> Atoms:
    """Rules 1 to 3."""
    start: dict[str, int] = {}
    total = 1  # atom 0 stands for s = 1
    for name, channels in {network.input: 1, **network.channels}.items():
        start[name] = total
        total += channels
    span = {name: range(first, first + network.channels.get(name, 1)) for name, first in start.items()}
    ties = UnionFind(range(total))
    frozen: list[str] = [network.input, network.output]
    for op in network.ops:
        if op.kind in LAYERS:
            continue
        if not _commutes(op, network):
            frozen.extend((*op.inputs, *op.outputs))
        elif op.kind == "Concat":
            joined = [atom for name in op.inputs for atom in span[name]]
            _tie(ties, joined, span[op.output])
        elif op.kind == "Split":
            _tie(ties, [atom for name in op.outputs for atom in span[name]], span[op.inputs[0]])
        else:
            for name in op.inputs:
                _tie(ties, span[name], span[op.output])
    for name in frozen:
        for atom in span[name]:
            ties.union(0, atom)
    roots = np.array([ties.find(atom) for atom in range(total)])
    variables = np.unique(roots[roots != 0])
    index = np.where(roots == 0, -1, np.searchsorted(variables, roots))
    variable = {name: index[list(atom_range)] for name, atom_range in span.items()}
    shiftable = np.ones(len(variables) + 1, dtype=bool)
    shiftable[-1] = False
    for op in network.ops:
        if op.kind in LAYERS:
            if any(op.integers("pads", (0, 0, 0, 0))):
                shiftable[variable[op.inputs[0]]] = False
        elif op.kind not in _SHIFTS or op.constants.keys() - {"split"} or not _commutes(op, network):
            for name in (*op.inputs, *op.outputs):
                shiftable[variable[name]] = False
    return Atoms(variable, len(variables), shiftable)


def _commutes(op: Op, network: Network) -> bool:
    if op.kind not in _PASSES or any(name not in network.channels for name in op.inputs):
        return False
    if op.kind == "Concat":
        return op.integer("axis", 1) == 1 and not op.constants
    return op.kind == "Split" or all(network.channels[name] == network.channels[op.output] for name in op.inputs)


def _tie(ties: UnionFind[int], first: object, second: object) -> None:
    for one, other in zip(first, second, strict=True):  # type: ignore[call-overload]
        ties.union(one, other)


def solve(
    network: Network, points: Points, statistics: Mapping[str, TensorStatistics], influence: Influence, scheme: Scheme
) -> dict[str, Rescaling]:
    """Layer name → factor s and shift t of each output channel (rules 4 and 5)."""
    found = atoms(network)
    if found.count == 0:
        return {}
    terms = _Terms(network, points, statistics, influence, found, scheme)

    def function(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logarithm = torch.tensor(point, requires_grad=True)
        loss = torch.log(terms.noise(_bounded(logarithm)))
        (gradient,) = torch.autograd.grad(loss, logarithm)
        return float(loss.detach()), gradient.numpy()

    with torch_threads(1):  # thousands of small operations
        best = minimize(function, np.zeros(found.count), _STEPS)
    scale = np.exp(_bounded(torch.from_numpy(best)).numpy())
    # float32 numbers are what is stored, so that applying them again gives the same weights.
    values = np.concatenate([scale, [1.0]]).astype(np.float32).astype(np.float64)
    rescaling = {}
    for op in network.layers:
        factor = values[found.variable[op.output]]
        shift = np.zeros(len(factor), np.float32)
        if op.output in statistics:
            seen = statistics[op.output]
            reach = seen.channel_reach(_DEVIATIONS)
            middle = (reach[0] + reach[1]) / 2 / factor
            shift = np.where(_shifted(found, points, statistics, op.output), middle, 0).astype(np.float32)
        rescaling[op.name] = Rescaling(tuple(factor.tolist()), tuple(shift.tolist()))
    return rescaling


def _shifted(found: Atoms, points: Points, statistics: Mapping[str, TensorStatistics], name: str) -> bool:
    """Whether every measured tensor that shares the scale of ``name`` can be shifted."""
    tied = points.members.get(points.group.get(name, ""), ())
    measured = [member for member in tied if member in statistics]
    return bool(measured) and all(found.shiftable[found.variable[member]].all() for member in measured)


def _useful_reach(
    network: Network, statistics: Mapping[str, TensorStatistics], name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each channel's usual reach; what a ReLU after an Add turns into zero anyway need not be told apart.

    Evidence for classes counts with all that was seen: a calibration set shows most classes rarely or never.
    """
    seen = statistics[name]
    if name in network.evidence:
        return seen.channel_low.astype(np.float64), seen.channel_high.astype(np.float64)
    low, high = seen.channel_reach(_DEVIATIONS)
    other = network.hushed_by(name)
    if other is not None and other in statistics:
        low = np.maximum(low, -np.maximum(statistics[other].channel_reach(_DEVIATIONS)[1], 0))
    return low, high


def scaled(
    network: Network, rescaling: Mapping[str, Rescaling], influence: Influence
) -> dict[str, NDArray[np.float64]]:
    """Influence of every measured activation's channels in the equalized network."""
    found = atoms(network)
    factor = np.ones(found.count + 1)
    for op in network.layers:
        if op.name in rescaling:
            factor[found.variable[op.output]] = rescaling[op.name].factors
    factor[-1] = 1.0
    return {name: effect * factor[found.variable[name]] ** 2 for name, effect in influence.activations.items()}


def _bounded(logarithm: torch.Tensor) -> torch.Tensor:
    bound = float(np.log(_LARGEST_FACTOR))
    return bound * torch.tanh(logarithm / bound)


class _Terms:
    """Predicted noise of the scores as a function of log s."""

    def __init__(
        self,
        network: Network,
        points: Points,
        statistics: Mapping[str, TensorStatistics],
        influence: Influence,
        found: Atoms,
        scheme: Scheme,
    ) -> None:
        self.limit = scheme.weight_limit
        self.weight_noise = WEIGHT_NOISE[scheme.rounding]
        self.layers = []
        for op in network.layers:
            if op.name in points.float_ops:
                continue
            rows, depth = op.weight.shape[:2]
            magnitude = torch.from_numpy(np.abs(op.weight.astype(np.float64))).reshape(rows, depth, -1).amax(2)
            weighs = torch.from_numpy(influence.weights[op.name]).reshape(rows, depth, -1).sum(2)
            channel = np.arange(rows)[:, None] // (rows // op.group) * depth + np.arange(depth)[None, :]
            inputs = torch.from_numpy(found.variable[op.inputs[0]][channel])
            largest = magnitude.amax(1, keepdim=True).clamp_min(1e-12)
            self.layers.append((torch.log((magnitude / largest).clamp_min(1e-9)), largest[:, 0], weighs, inputs))
        self.tensors = []
        for group, members in points.members.items():
            if group in points.fixed:
                continue
            measured = [name for name in members if name in statistics]
            if not measured:
                continue
            reaches = [_useful_reach(network, statistics, name) for name in measured]
            high = np.concatenate([np.maximum(reach[1], 0) for reach in reaches])
            low = np.concatenate([np.maximum(-reach[0], 0) for reach in reaches])
            cost = np.concatenate([influence.activations[name] for name in measured])
            variable = np.concatenate([found.variable[name] for name in measured])
            if _shifted(found, points, statistics, measured[0]):
                # Centred on zero, a channel reaches as far up as down.
                high = low = np.concatenate([(reach[1] - reach[0]) / 2 for reach in reaches])
            self.tensors.append(
                (
                    torch.from_numpy(np.log(np.maximum(high, 1e-9).astype(np.float64))),
                    torch.from_numpy(np.log(np.maximum(low, 1e-9).astype(np.float64))),
                    torch.from_numpy(cost),
                    torch.from_numpy(variable),
                )
            )

    def noise(self, logarithm: torch.Tensor) -> torch.Tensor:
        every = torch.cat([logarithm, logarithm.new_zeros(1)])  # index -1 is s = 1
        total = logarithm.new_zeros(())
        for high, low, weighs, variable in self.tensors:
            log_s = every[variable]
            width = _soft_maximum(high - log_s, 0) + _soft_maximum(low - log_s, 0)
            total = total + (width / 255).square() / 12 * (weighs * torch.exp(2 * log_s)).sum()
        for magnitude, largest, weighs, inputs in self.layers:
            log_s = every[inputs]
            step = _soft_maximum(magnitude + log_s, 1) * largest / self.limit
            total = total + self.weight_noise * (step.square() / 12 * (weighs * torch.exp(-2 * log_s)).sum(1)).sum()
        return total


def _soft_maximum(logarithms: torch.Tensor, dim: int) -> torch.Tensor:
    """The p-norm of exp(logarithms): a maximum that every channel near it can feel."""
    return torch.exp(torch.logsumexp(logarithms * _NORM, dim) / _NORM)


def apply(model: ir.Model, network: Network, rescaling: Mapping[str, Rescaling]) -> ir.Model:
    """A copy of ``model`` with rules 2 and 4 carried out; the same network in real numbers."""
    copy = model.clone()
    found = atoms(network)
    factor, shift = np.ones(found.count + 1), np.zeros(found.count + 1)
    for op in network.layers:
        factor[found.variable[op.output]] = rescaling[op.name].factors
        shift[found.variable[op.output]] = rescaling[op.name].shifts
    factor[-1], shift[-1] = 1.0, 0.0
    by_output = {node.outputs[0].name: node for node in copy.graph}
    for op in network.layers:
        made, read = found.variable[op.output], found.variable[op.inputs[0]]
        rows, depth = op.weight.shape[:2]
        channel = np.arange(rows)[:, None] // (rows // op.group) * depth + np.arange(depth)[None, :]
        change = (factor[read[channel]] / factor[made][:, None]).reshape(rows, depth, *([1] * (op.weight.ndim - 2)))
        weight = op.weight.astype(np.float64) * change
        put_back = (weight.reshape(rows, depth, -1).sum(2) * shift[read[channel]]).sum(1)
        # The graph's own bias: the reader may have moved a part of the pixels' mean colour into the network's.
        node = by_output[op.output]
        replace_constant(copy.graph, node, WEIGHT, weight)
        replace_constant(copy.graph, node, BIAS, constant(node, BIAS) / factor[made] + put_back - shift[made])
    return copy
