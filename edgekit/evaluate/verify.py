"""Whether a bundle is what its build made, and answers here as it did there.

    report = verify(Path("build/rpi4"))            # hashes, versions, goldens on every engine here, a latency sample
    report.passed, report.text(), report.to_dict()
    quick = check_engine(bundle.read(path), engine)  # at the start of a run: a few goldens on an engine that is open

``verify`` looks at everything and then says yes or no; only a path that is no bundle, or a machine without any engine
for it, is an error.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import engines as engine_table
from edgekit.bundle.golden import Expected, Golden, isa_family
from edgekit.bundle.read import Bundle, check_files, read
from edgekit.bundle.tolerance import Tolerance, step_of, steps
from edgekit.config.fit import fit
from edgekit.config.machine import Machine
from edgekit.engines.protocol import Engine
from edgekit.errors import EdgekitError, EngineError, LabelsError, VerifyFailed
from edgekit.evaluate.verify_report import Check, EngineCheck, Sample, VerifyReport
from edgekit.labels import format_labels

log = logging.getLogger(__name__)

QUICK_GOLDENS = 2

TakeSample = Callable[[Path, str, int], Sample]


def verify(
    bundle_path: Path | str,
    *,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    sample: TakeSample | None = None,
    family: str | None = None,
    count: int | None = None,
    keep: Callable[[Expected], None] | None = None,
    machine: Machine | None = None,
) -> VerifyReport:
    """Checks files, manifest, engine versions, goldens and budgets.

    Args:
        bundle_path: a bundle directory.
        engines: names of those to run; None takes every installed one that the bundle has answers for.
        threads: per engine; None takes the target profile's.
        sample: measures latency and memory of one engine (``edgekit.evaluate.sample.take``); None leaves both out.
        family: the instruction-set family that runs here; None asks the machine.
        count: only so many goldens, the first; None takes all.
        keep: is given each engine's own answers, for those who want to record them.
        machine: the processor at hand; tests pass their own.

    Raises:
        BundleError: there is no bundle, or its manifest cannot be read.
        EngineError: no engine that is installed here can run any of its models.
    """
    path = Path(bundle_path)
    try:
        opened = read(path, check=False)
    except (VerifyFailed, LabelsError) as error:
        return VerifyReport(path, None, (Check("manifest", False, error.message),), ())
    problems = check_files(path, opened.manifest)
    if problems:
        checks = tuple(Check("files", False, problem) for problem in problems)
        return VerifyReport(path, opened.sha256, checks, ())
    checks = (Check("files", True, f"{len(opened.manifest.files)} files have the manifest's hashes"),)
    checks += _inside_the_models(opened)
    golden, family = opened.golden(count), family or isa_family()
    results = []
    for name in _runnable(opened, golden, engines):
        result = _run(opened, golden, name, threads, family, keep)
        results.append(_sampled(opened, result, sample) if sample is not None and result.goldens else result)
    fits = [fit(opened.manifest.about(), machine or Machine(), result.engine) for result in results]
    warnings = dict.fromkeys(f"{path} {found.says} (try: {found.mend})" for found in fits if found.warns)
    return VerifyReport(path, opened.sha256, checks, tuple(results), warnings=tuple(warnings))


def check_engine(
    bundle: Bundle, engine: Engine, *, count: int = QUICK_GOLDENS, family: str | None = None
) -> EngineCheck:
    """Runs the first ``count`` goldens on an engine that is already open, with a batch of one.

    The engine's version is not judged here: the goldens are the proof. The hashes are ``bundle.read``'s work.
    """
    return _compare(bundle, bundle.golden(count), engine, family or isa_family())


def _runnable(bundle: Bundle, golden: Golden, names: Sequence[str] | None) -> list[str]:
    """Those asked for; else every installed engine that the bundle has a model and answers for."""
    if names is not None:
        return list(dict.fromkeys(names))
    usable = [kind for kind in engine_table.ENGINES.values() if bundle.has(kind.model) and golden.expected]
    there = engine_table.installed()
    if not any(kind.name in there for kind in usable):
        raise EngineError(
            f"{bundle.path}: no inference engine for it is installed",
            hint=usable[0].install if usable else "build the bundle again, where an engine is installed",
        )
    return [kind.name for kind in usable if kind.name in there]


def _run(
    bundle: Bundle,
    golden: Golden,
    name: str,
    threads: int | None,
    family: str,
    keep: Callable[[Expected], None] | None,
) -> EngineCheck:
    try:
        engine = engine_table.open(bundle.path, name, threads)
    except EdgekitError as error:  # missing here, or it does not take the file
        version = engine_table.installed().get(name, "")
        return EngineCheck(name, version, family, problems=(error.message,))
    result = _compare(bundle, golden, engine, family, keep)
    pinned = bundle.manifest.engines.get(name)
    if pinned is not None and pinned != engine.version:
        said = f"{name}: version {engine.version} is installed, and the bundle is proven with {pinned}"
        result = replace(result, problems=(*result.problems, said))
    engine.close()
    return result


def _compare(
    bundle: Bundle,
    golden: Golden,
    engine: Engine,
    family: str,
    keep: Callable[[Expected], None] | None = None,
) -> EngineCheck:
    """Every golden, one at a time: what a device does with a camera's frames."""
    result = EngineCheck(engine.name, engine.version, family)
    own = next((item for item in golden.of(engine.name) if item.family == family), None)
    if not golden.expected:
        return replace(result, problems=(f"{engine.name}: the bundle holds no answers to compare with",))
    try:
        raw = np.stack([_answer(engine, image) for image in golden.inputs])
    except EdgekitError as error:
        return replace(result, problems=(error.message,))
    if keep is not None:
        keep(Expected(engine.name, family, raw))
    tolerance = Tolerance.from_dict(bundle.manifest.golden.get("tolerance", {}))
    if own is not None:
        same_version = bundle.manifest.engines.get(engine.name) == engine.version
        return judge(result, raw, own, tolerance.same if same_version else tolerance.other)
    # Nobody recorded this engine on this kind of machine. Every recorded kernel computed the same numbers, in whichever
    # format, and this one rounds like one of them: its own on another kind of machine, else the one that fits best.
    # tflite-runtime has no XNNPACK; on 32-bit ARM its kernels are the recorded fixed-point ones, elsewhere others.
    allowed = tolerance.other
    if engine.name == "tflite-runtime":
        allowed = tolerance.other_release if family == "armv7l" else tolerance.second_kind
    judged = [(judge(result, raw, expected, allowed), expected.engine != engine.name) for expected in golden.expected]
    return min(judged, key=lambda one: (len(one[0].problems), one[1], one[0].worst))[0]


