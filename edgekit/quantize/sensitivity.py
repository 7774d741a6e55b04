"""Which layers to keep in float when int8 alone misses its gate: the fewest that meet it.

A layer kept in float still reads and writes integers where its neighbours do, so that by itself it saves little. What
costs is the rounding of a *value*, and that goes only when its maker and all its readers are float. Candidates are
therefore values; each stands for the layers around it. A value that passes Concat, Split or pooling takes along what is
joined with it there. They are tried in the order of the noise that their rounding adds to the scores
(:mod:`edgekit.quantize.influence`) for each layer that has to be float, worst first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import onnx_ir as ir

from edgekit.quantize import equalize, influence, points
from edgekit.quantize.collect import ImageSource
from edgekit.quantize.network import SAME_SCALE, Network, read
from edgekit.quantize.quantizer import QuantizedGraph, quantize
from edgekit.quantize.ranges import Ranges
from edgekit.quantize.scheme import Scheme
from edgekit.quantize.search import fewest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A value whose rounding costs accuracy.

    Attributes:
        value: its name.
        layers: names of the nodes that must be float for it to be (what ``keep_float`` takes).
        share: its part, with those of the values that become float with it, of all the noise that activations'
            rounding is predicted to add to the scores, 0–1.
    """

    value: str
    layers: tuple[str, ...]
    share: float


def rank(model: ir.Model, quantized: QuantizedGraph, images: ImageSource, *, threads: int = 2) -> tuple[Suspect, ...]:
    """Values that could be float, worst first.

    Args:
        model: the lowered float graph that ``quantized`` was made from.
    """
    network = read(model)
    if quantized.ranges.equalization:
        network = read(equalize.apply(model, network, quantized.ranges.equalization))
    effect = influence.measure(network, images, threads=threads)
    noise = {
        name: quantized.affine[name].scale ** 2 / 12 * float(effect.activations[name].sum())
        for name in points.observed(network)
        if name in quantized.affine
    }
    total = sum(noise.values()) or 1.0
    found: dict[tuple[str, ...], Suspect] = {}
    for name, cost in sorted(noise.items(), key=lambda item: -item[1]):
        values, layers = _around(network, name)
        if layers and layers not in found:
            others = sum(noise[value] for value in values if value in noise and value != name)
            found[layers] = Suspect(name, layers, (cost + others) / total)
    # What counts is how few layers are float in the end.
    return tuple(sorted(found.values(), key=lambda suspect: -suspect.share / len(suspect.layers)))


def _around(network: Network, name: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Values that are float together with ``name``, and the nodes to keep in float for it, in execution order.

    What moves or pools a value goes with it: its other inputs and outputs share its scale while it is an integer node.
    No nodes where one of them cannot be float.
    """
    values, nodes, todo = {name}, set(), [name]
    while todo:
        value = todo.pop()
        # Of an activation's result the layer before it is the maker.
        made = next(
            (network.producer[v] for v, a in network.fused.items() if a.output == value), network.producer[value]
        )
        for op in (made, *network.consumers.get(value, ())):
            nodes.add(op.name)
            if op.kind in SAME_SCALE:
                new = {*op.inputs, *op.outputs} - values
                values |= new
                todo += new
    if not nodes <= set(points.can_stay_float(network)):
        return frozenset(values), ()
    return frozenset(values), tuple(op.name for op in network.ops if op.name in nodes)


def keep_float(
    model: ir.Model,
    ranges: Ranges,
    scheme: Scheme,
    images: ImageSource,
    meets: Callable[[QuantizedGraph], bool],
    *,
    most: int | None = None,
    threads: int = 2,
) -> tuple[QuantizedGraph, tuple[Suspect, ...]]:
    """The quantized graph with the fewest float layers found that meets the gate; :mod:`.search` says how.

    Args:
        meets: judges a quantized graph, e.g. by its agreement with float on held-out pictures.
        most: give up after this many suspects; None tries all.

    Returns:
        The graph (the one with every suspect in float if none met the gate) and the suspects kept in float: none if
        int8 alone meets the gate.
    """
    alone = quantize(model, ranges, scheme, images, threads=threads)
    made: dict[tuple[Suspect, ...], QuantizedGraph] = {(): alone}

    def passes(kept: tuple[Suspect, ...]) -> bool:
        # Only the last ones made are kept: the one that passed is always among them or made again.
        if kept not in made:
            made.clear()
            made[kept] = _with(model, ranges, scheme, images, kept, threads)
            share = 100 * sum(suspect.share for suspect in kept)
            log.info("tried with %d values in float, %.0f %% of the noise", len(kept), share)
        return meets(made[kept])

    if passes(()):
        return alone, ()
    suspects = rank(model, alone, images, threads=threads)[:most]
    chosen = fewest(suspects, lambda kept: bool(kept) and passes(kept))
    kept = suspects if chosen is None else chosen
    return made.get(kept) or _with(model, ranges, scheme, images, kept, threads), kept


def _with(
    model: ir.Model,
    ranges: Ranges,
    scheme: Scheme,
    images: ImageSource,
    kept: tuple[Suspect, ...],
    threads: int,
) -> QuantizedGraph:
    names = dict.fromkeys((*scheme.keep_float, *(layer for suspect in kept for layer in suspect.layers)))
    return quantize(model, ranges, replace(scheme, keep_float=tuple(names)), images, threads=threads)
