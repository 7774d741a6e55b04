"""The last step of a build: everything that was found becomes a bundle, or a report that says why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit import bundle, report
from edgekit.bundle import Bundle, Expected, Golden, Parts
from edgekit.bundle.write import proven_engines
from edgekit.emulate import FILE
from edgekit.errors import AccuracyGateFailed, BuildRefused
from edgekit.evaluate.gate import HINT
from edgekit.files import write_whole
from edgekit.report import figures, terminal
from edgekit.report.record import Artifact, BuildRecord
from edgekit.steps import proof, summary
from edgekit.steps.summary import Findings


def require_gate(f: Findings) -> None:
    """Raises:
    AccuracyGateFailed: the gate is missed. The report is written to ``<output>.report.html`` first, and the error
        carries what the build would have printed.
    """
    if f.gate is None or f.gate.passed:
        return
    raise refusal(AccuracyGateFailed, f, f.gate.sentence, HINT)


def refusal(kind: type[BuildRefused], f: Findings, why: str, hint: str | None = None) -> BuildRefused:
    """The end of a build without a bundle: writes its report beside, and says all that was measured."""
    shown = summary.record(f, _artifacts(f))
    report_file = report_beside(f.order.output)
    write_whole(report_file, report.render(shown).encode())
    said = f"{why}\n  no bundle was written; the report is {report_file}"
    if (f.order.output / "manifest.json").is_file():
        said += f"\n  {f.order.output} still is the bundle of an earlier build"
    return kind(said, hint=hint, facts=to_dict(None, f), text=terminal.text(shown))


def report_beside(output: Path) -> Path:
    """Where the report of a build goes that failed its gate, or its proof on the target's core."""
    return output.with_name(f"{output.name}.report.html")


def write(
    f: Findings,
    golden: Golden,
    ran: Mapping[str, str],
    stages: Mapping[str, tuple[str, bytes]],
    more_answers: Sequence[Expected] = (),
) -> Bundle:
    """Writes the bundle, whole or not at all.

    Args:
        golden: with what this machine answered; the tolerance is derived from that.
        more_answers: what other cores answered to the same goldens.

    Raises:
        StorageError: the disk is full or cannot be written.
    """
    target = f.order.target.to_dict()
    extra: dict[str, tuple[str, bytes]] = {
        "report.html": ("report", report.render(summary.record(f, _artifacts(f))).encode()),
        "float.onnx": ("reference", f.models.float_onnx),
        **stages,
    }
    if f.quantized is not None:
        extra["ranges.json"] = ("other", f.quantized.ranges.to_json().encode())
    if f.emulated is not None:
        extra[FILE] = f.emulated.file()
    parts = Parts(
        models=tuple((model.entry, model.content) for model in (f.models.onnx, f.models.tflite)),
        labels=f.labels,
        golden=golden.recording(*more_answers),
        image=f.checkpoint.image,
        precision=f.order.precision,
        target=target,
        checkpoint=summary.source_dict(f),
        tools=summary.tools(),
        engines=proven_engines(target, ran),
        golden_notes=proof.golden_notes(golden),
        extra=extra,
        accuracy=summary.accuracy_dict(f),
        parity=summary.parity_dict(f),
        notes=summary.manifest_notes(f),
    )
    made = bundle.write(f.order.output, parts)
    # Of an earlier build that failed: it would speak of a bundle that it is not about.
    report_beside(f.order.output).unlink(missing_ok=True)
    return made


def record(made: Bundle, f: Findings) -> BuildRecord:
    """The record of a finished build, with the files of its bundle."""
    return summary.record(f, _published(made))


def _published(made: Bundle) -> tuple[Artifact, ...]:
    by_name = {model.file: model for model in made.manifest.models}
    artifacts = []
    for entry in made.manifest.files:
        model = by_name.get(entry.name)
        kind = (model.format, model.precision) if model else ("", "")
        artifacts.append(Artifact(entry.name, entry.size, entry.sha256, *kind))
    return tuple(artifacts)


def to_dict(made: Bundle | None, f: Findings) -> dict[str, Any]:
    """The object that ``build --json`` prints; its keys are a contract. Without a bundle the gate was missed."""
    report_file = report_beside(f.order.output) if made is None else made.path / "report.html"
    models = [model.entry for model in (f.models.onnx, f.models.tflite)]
    return {
        "bundle": None if made is None else str(made.path),
        "sha256": None if made is None else made.sha256,
        "report": str(report_file),
        "target": f.order.target.name,
        "precision": f.order.precision,
        "checkpoint": summary.source_dict(f),
        "artifacts": [] if made is None else [_file(made, artifact) for artifact in _published(made)],
        "ops": {entry.format: dict(entry.ops) for entry in models},
        "parity": summary.parity_dict(f),
        "accuracy": summary.accuracy_dict(f),
        "cost": f.cost.to_dict(),
        "emulated": None if f.emulated is None else f.emulated.to_dict(),
        **figures.to_dict(summary.record(f, _artifacts(f) if made is None else _published(made))),
        "notes": list(f.notes),
        "seconds": dict(f.seconds),
    }


def _file(made: Bundle, artifact: Artifact) -> dict[str, Any]:
    return {
        "path": str(made.path / artifact.name),
        "format": artifact.format or Path(artifact.name).suffix.lstrip("."),
        "precision": artifact.precision or None,
        "bytes": artifact.bytes,
        "sha256": artifact.sha256,
    }


def _artifacts(f: Findings) -> tuple[Artifact, ...]:
    """The model files, as far as they are known before the bundle is written."""
    import hashlib

    return tuple(
        Artifact(m.entry.file, len(m.content), hashlib.sha256(m.content).hexdigest(), m.entry.format, m.entry.precision)
        for m in (f.models.onnx, f.models.tflite)
    )
