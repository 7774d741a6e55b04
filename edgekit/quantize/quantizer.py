"""The two stages of quantization, as the pipeline calls them: calibrate, then quantize."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit.errors import CalibrationError
from edgekit.quantize import adds, equalize, influence, points, qdq, splitting
from edgekit.quantize.affine import Affine, from_range
from edgekit.quantize.analysis import LayerError
from edgekit.quantize.choose import Choice, Judgement, noise_of, observed_choice
from edgekit.quantize.collect import ImageSource, Progress, measure
from edgekit.quantize.network import Network, read
from edgekit.quantize.observers import EXTREME
from edgekit.quantize.points import Points
from edgekit.quantize.ranges import Ranges, Rescaling, TensorRange
from edgekit.quantize.reconstruct import reconstruct
from edgekit.quantize.scheme import Scheme
from edgekit.quantize.statistics import TensorStatistics
from edgekit.quantize.weights import LayerIntegers, round_nearest

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class QuantizedGraph:
    """A QDQ graph and every number that went into it.

    Attributes:
        model: the QDQ graph, as the emitters take it.
        affine: value name → its uint8 quantization, for every quantized activation.
        layers: layer name → integer weights, scales and bias.
        errors: what each layer and Add loses, in execution order; empty if no images were given.
        kept_float: names of the layers that compute in float.
        output: quantization of the scores; None where the last layer is kept in float and the scores are float32.
    """

    model: ir.Model
    scheme: Scheme
    ranges: Ranges
    affine: Mapping[str, Affine] = field(repr=False)
    layers: Mapping[str, LayerIntegers] = field(repr=False)
    errors: tuple[LayerError, ...] = field(default=(), repr=False)
    kept_float: tuple[str, ...] = ()
    output: Affine | None = None


def calibrate(
    model: ir.Model,
    images: ImageSource,
    scheme: Scheme = Scheme(),  # noqa: B008 - frozen
    *,
    threads: int = 2,
    progress: Progress | None = None,
) -> Ranges:
    """Measures the ranges of a lowered float graph's activations over calibration images.

    Args:
        model: the lowered float graph; not modified.
        images: uint8 ``[N, H, W, 3]`` RGB, preprocessed; sliced a batch at a time, so any number fits in memory.
        scheme: which observer, and whether channels are equalized.
        progress: called with (images done, images in all).

    Raises:
        CalibrationError: no images, wrong dtype or shape, or activations that are not finite.
        GraphError: not a lowered graph.
    """
    network = read(model)
    statistics, digest = measure(model, images, threads=threads, progress=progress)
    rescaling: dict[str, Rescaling] = {}
    effect: influence.Influence | None = None
    if scheme.equalize or scheme.split_channels:
        # One image at a time is too little work to share: a second thread would mostly wait.
        effect = influence.measure(network, images, threads=1)
    if scheme.equalize and effect is not None:
        where = points.find(network, scheme.keep_float)
        rescaling = equalize.solve(network, where, statistics, effect, scheme)
    if rescaling:
        model = equalize.apply(model, network, rescaling)
        statistics, digest = measure(model, images, threads=threads, progress=progress)
    network = read(model)
    where = points.find(network, scheme.keep_float)
    judged = None
    if scheme.observer == "auto":
        judged = Judgement(network, where, statistics, images, threads=threads)
        chosen, whole = judged.choose(), judged.choose(wide=True)
        candidates = [_affine(network, where, _tensors(statistics, one)) for one in (chosen, whole)]
        noise = noise_of(network, where, candidates, images, threads=threads)
        if noise[1] < noise[0]:
            judged, chosen = None, whole
    else:
        chosen = {value: observed_choice(scheme.observer, seen) for value, seen in statistics.items()}
    ranges = Ranges(_tensors(statistics, chosen), len(images), digest, rescaling)
    if effect is None or not scheme.split_channels:
        return ranges
    by_channel = equalize.scaled(network, rescaling, effect)
    splits = splitting.choose(network, where, _affine(network, where, ranges.tensors), by_channel, effect.signal)
    if judged is not None and splits.orders:
        # Finer steps make room for what coarse ones had to clip.
        ranges = replace(ranges, tensors=_tensors(statistics, judged.choose(splits.remaining)))
    return replace(ranges, splits=splits.orders)


def _tensors(statistics: Mapping[str, TensorStatistics], chosen: Mapping[str, Choice]) -> dict[str, TensorRange]:
    found = {}
    for value, seen in statistics.items():
        choice = chosen.get(value) or observed_choice(EXTREME, seen)
        found[value] = TensorRange(choice.low, choice.high, seen.low, seen.high, choice.name, seen.coarse_histogram())
    return found


def quantize(
    model: ir.Model,
    ranges: Ranges,
    scheme: Scheme = Scheme(),  # noqa: B008 - frozen
    images: ImageSource | None = None,
    *,
    threads: int = 2,
    progress: Progress | None = None,
) -> QuantizedGraph:
    """Turns the lowered float graph into its QDQ graph.

    Args:
        model: the same lowered float graph that was calibrated; not modified.
        ranges: what :func:`calibrate` returned, or the table saved from it.
        scheme: the same scheme.
        images: the calibration images, for the methods that look at layers' inputs (``scheme.needs_images``) and
            for the figures in :attr:`QuantizedGraph.errors`.

    Raises:
        CalibrationError: the table does not belong to this graph, or images are needed and None.
        ConfigError: ``scheme.keep_float`` names a layer that does not exist.
        GraphError: not a lowered graph.
    """
    network = read(model)
    if ranges.equalization:
        model = equalize.apply(model, network, ranges.equalization)
        network = read(model)
    where = points.find(network, scheme.keep_float)
    affine = _affine(network, where, ranges.tensors)
    if ranges.splits:
        model = splitting.apply(model, network, where, affine, ranges.splits)
        network = read(model)
    errors: tuple[LayerError, ...] = ()
    float_biases: Mapping[str, NDArray[np.float32]] = {}
    if images is not None and len(images) > 0:
        found = reconstruct(network, where, affine, images, scheme, threads=threads, progress=progress)
        layers, errors, float_biases = found.layers, found.errors, found.float_biases
    elif scheme.needs_images:
        raise CalibrationError(
            "bias correction and second-moment rounding need the calibration images",
            hint="give the images, or set quantization.bias_correction: false and rounding: nearest",
        )
    else:
        layers = {
            op.name: round_nearest(
                op.weight,
                op.bias,
                affine[where.group[op.inputs[0]]],
                affine[where.group[network.result(op)]],
                scheme.weight_limit,
            )
            for op in network.layers
            if op.name not in where.float_ops
        }
    qdq_model = qdq.write(model, network, where, affine, layers, float_biases)
    by_value = {name: affine[group] for name, group in where.group.items()}
    kept = tuple(op.name for op in network.ops if op.name in where.float_ops)
    return QuantizedGraph(qdq_model, scheme, ranges, by_value, layers, errors, kept, by_value.get(network.output))


def _affine(network: Network, where: Points, tensors: Mapping[str, TensorRange]) -> dict[str, Affine]:
    """The quantization of each tied group: it covers the chosen range of every member that was measured."""
    found = {}
    for group, members in where.members.items():
        if group in where.fixed:
            found[group] = where.fixed[group]
            continue
        sources = dict.fromkeys(source for name in members for source in points.sources(network, name))
        measured = [tensors[name] for name in sources if name in tensors]
        if not measured:
            raise CalibrationError(
                f"the table of ranges has nothing on {', '.join(members)}", hint="calibrate this checkpoint again"
            )
        found[group] = from_range(min(r.low for r in measured), max(r.high for r in measured))
    return adds.align(network, where, found)