def judge(result: EngineCheck, raw: NDArray[Any], expected: Expected, tolerance: float) -> EngineCheck:
    """Compares answers ``raw`` ``[n, classes]`` with the recorded ones.

    No score may differ by more than ``tolerance`` steps, and the best class must be the recorded one wherever its
    recorded lead over the second (the margin) exceeds ``tolerance``.
    """
    wanted = expected.raw
    if raw.shape != wanted.shape or (raw.dtype == np.float32) != (wanted.dtype == np.float32):
        said = f"{raw.dtype}{list(raw.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
        return replace(result, problems=(*result.problems, f"{result.engine}: answers with {said}"))
    unit = step_of(wanted)
    got, want = steps(raw, unit), steps(wanted, unit)
    apart = np.abs(got - want).max(axis=1)
    top_two = np.sort(want, axis=1)[:, -2:]
    margin = top_two[:, 1] - top_two[:, 0] if want.shape[1] > 1 else np.full(len(want), np.inf)
    # Of several equal scores any may be called the best.
    held = want[np.arange(len(want)), got.argmax(axis=1)] == want.max(axis=1)
    clear = margin > tolerance
    problems = list(result.problems)
    for index in np.flatnonzero(~np.isfinite(apart) | (apart > tolerance)):
        problems.append(
            f"{result.engine}: golden {index} is {apart[index]:g} steps from the recorded answer, "
            f"and {tolerance:g} are allowed"
        )
    for index in np.flatnonzero(clear & ~held):
        problems.append(
            f"{result.engine}: golden {index} is class {got[index].argmax()}, recorded was {want[index].argmax()} "
            f"with a lead of {margin[index]:g} steps"
        )
    return replace(
        result,
        compared_with=f"{expected.engine} on {expected.family}",
        goldens=len(want),
        tolerance=tolerance,
        worst=float(apart.max(initial=0)),
        mean=float(np.abs(got - want).mean()) if want.size else 0.0,
        same_top1=int(held.sum()),
        clear=int(clear.sum()),
        clear_held=int((clear & held).sum()),
        problems=tuple(problems),
    )


def _answer(engine: Engine, image: NDArray[np.uint8]) -> NDArray[Any]:
    if engine.input.shape[1:] != image.shape:
        raise VerifyFailed(
            f"{engine.name}: the model takes {list(engine.input.shape[1:])} pixels, "
            f"and the goldens are {list(image.shape)}"
        )
    engine.input[0] = image
    raw: NDArray[Any] = engine.invoke()[0]
    return raw


def _inside_the_models(bundle: Bundle) -> tuple[Check, ...]:
    """The labels that travel inside the TFLite file (its associated files are a zip archive) against ``labels.txt``."""
    checks = []
    for model in bundle.manifest.models:
        if model.format != "tflite" or not zipfile.is_zipfile(bundle.path / model.file):
            continue
        with zipfile.ZipFile(bundle.path / model.file) as archive:
            inside = [name for name in archive.namelist() if name.endswith(".txt")]
            texts = [archive.read(name).decode("utf-8", "replace").split("\n") for name in inside]
        outside = format_labels(bundle.labels).split("\n")
        for name, lines in zip(inside, texts, strict=True):
            same = [line.strip() for line in lines if line.strip()] == [line for line in outside if line]
            said = f"{model.file}: its own {name} {'equals' if same else 'is not'} the bundle's labels"
            checks.append(Check("labels", same, said))
    return tuple(checks)


def _sampled(bundle: Bundle, result: EngineCheck, sample: TakeSample) -> EngineCheck:
    """A short measurement against the profile's budget; only a machine of the target's own kind is held to it."""
    target = bundle.manifest.target
    budget, threads = target.get("budget") or {}, int(target.get("threads") or 1)
    try:
        taken = sample(bundle.path, result.engine, threads)
    except EdgekitError as error:
        return replace(result, problems=(*result.problems, f"{result.engine}: {error.message}"))
    problems = []
    on_target = _is_target(target, result.family)
    limit_ms, limit_mb = budget.get("latency_ms"), budget.get("memory_mb")
    if on_target and limit_ms is not None and taken.p95_ms > limit_ms:
        problems.append(
            f"{result.engine}: 95 % of inferences take up to {taken.p95_ms:.1f} ms; the budget is {limit_ms} ms"
        )
    if on_target and limit_mb is not None and taken.peak_mb > limit_mb:
        problems.append(f"{result.engine}: needs {taken.peak_mb:.0f} MB of memory; the budget is {limit_mb} MB")
    return replace(result, sample=replace(taken, judged=on_target), problems=(*result.problems, *problems))


def _is_target(target: Any, family: str) -> bool:
    cpu = target.get("cpu") or {}
    isa = str(cpu.get("isa"))
    return family.partition("+")[0] == {"armv7": "armv7l"}.get(isa, isa)
