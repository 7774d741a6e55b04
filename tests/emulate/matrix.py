"""Targets × engines × checkpoint families under emulation, as a table.

    python -m tests.emulate.matrix                             the embedded demo, every ARM target
    python -m tests.emulate.matrix --data ../shared/data       real checkpoints too: an hour on two cores

Each family is built once, on this machine, and its bundle is then verified on every board. Exit code 1 if a cell fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit import emulate, pipeline
from edgekit.config import Gate, load_target
from edgekit.evaluate.verify_report import EngineCheck
from edgekit.steps.order import place

TARGETS = ("rpi-zero2w", "rpi4", "rpi5", "armv7")


@dataclass(frozen=True, slots=True)
class Family:
    """A checkpoint to build: None stands for the embedded demo's own."""

    title: str
    checkpoint: Path | None = None
    calibration: Path | None = None
    labels: Path | None = None
    precision: str = "int8"


@dataclass(frozen=True, slots=True)
class Cell:
    family: str
    target: str
    core: str
    check: EngineCheck


def families(data: Path | None) -> list[Family]:
    """The demo, and with real data one checkpoint of each kind."""
    found = [Family("V2 x0.5, demo, int8")]
    if data is None:
        return found
    photos, weights = data / "photos", data / "checkpoints"
    nette = weights / "torchvision_v2_x1.0_imagenette10.pth"
    calibration = photos / "imagenette" / "calibration"
    imagenet = photos / "imagenet1k"
    synsets = data / "labels" / "imagenet1k_synsets.txt"
    return [
        *found,
        Family("V2 x1.0, 10 classes, int8", nette, calibration),
        Family("V2 x1.0, 10 classes, fp16", nette, calibration, precision="fp16"),
        Family("V2 x0.5, 2 classes, int8", weights / "torchvision_v2_x0.5_person.pth", calibration),
        Family("V2 own widths, 10 classes, int8", weights / "megvii_v2_custom_paddy.pth", calibration),
        Family("V1 x0.5 g=3, 1000 classes, int8", weights / "megvii_v1_x0.5_g3_imagenet.pth.tar", imagenet, synsets),
    ]


def build(family: Family, output: Path) -> Path:
    """A bundle of the family, built for the first target; the models are the same for all of them."""
    order = place(
        "rpi4",
        checkpoint=None if family.checkpoint is None else str(family.checkpoint),
        calibration=family.calibration,
        labels=family.labels,
        precision=family.precision,  # type: ignore[arg-type]
        output=output,
    )
    # Whether int8 is accurate enough is another question than whether every board computes the same.
    ungated = Gate(max_drop_pp=None, min_agreement=None, min_sqnr_db=None)
    return pipeline.build(replace(order, target=replace(order.target, gate=ungated))).bundle.path


def prove(family: Family, bundle: Path, targets: tuple[str, ...]) -> list[Cell]:
    """Every engine of every target on the bundle's goldens."""
    cells = []
    for name in targets:
        report = emulate.verify_emulated(bundle, target=load_target(name), say=note)
        cells += [Cell(family.title, name, str(report.emulated), check) for check in report.engines]
    return cells


def table(cells: list[Cell]) -> str:
    """Markdown. "worst" is the largest difference of any score from the recorded x86 answer, in quantization steps."""
    lines = [
        "| network | target (core) | engine | goldens | top-1 equal | worst, steps | allowed | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in cells:
        check = cell.check
        verdict = "proven" if check.passed else "refused: " + "; ".join(check.problems[:1])
        lines.append(
            f"| {cell.family} | {cell.target} ({cell.core}) | {check.engine} {check.version} | {check.goldens} "
            f"| {check.same_top1} | {check.worst:g} | {check.tolerance:g} | {verdict} |"
        )
    return "\n".join(lines) + "\n"


def note(text: str) -> None:
    print(text, file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="real checkpoints and photos")
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("-o", "--output", type=Path, help="file for the table; without it, standard output")
    given = parser.parse_args()
    cells: list[Cell] = []
    with tempfile.TemporaryDirectory(prefix="edgekit-matrix-") as folder:
        for number, family in enumerate(families(given.data)):
            note(f"building {family.title}")
            cells += prove(family, build(family, Path(folder) / str(number)), tuple(given.targets))
    if given.output is None:
        print(table(cells), end="")
    else:
        given.output.write_text(table(cells), "utf-8")
    return 0 if all(cell.check.passed for cell in cells) else 1


if __name__ == "__main__":
    raise SystemExit(main())
