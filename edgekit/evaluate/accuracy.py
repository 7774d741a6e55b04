"""Top-1 and top-5 of a bundle's models on a folder of labelled pictures, and what quantization changed.

    accuracy = evaluate(Path("build/rpi4"), Path("photos/val"))
    accuracy.models["tflite"].top1, accuracy.drop_pp["tflite"], accuracy.to_dict()

Every figure is a percentage or a difference in percentage points (pp), never a fraction.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgekit.config.fit import fit
from edgekit.config.machine import Machine
from edgekit.contracts import ImageContract
from edgekit.engines.protocol import Engine, Images
from edgekit.errors import EngineError, LabelsError, UsageError
from edgekit.evaluate.bench_report import columns
from edgekit.evaluate.compare import Answers, Comparison, LoadPicture, Outputs, Progress, compare
from edgekit.evaluate.pictures import Picture, evenly, labelled, picture_files
from edgekit.evaluate.statistics import paired_drop, wilson
from edgekit.labels import Label

log = logging.getLogger(__name__)

# Role → the bundle's file. The first one that opens is the reference of the others.
FILES = {"float": "float.onnx", "onnx": "model.onnx", "tflite": "model.tflite"}
_ENGINES = {".onnx": ("onnxruntime",), ".tflite": ("litert", "tflite-runtime")}


@dataclass(frozen=True, slots=True)
class ModelAccuracy:
    """One model's share of right answers in percent; ``ci95`` is top-1's 95 % interval (Wilson's)."""

    top1: float
    top5: float
    ci95: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        return {"top1": round(self.top1, 3), "top5": round(self.top5, 3), "ci95": [round(x, 3) for x in self.ci95]}


@dataclass(frozen=True)
class Accuracy:
    """What ``edgekit eval`` reports. Models are "float", "onnx" and "tflite", as far as the bundle and engines go.

    ``drop_pp`` is float top-1 minus the model's, ``drop_ci95`` its paired 95 % interval (Agresti and Min). Agreement is
    the share of pictures on which a model answers as the float model does, in percent, and under "onnx_tflite" on
    which the two formats answer alike. ``sqnr_db`` compares scores with the float model's (inf: equal). ``outputs``
    tells under the same name how alike the formats' output integers are.
    ``models``, ``drop_pp`` and ``drop_ci95`` are empty for pictures without labels.
    """

    n: int
    models: Mapping[str, ModelAccuracy]
    drop_pp: Mapping[str, float]
    drop_ci95: Mapping[str, tuple[float, float]]
    agreement: Mapping[str, float]
    sqnr_db: Mapping[str, float]
    engines: Mapping[str, str] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    answers: Answers | None = field(default=None, repr=False)
    outputs: Mapping[str, Outputs] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``eval --json`` prints; a ratio without any noise is null, since JSON has no infinity."""
        return {
            "n": self.n,
            "models": {name: model.to_dict() for name, model in self.models.items()},
            "drop_pp": {name: round(value, 3) for name, value in self.drop_pp.items()},
            "drop_ci95_pp": {name: [round(x, 3) for x in pair] for name, pair in self.drop_ci95.items()},
            "agreement": {name: round(value, 3) for name, value in self.agreement.items()},
            "sqnr_db": {k: round(v, 2) if math.isfinite(v) else None for k, v in self.sqnr_db.items()},
            "equal_outputs": {
                name: {"percent": round(100 * own.equal / own.total, 3), "largest_step": own.largest}
                for name, own in self.outputs.items()
            },
            "engines": dict(self.engines),
            "skipped": len(self.unreadable),
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """The same figures as a table for a terminal, then what is worth knowing about them."""
        head = ("model", "engine", "top-1 %", "95 %", "top-5 %", "drop pp", "95 % paired", "agrees %", "SQNR dB")
        rows = [self._row(name) for name in self.engines]
        shown = [i for i in range(len(head)) if i < 2 or any(row[i] for row in rows)]
        lines = columns([[row[i] for i in shown] for row in (head, *rows)], left=2)
        skipped = f", {len(self.unreadable)} unreadable skipped" if self.unreadable else ""
        lines += ["", f"{self.n} pictures{skipped}"]
        if "onnx_tflite" in self.agreement:
            said = f"model.onnx and model.tflite answer alike on {self.agreement['onnx_tflite']:.2f} %"
            if own := self.outputs.get("onnx_tflite"):
                share = 100 * own.equal / own.total
                said += f"; {share:.2f} % of their output integers are equal, at most {own.largest} steps apart"
            lines.append(said)
        return "\n".join([*lines, *self.notes])

    def _row(self, name: str) -> tuple[str, ...]:
        model, noise = self.models.get(name), self.sqnr_db.get(name)
        drop, interval = self.drop_pp.get(name), self.drop_ci95.get(name)
        return (
            name,
            self.engines[name],
            "" if model is None else f"{model.top1:.2f}",
            "" if model is None else f"{model.ci95[0]:.2f}–{model.ci95[1]:.2f}",
            "" if model is None else f"{model.top5:.2f}",
            "" if drop is None else f"{drop:+.2f}",
            "" if interval is None else f"{interval[0]:+.2f} … {interval[1]:+.2f}",
            f"{self.agreement[name]:.2f}" if name in self.agreement else "",
            "" if noise is None else "equal" if math.isinf(noise) else f"{noise:.1f}",
        )


def evaluate(
    bundle_path: Path,
    data_dir: Path,
    *,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    limit: int | None = None,
    labels: Sequence[Label] | None = None,
    progress: Progress | None = None,
    machine: Machine | None = None,
) -> Accuracy:
    """Runs every model of a bundle over a folder that holds one folder of pictures per class.

    Args:
        bundle_path: the bundle; its hashes are checked. ``float.onnx``, where it holds one, is the reference.
        data_dir: see ``edgekit.evaluate.pictures.labelled`` for how folders may be named.
        engines: names of the engines to use; None takes the first that runs for each file.
        threads: per engine; None takes the machine's cores, at most 2 (two more decode pictures meanwhile).
        limit: at most so many pictures, spread evenly over the classes.
        labels: one per class, instead of the bundle's own.
        progress: called with (pictures done, pictures in all).
        machine: the processor at hand, which a bundle for another is noted for; tests pass their own.

    Raises:
        BundleError: not a whole bundle.
        CalibrationError: folders or pictures that cannot be used.
        LabelsError: ``labels`` that do not match the bundle's class count.
        EngineError: no engine for any of the bundle's models.
    """
    from edgekit import bundle

    opened = bundle.read(bundle_path)
    files = {role: opened.path / name for role, name in FILES.items() if opened.has(name)}
    found = evaluate_files(
        files,
        data_dir,
        _labels(opened.labels, labels),
        opened.manifest.image,
        engines=engines,
        threads=threads,
        limit=limit,
        progress=progress,
    )
    here = machine or Machine()
    ran = [said.split()[0] for role, said in found.engines.items() if role != "float"]
    fits = [fit(opened.manifest.about(), here, name) for name in ran]
    warnings = dict.fromkeys(f"{bundle_path} {own.says}" for own in fits if own.warns)
    return replace(found, notes=(*found.notes, *warnings))


def evaluate_files(
    files: Mapping[str, Path],
    data_dir: Path,
    labels: Sequence[Label] | None,
    image: ImageContract,
    *,
    engines: Sequence[str] | None = None,
    threads: int | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Accuracy:
    """As :func:`evaluate`, for model files that are in no bundle (yet): role ("float", "onnx", "tflite") → file.

    ``labels`` None takes any pictures below ``data_dir`` and measures agreement and score noise only.
    """
    notes: tuple[str, ...] = ()
    if labels is None:
        pictures = evenly([Picture(path, -1) for path in picture_files(Path(data_dir))], limit)
    else:
        chosen = labelled(Path(data_dir), labels)
        pictures = evenly(chosen.pictures, limit)
        notes = (chosen.note,) if chosen.note else ()
    with ExitStack() as stack:
        models, missing = open_models(files, engines, threads or min(2, os.cpu_count() or 1))
        for engine in models.values():
            stack.callback(engine.close)
        comparison = compare(models, pictures, loader(image), labelled=labels is not None, progress=progress)
        named = {role: f"{engine.name} {engine.version}" for role, engine in models.items()}
    return summarize(comparison, list(models), named, [*notes, *missing])


def summarize(
    comparison: Comparison, models: Sequence[str], engines: Mapping[str, str], notes: Sequence[str] = ()
) -> Accuracy:
    """Turns counts into percentages and intervals; ``models`` in its order, "float" being the reference."""
    n = comparison.n
    others = [name for name in models if name != "float"] if "float" in models else []
    pairs = {name: ("float", name) for name in others}
    alike = dict(pairs)
    if "onnx" in models and "tflite" in models:
        alike["onnx_tflite"] = ("onnx", "tflite")
    return Accuracy(
        n=n,
        models={
            name: ModelAccuracy(
                100 * comparison.top1[name] / n,
                100 * comparison.top5[name] / n,
                _percent(wilson(comparison.top1[name], n)),
            )
            for name in models
            if name in comparison.top1
        },
        drop_pp={
            k: 100 * (comparison.lost[p] - comparison.gained[p]) / n for k, p in pairs.items() if p in comparison.lost
        },
        drop_ci95={
            k: _percent(paired_drop(comparison.lost[p], comparison.gained[p], n))
            for k, p in pairs.items()
            if p in comparison.lost
        },
        agreement={name: 100 * comparison.agree[pair] / n for name, pair in alike.items()},
        sqnr_db={name: comparison.sqnr_db[pair] for name, pair in pairs.items()},
        engines=engines,
        unreadable=comparison.unreadable,
        notes=tuple(notes),
        answers=comparison.answers,
        outputs={name: comparison.outputs[pair] for name, pair in alike.items() if pair in comparison.outputs},
    )


def loader(image: ImageContract) -> LoadPicture:
    """Reads files as a bundle's ``ImageContract`` says, into a new array each."""
    from edgekit.preprocess import Preprocessor, decode

    own = threading.local()  # a preprocessor keeps buffers, and several threads load at once

    def load(path: Path) -> Images:
        if not hasattr(own, "preprocessor"):
            own.preprocessor = Preprocessor(image)
        pixels: Images = own.preprocessor.image(decode(path))
        return pixels

    return load


def open_models(
    files: Mapping[str, Path], engines: Sequence[str] | None, threads: int | None
) -> tuple[dict[str, Engine], tuple[str, ...]]:
    """Opens every model file that an engine here can run: role → engine, and why the others were left out.

    The float reference runs in ONNX Runtime, whatever engines are asked for.

    Raises:
        UsageError: unknown engine names.
        EngineError: no engine for any of them but the reference; the message holds every reason.
    """
    from edgekit import engines as runtimes

    if unknown := [name for name in engines or () if name not in runtimes.ENGINES]:
        raise UsageError(f"engine {unknown[0]!r} is not known", hint=f"one of {', '.join(runtimes.ENGINES)}")
    opened: dict[str, Engine] = {}
    left_out: list[str] = []
    for role in (role for role in FILES if role in files):
        reasons = []
        for engine in _ENGINES[files[role].suffix]:
            if role != "float" and engines is not None and engine not in engines:
                continue
            try:
                opened[role] = runtimes.open(files[role], engine, threads)
                break
            except EngineError as error:
                reasons.append(error.message)
        else:
            left_out += reasons
    if not set(opened) - {"float"}:
        where = next(iter(files.values())).parent if files else "no model files"
        why = "; ".join(left_out) or "no model that the engines asked for can run"
        raise EngineError(f"{where}: nothing to evaluate: {why}", hint="`edgekit doctor` says what runs here")
    return opened, tuple(left_out)


def _labels(own: Sequence[Label], given: Sequence[Label] | None) -> Sequence[Label]:
    if given is None:
        return own
    if len(given) != len(own):
        raise LabelsError(f"{len(given)} labels for a model of {len(own)} classes", hint="one line per class")
    return given


def _percent(interval: tuple[float, float]) -> tuple[float, float]:
    return 100 * interval[0], 100 * interval[1]
