"""Commands of the desk: build, calibrate, convert."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.output import Json, Progress, answer, note
from edgekit.errors import BuildRefused


class Precision(StrEnum):
    int8 = "int8"
    fp16 = "fp16"
    fp32 = "fp32"


class Format(StrEnum):
    onnx = "onnx"
    tflite = "tflite"


class Input(StrEnum):
    uint8 = "uint8"
    float = "float"


Calibration = Annotated[
    Path | None,
    typer.Option("--calibration", help="Pictures to calibrate on: a folder, or the YAML manifest of a set."),
]
Labels = Annotated[Path | None, typer.Option("--labels", help="Labels file, one label a line.")]
Ranges = Annotated[
    Path | None, typer.Option("--ranges", help="Table of ranges from `edgekit calibrate`, instead of measuring.")
]


def build(
    target: Annotated[
        str, typer.Option("--target", help="Target profile: a name from `edgekit targets list`, or a file.")
    ],
    config: Annotated[Path | None, typer.Option("--config", help="Deployment file. [default: ./deploy.yaml]")] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="File, catalogue name, or demo. [default: as deploy.yaml says]")
    ] = None,
    calibration: Calibration = None,
    labels: Labels = None,
    evaluation: Annotated[
        Path | None, typer.Option("--evaluation", help="Labelled pictures for the accuracy gate, a folder per class.")
    ] = None,
    ranges: Ranges = None,
    precision: Annotated[Precision | None, typer.Option("--precision", help="[default: as the target says]")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Folder that gets one bundle per target. [default: build]")
    ] = None,
    keep_stages: Annotated[bool, typer.Option("--keep-stages", help="Keep the graph of every stage as ONNX.")] = False,
    emulate: Annotated[
        bool,
        typer.Option("--emulate", help="Also prove and count it on the target's core, under qemu-user: minutes."),
    ] = False,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="Also what each quantization method is worth here: minutes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build a bundle for a target: calibrate, quantize, convert, prove."""
    from edgekit import pipeline
    from edgekit.steps.order import place

    order = place(
        target,
        deploy=config,
        checkpoint=checkpoint,
        calibration=calibration,
        labels=labels,
        evaluation=evaluation,
        ranges=ranges,
        precision=None if precision is None else precision.value,
        output=output,
        keep_stages=keep_stages,
        emulate=emulate,
        ablate=ablate,
    )
    for line in order.notes:
        note(f"edgekit: {line}")
    try:
        built = pipeline.build(order, Progress())
    except BuildRefused as missed:
        # What was measured is the answer, and the answer is no.
        answer(missed.facts, missed.text, as_json=as_json)
        raise
    answer(built.to_dict(), built.text(), as_json=as_json)


def calibrate(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint file, catalogue name, or demo.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the table of ranges goes (JSON).")],
    calibration: Calibration = None,
    target: Annotated[str, typer.Option("--target", help="Target profile, for its quantization settings.")] = "arm64",
    as_json: Json = False,
) -> None:
    """Measure activation ranges over pictures, to build from later without measuring again."""
    from edgekit.steps import convert as steps
    from edgekit.steps.order import place

    order = place(target, checkpoint=checkpoint, calibration=calibration)
    made = steps.calibrate(order, output, Progress())
    answer(made.to_dict(), made.text(), as_json=as_json)


def convert(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint file, catalogue name, or demo.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    format: Annotated[Format, typer.Option("--format")] = Format.onnx,
    precision: Annotated[Precision, typer.Option("--precision")] = Precision.fp32,
    input: Annotated[
        Input, typer.Option("--input", help="uint8 pixels, or the source framework's own normalized float.")
    ] = Input.uint8,
    calibration: Calibration = None,
    ranges: Ranges = None,
    labels: Labels = None,
    target: Annotated[str, typer.Option("--target", help="Target profile, for its quantization settings.")] = "arm64",
    as_json: Json = False,
) -> None:
    """Convert a checkpoint to one model file."""
    from edgekit.steps import convert as steps
    from edgekit.steps.order import place

    order = place(
        target, checkpoint=checkpoint, calibration=calibration, labels=labels, precision=precision.value, ranges=ranges
    )
    made = steps.convert(order, output, format=format.value, pixels=input.value == "uint8", listener=Progress())
    answer(made.to_dict(), made.text(), as_json=as_json)
