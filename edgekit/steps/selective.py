"""Quantization as the target asks: with the layers it names in float, or with the fewest that pass its gate."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from edgekit import quantize
from edgekit.checkpoints import Checkpoint
from edgekit.graph import Lowered
from edgekit.labels import Label
from edgekit.quantize import QuantizedGraph, Ranges, Scheme
from edgekit.steps import judgement, models
from edgekit.steps.order import Order
from edgekit.steps.pictures import Pictures

log = logging.getLogger(__name__)


def quantized(
    order: Order,
    checkpoint: Checkpoint,
    labels: tuple[Label, ...],
    lowered: Lowered,
    ranges: Ranges,
    scheme: Scheme,
    pictures: Pictures,
    progress: Callable[[int, int], None] | None = None,
) -> QuantizedGraph:
    """The quantized graph of an int8 order.

    With ``keep_float: auto`` every candidate is emitted and judged as the finished build would be, until one passes the
    gate; if none does, the build's own gate will say so.

    Raises:
        InputError: the pictures cannot be used, or ``keep_float`` names a layer that does not exist.
    """
    if order.target.quantization.keep_float != "auto":
        return quantize.quantize(lowered.model, ranges, scheme, pictures.pixels, progress=progress)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        scratch = Path(folder)
        evidence = judgement.find_evidence(order, labels, pictures, scratch)

        def meets(made: QuantizedGraph) -> bool:
            files = models.emit_all(order, checkpoint, labels, lowered, made).write(scratch)
            gate = judgement.judge_accuracy(
                order, judgement.measure_accuracy(files, evidence, checkpoint.image), evidence
            )
            log.info("%s", gate.sentence if gate is not None else "")
            return gate is None or gate.passed

        made, kept = quantize.keep_float(lowered.model, ranges, scheme, pictures.pixels, meets)
    for suspect in kept:
        log.warning("kept in float: %s", ", ".join(suspect.layers))
    return made
