"""Quantization as the target asks: with the layers it names in float, or with the fewest that pass its gate."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgekit import quantize
from edgekit.checkpoints import Checkpoint
from edgekit.evaluate.accuracy import Accuracy
from edgekit.graph import Lowered
from edgekit.labels import Label
from edgekit.quantize import QuantizedGraph, Ranges, Scheme
from edgekit.report.record import Tried
from edgekit.steps import judgement, models
from edgekit.steps.order import Order
from edgekit.steps.pictures import Pictures

# Enough for second moments and means; what a layer gains in float comes out the same with more.
_ROUGH_IMAGES = 48

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """All that a quantized graph is made from, to make others like it."""

    order: Order
    checkpoint: Checkpoint
    labels: tuple[Label, ...] = field(repr=False)
    lowered: Lowered = field(repr=False)
    ranges: Ranges = field(repr=False)
    scheme: Scheme
    pictures: Pictures = field(repr=False)

    def make(
        self,
        keep_float: tuple[str, ...],
        *,
        roughly: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> QuantizedGraph:
        """The graph with these layers in float; ``roughly``: several times faster, to compare with others such."""
        scheme = replace(self.scheme, keep_float=keep_float)
        if roughly:
            scheme = replace(scheme, scale_search=False, images=min(_ROUGH_IMAGES, scheme.images))
        return quantize.quantize(self.lowered.model, self.ranges, scheme, self.pictures.pixels, progress=progress)

    def emit(self, made: QuantizedGraph, folder: Path) -> dict[str, Path]:
        """Both formats and their float twins as files in ``folder``: role → file."""
        folder.mkdir(parents=True, exist_ok=True)
        return models.emit_all(self.order, self.checkpoint, self.labels, self.lowered, made).write(folder)


@dataclass(frozen=True)
class Chosen:
    """What became of an int8 order.

    Attributes:
        recipe: what the graph was made from.
        groups: what was kept in float, as it was asked for: a layer each, or the layers around a value each.
        tried: every choice that ``keep_float: auto`` measured, in order.
        alone: the accuracy of int8 alone, if ``auto`` measured it.
    """

    graph: QuantizedGraph
    recipe: Recipe = field(repr=False)
    groups: tuple[tuple[str, ...], ...] = ()
    tried: tuple[Tried, ...] = ()
    alone: Accuracy | None = field(default=None, repr=False)


def quantized(recipe: Recipe, progress: Callable[[int, int], None] | None = None) -> Chosen:
    """The quantized graph of an int8 order.

    With ``keep_float: auto`` every candidate is emitted and judged as the finished build would be, until one passes the
    gate; if none does, the build's own gate will say so.

    Raises:
        InputError: the pictures cannot be used, or ``keep_float`` names a layer that does not exist.
    """
    order = recipe.order
    wanted = order.target.quantization.keep_float
    if wanted != "auto":
        return Chosen(recipe.make(wanted, progress=progress), recipe, tuple((name,) for name in wanted))
    tried: list[Tried] = []
    measured: list[Accuracy] = []
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        scratch = Path(folder)
        evidence = judgement.find_evidence(order, recipe.labels, recipe.pictures, scratch)

        def meets(made: QuantizedGraph) -> bool:
            accuracy = judgement.measure_accuracy(recipe.emit(made, scratch), evidence, recipe.checkpoint.image)
            gate = judgement.judge_accuracy(order, accuracy, evidence)
            measured.append(accuracy)
            passed = gate is None or gate.passed
            tried.append(Tried.of(made.scheme.keep_float, accuracy, passed))
            log.info("%s", gate.sentence if gate is not None else "")
            return passed

        made, kept = quantize.keep_float(
            recipe.lowered.model, recipe.ranges, recipe.scheme, recipe.pictures.pixels, meets
        )
    return Chosen(made, recipe, tuple(suspect.layers for suspect in kept), tuple(tried), measured[0])
