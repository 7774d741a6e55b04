"""How good the models of a build are: on which pictures that is measured, accuracy, the gate, and speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit import demo, engines
from edgekit.config.machine import Machine
from edgekit.contracts import ImageContract
from edgekit.evaluate.accuracy import Accuracy, loader, open_models, summarize
from edgekit.evaluate.bench import Plan, measure
from edgekit.evaluate.bench_report import BenchReport
from edgekit.evaluate.compare import compare
from edgekit.evaluate.gate import GateResult, judge
from edgekit.evaluate.pictures import Picture, labelled, picture_files
from edgekit.evaluate.workers import Configuration
from edgekit.labels import Label
from edgekit.quantize import calibration_set
from edgekit.steps.order import DEMO, Order
from edgekit.steps.pictures import Pictures

# The demo renders its own held-out pictures: enough that one of them is a quarter of a point.
_DEMO_PICTURES = 390
# With fewer pictures left over, those that were calibrated on give a steadier agreement.
_LEFT_OVER = 64
_MOST = 256
# Noise of a tenth of the scores' own size. ShuffleNet V1 x0.5 on ImageNet keeps 95 % of its answers at 19 dB, and the
# recipe that other tools use leaves it 11 dB and 80 %.
_CLEAN_DB = 20.0


@dataclass(frozen=True)
class Evidence:
    """The pictures that a build is judged on: where they come from in words, and whether their classes are known."""

    pictures: tuple[Picture, ...]
    labelled: bool
    said: str
    warnings: tuple[str, ...] = ()


def find_evidence(order: Order, labels: Sequence[Label], pictures: Pictures, scratch: Path) -> Evidence:
    """The evaluation set of the order; the demo's held-out scenes; else the calibration set, for agreement alone.

    Args:
        scratch: an existing folder for pictures that have to be made.

    Raises:
        CalibrationError: the evaluation set cannot be used.
    """
    folder = order.evaluation
    if folder is None and order.checkpoint == DEMO:
        folder = demo.heldout(scratch / "heldout", _DEMO_PICTURES)
        chosen = labelled(folder, labels).pictures
        return Evidence(chosen, True, f"{len(chosen)} rendered scenes that the network never saw")
    if folder is not None:
        chosen = labelled(folder, labels).pictures
        shared = calibration_set.overlap(pictures.chosen, (picture.path for picture in chosen))
        said = f"{shared} of the {len(chosen)} evaluation pictures were also calibrated on: they prove little"
        warnings = (said,) if shared else ()
        return Evidence(chosen, True, str(folder), warnings)
    source = pictures.chosen.source
    used = {entry.path.resolve() for entry in pictures.chosen.entries}
    left = [path for path in picture_files(source) if path.resolve() not in used] if source.is_dir() else []
    if len(left) >= _LEFT_OVER:
        return Evidence(
            tuple(Picture(path, -1) for path in left[:_MOST]),
            False,
            f"pictures of {source} that were not calibrated on",
        )
    own = tuple(Picture(entry.path, -1) for entry in pictures.chosen.entries)
    return Evidence(own[:_MOST], False, f"the calibration pictures of {source} themselves")


def measure_accuracy(
    files: Mapping[str, Path],
    evidence: Evidence,
    image: ImageContract,
    progress: Callable[[int, int], None] | None = None,
) -> Accuracy:
    """Runs the float model and both formats over the evidence.

    Raises:
        EngineError: no engine for either format.
    """
    with ExitStack() as stack:
        opened, missing = open_models({role: files[role] for role in ("float", "onnx", "tflite")}, None, 2)
        for engine in opened.values():
            stack.callback(engine.close)
        counted = compare(opened, evidence.pictures, loader(image), labelled=evidence.labelled, progress=progress)
        named = {role: f"{engine.name} {engine.version}" for role, engine in opened.items()}
    return summarize(counted, list(opened), named, [*evidence.warnings, *missing])


def judge_accuracy(order: Order, accuracy: Accuracy, evidence: Evidence) -> GateResult | None:
    """The target's gate over a measured accuracy; None for a float model, which is its own reference.

    Without labels the drop cannot be known: then agreement and noise are judged. Pictures of anything at all are often
    none that the network is sure of, and its best two scores are then closer than any rounding: where the scores
    themselves are kept (:data:`_CLEAN_DB`), their order among near ties is not held against int8.
    """
    if order.precision != "int8":
        return None
    gate = order.target.gate
    if not evidence.labelled:
        noise = [value for name, value in accuracy.sqnr_db.items() if name != "float"]
        clean = bool(noise) and min(noise) >= _CLEAN_DB
        gate = replace(gate, max_drop_pp=None, min_agreement=None if clean else gate.min_agreement)
        if clean and gate.min_sqnr_db is None:
            gate = replace(gate, min_sqnr_db=_CLEAN_DB)
    return judge(accuracy, gate)


def time_models(files: Mapping[str, Path], order: Order) -> BenchReport:
    """One-thread latency of the models and their float twins on this machine, in turns, so that the ratio holds."""
    wanted = []
    for role, precision, beside in (
        ("onnx", order.precision, False),
        ("tflite", order.precision, False),
        ("float", "fp32", True),
        ("float_tflite", "fp32", True),
    ):
        kind = next(
            (k for k in engines.ENGINES.values() if k.suffix == files[role].suffix and k.installed_version()), None
        )
        if kind is not None:
            wanted.append(
                Configuration(
                    files[role],
                    kind.name,
                    precision=precision,
                    role="beside" if beside else "model",
                    name=files[role].name,
                )
            )
    here = Machine()
    return BenchReport(tuple(measure(wanted, Plan(rounds=7))), machine={"cpu": here.cpu_model, "cores": here.cores})
