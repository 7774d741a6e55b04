"""What each quantization method is worth for the network at hand: the build again, with one of them off at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgekit import quantize
from edgekit.evaluate.accuracy import Accuracy
from edgekit.quantize import Scheme, ablation
from edgekit.report.record import Ablation, Tried
from edgekit.steps import judgement
from edgekit.steps.judgement import Evidence
from edgekit.steps.selective import Chosen


def ablate(
    chosen: Chosen,
    evidence: Evidence,
    accuracy: Accuracy,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Ablation, ...]:
    """One row for the build itself, and one for each method switched off, on the same pictures in both formats.

    Args:
        evidence: the pictures.
        accuracy: of the build itself, on them.
        folder: an existing folder for the variants.
    """
    recipe, base = chosen.recipe, chosen.graph.scheme
    variants = list(ablation.without_each(base))
    found = [_row(ablation.ALL, accuracy)]
    for number, (name, scheme) in enumerate(variants, start=1):
        ranges = recipe.ranges
        if _calibration(scheme) != _calibration(base):
            ranges = quantize.calibrate(recipe.lowered.model, recipe.pictures.pixels, scheme)
        variant = replace(recipe, scheme=scheme, ranges=ranges)
        files = variant.emit(variant.make(scheme.keep_float), folder / f"ablation-{number}")
        found.append(_row(name, judgement.measure_accuracy(files, evidence, recipe.checkpoint.image)))
        if progress is not None:
            progress(number, len(variants))
    return tuple(found)


def _calibration(scheme: Scheme) -> tuple[object, ...]:
    """What of a scheme the table of ranges depends on."""
    return scheme.equalize, scheme.split_channels, scheme.observer


def _row(name: str, accuracy: Accuracy) -> Ablation:
    worse = Tried.of((), accuracy, passed=True)
    return Ablation(name, worse.drop_pp, worse.agreement, worse.sqnr_db)
