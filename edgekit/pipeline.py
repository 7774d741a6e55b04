"""The whole build, readable aloud.

checkpoint → float graph → lowered graph → ranges → quantized graph → models → proof → bundle
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit import bundle, graph
from edgekit.bundle import Bundle
from edgekit.report import terminal
from edgekit.report.cost import cost
from edgekit.report.record import Ablation
from edgekit.steps import ablate, convert, emulated, judgement, kept, models, proof, publish, selective, source, summary
from edgekit.steps.order import Order
from edgekit.steps.pictures import read_pictures
from edgekit.steps.selective import Recipe
from edgekit.steps.summary import Findings
from edgekit.steps.watch import Listener, Watch


@dataclass(frozen=True)
class Built:
    """A finished build: the bundle, and what was learned on the way."""

    bundle: Bundle
    findings: Findings = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The object that ``build --json`` prints."""
        return publish.to_dict(self.bundle, self.findings)

    def text(self) -> str:
        """The same for a terminal."""
        return terminal.text(publish.record(self.bundle, self.findings))


def build(order: Order, listener: Listener | None = None) -> Built:
    """Builds one bundle for one target.

    Raises:
        InputError: something of the order cannot be used.
        AccuracyGateFailed: int8 misses the target's gate; the report is written beside where the bundle would be.
        VerifyFailed: the target's emulated core answers otherwise, where the order asks for that; likewise.
        DeviceError: it asks for that, and qemu is missing.
        StorageError: the disk is full or cannot be written. A bundle that was there before is whole in every case.
    """
    watch = Watch(listener)
    bundle.check_output(order.output)
    if order.emulate:
        emulated.require(order.target)
    with watch.stage("read checkpoint"):
        checkpoint = source.read_checkpoint(order)
        labels = source.read_class_labels(order, checkpoint)
    with watch.stage("read pictures") as progress:
        pictures = read_pictures(order, checkpoint.image, labels, progress)
    with watch.stage("export"):
        exported = graph.export(checkpoint)
    with watch.stage("lower"):
        softmax = order.target.quantization.softmax
        lowered = graph.lower(exported, checkpoint.normalization, checkpoint.image, softmax=softmax)
        parity = proof.float_parity(checkpoint, lowered, pictures.pixels)
    chosen = quantized = None
    if order.precision == "int8":
        scheme = summary.scheme(order)
        with watch.stage("calibrate") as progress:
            ranges = convert.ranges_of(order, lowered, pictures.pixels, scheme, progress)
        with watch.stage("quantize") as progress:
            recipe = Recipe(order, checkpoint, labels, lowered, ranges, scheme, pictures)
            chosen = selective.quantized(recipe, progress)
            quantized = chosen.graph
    with watch.stage("emit"):
        emitted = models.emit_all(order, checkpoint, labels, lowered, quantized)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        files = emitted.write(Path(folder))
        with watch.stage("prove"):
            reference = proof.scores_of(lowered.model, pictures.pixels)
            golden, ran = proof.make_golden(files, pictures.pixels, pictures.truth, reference)
        with watch.stage("measure accuracy") as progress:
            evidence = judgement.find_evidence(order, labels, pictures, Path(folder))
            accuracy = judgement.measure_accuracy(files, evidence, checkpoint.image, progress)
            gate = judgement.judge_accuracy(order, accuracy, evidence)
        with watch.stage("measure speed"):
            speed = judgement.time_models(files, order)
        floats = None
        if chosen is not None and chosen.groups:
            with watch.stage("weigh float layers") as progress:
                floats = kept.weigh(chosen, files, evidence, accuracy, Path(folder), progress)
        worth: tuple[Ablation, ...] = ()
        if chosen is not None and order.ablate:
            with watch.stage("ablate") as progress:
                worth = ablate.ablate(chosen, evidence, accuracy, Path(folder), progress)
        findings = Findings(
            order, checkpoint, labels, pictures, lowered, quantized, emitted, parity, evidence, accuracy, gate, speed,
            cost(lowered.model, order.target, summary.network(checkpoint)), watch.seconds, kept=floats, ablations=worth,
        )  # fmt: skip
        publish.require_gate(findings)
        answers: tuple[bundle.Expected, ...] = ()
        if order.emulate:
            with watch.stage("emulate"):
                findings, answers = emulated.prove(findings, golden, ran, watch.tell)
        with watch.stage("write"):
            stages = models.stages(lowered, exported, quantized) if order.keep_stages else {}
            made = publish.write(findings, golden, ran, stages, answers)
    return Built(made, findings)
