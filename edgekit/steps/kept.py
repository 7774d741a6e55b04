"""What layers in float gain, and what they cost: measured against the same network without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgekit import engines
from edgekit.evaluate.accuracy import Accuracy
from edgekit.evaluate.bench import Plan, measure
from edgekit.evaluate.bench_report import Measured
from edgekit.evaluate.pictures import evenly
from edgekit.evaluate.workers import Configuration
from edgekit.report.record import FloatLayers, KeptFloat
from edgekit.steps import judgement
from edgekit.steps.judgement import Evidence
from edgekit.steps.selective import Chosen

# Of more groups than this, each by itself is not measured: every one needs the network quantized again.
_MOST_GROUPS = 6
# Each by itself is compared on fewer pictures.
_PICTURES = 256
_ROUNDS = 7
_FORMATS = ("onnx", "tflite")


def weigh(
    chosen: Chosen,
    files: Mapping[str, Path],
    evidence: Evidence,
    accuracy: Accuracy,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> FloatLayers | None:
    """Gain and cost of the layers in float: all together against int8 alone, and each against the rest of them.

    Latencies come from one run in which all variants take turns, one thread each.

    Args:
        files: the build's own models, with the layers in float: role → file.
        accuracy: theirs, on all of ``evidence``.
        folder: an existing folder for the variants.

    Returns:
        None where no layer is in float.
    """
    recipe, groups = chosen.recipe, chosen.groups
    if not groups:
        return None
    single = [] if len(groups) < 2 or len(groups) > _MOST_GROUPS else list(groups)
    steps = 2 + 2 * len(single)
    tell = progress or (lambda done, total: None)
    # Where its accuracy is known already, only its time is wanted, which does not depend on what the weights are.
    alone = recipe.make((), roughly=chosen.alone is not None)
    without: dict[tuple[str, ...], dict[str, Path]] = {(): recipe.emit(alone, folder / "int8")}
    tell(1, steps)
    before = chosen.alone or judgement.measure_accuracy(without[()], evidence, recipe.checkpoint.image)
    gains: dict[tuple[str, ...], _Gain] = {(): _Gain(before, accuracy)}
    some = replace(evidence, pictures=evenly(evidence.pictures, min(_PICTURES, len(evidence.pictures))), warnings=())
    if single:
        every = tuple(dict.fromkeys(name for group in groups for name in group))
        with_all = recipe.emit(recipe.make(every, roughly=True), folder / "all")
        reference = judgement.measure_accuracy(with_all, some, recipe.checkpoint.image)
    for number, group in enumerate(single):
        rest = tuple(dict.fromkeys(name for other in groups if other is not group for name in other))
        without[group] = recipe.emit(recipe.make(rest, roughly=True), folder / f"without-{number}")
        tell(2 + 2 * number, steps)
        gains[group] = _Gain(judgement.measure_accuracy(without[group], some, recipe.checkpoint.image), reference)
        tell(3 + 2 * number, steps)
    times = _times([files, *without.values()])
    tell(steps, steps)
    rows = {
        group: gains[group].row(group or _flat(groups), times[0], own)
        for group, own in zip(without, times[1:], strict=True)
    }
    return FloatLayers(
        together=rows[()],
        each=tuple(rows[group] for group in single) or ((rows[()],) if len(groups) == 1 else ()),
        n=accuracy.n,
        n_each=len(some.pictures) if single else accuracy.n,
        tried=chosen.tried,
    )


class _Gain:
    """One variant without some layers in float, against one with them."""

    def __init__(self, without: Accuracy, with_them: Accuracy) -> None:
        self._without, self._with = without, with_them

    def row(self, layers: tuple[str, ...], own: Mapping[str, Measured], without: Mapping[str, Measured]) -> KeptFloat:
        a, b = self._without, self._with
        return KeptFloat(
            layers,
            {f: b.sqnr_db[f] - a.sqnr_db[f] for f in _FORMATS if f in a.sqnr_db and f in b.sqnr_db},
            {f: b.agreement[f] - a.agreement[f] for f in _FORMATS if f in a.agreement and f in b.agreement},
            {f: a.drop_pp[f] - b.drop_pp[f] for f in _FORMATS if f in a.drop_pp and f in b.drop_pp},
            {engine: row.cost - without[engine].cost for engine, row in own.items() if engine in without},
            {engine: row.cost / without[engine].cost for engine, row in own.items() if engine in without},
        )


def _times(variants: Sequence[Mapping[str, Path]]) -> list[dict[str, Measured]]:
    """For each variant: engine → its latency, one thread."""
    wanted: list[tuple[int, Configuration]] = []
    for number, files in enumerate(variants):
        for role in _FORMATS:
            kind = next(
                (k for k in engines.ENGINES.values() if k.suffix == files[role].suffix and k.installed_version()), None
            )
            if kind is not None:
                wanted.append((number, Configuration(files[role], kind.name)))
    rows = measure([configuration for _, configuration in wanted], Plan(rounds=_ROUNDS))
    found: list[dict[str, Measured]] = [{} for _ in variants]
    for (number, configuration), row in zip(wanted, rows, strict=True):
        if row.error is None:
            found[number][configuration.engine] = row
    return found


def _flat(groups: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))
