"""Targets × engines × checkpoint families under emulation, as a table.

    python -m tests.emulate.matrix                             the embedded demo, every ARM target
    python -m tests.emulate.matrix --data ../shared/data       real checkpoints too: an hour and a half on two cores

Each family is built once, on this machine, with the default methods, and its bundle is then verified on every board.
A row is told, and written to ``--output``, as soon as it is known; what cannot be built or run is a row that says so,
and the rest goes on. ``--only TEXT`` does the families whose title has that text, and leaves the other rows of the
output as they are. Exit code 1 if a cell fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit import emulate, pipeline
from edgekit.config import Gate, Precision, load_target
from edgekit.evaluate.verify_report import EngineCheck
from edgekit.steps.order import place
from tests.emulate import table

TARGETS = ("rpi-zero2w", "rpi4", "rpi5", "armv7")


@dataclass(frozen=True, slots=True)
class Family:
    """A checkpoint to build: None stands for the embedded demo's own. ``make`` writes one that is nobody's."""

    title: str
    checkpoint: Path | None = None
    calibration: Path | None = None
    labels: Path | None = None
    precision: Precision = "int8"
    make: Callable[[Path], Path] | None = None


def families(data: Path | None) -> list[Family]:
    """The demo, and with real data one checkpoint of each kind; the most telling first."""
    found = [Family("V2 x0.5, demo, 13 classes, int8")]
    if data is None:
        return found
    weights, others = data / "checkpoints", data / "families"
    nette = weights / "torchvision_v2_x1.0_imagenette10.pth"
    photos, imagenet = data / "photos" / "imagenette" / "calibration", data / "photos" / "imagenet1k"
    synsets = data / "labels" / "imagenet1k_synsets.txt"
    megvii = weights / "megvii_v1_x0.5_g3_imagenet.pth.tar"

    def eight_groups(folder: Path) -> Path:
        from tests.emulate import random_network

        return random_network.write(folder / "megvii_v1_x0.5_g8_random.pth", imagenet)

    return [
        *found,
        Family("V2 x1.0, torchvision, 10 classes, int8", nette, photos),
        Family("V1 x0.5 g=3, Megvii, 1000 classes, int8", megvii, imagenet, synsets),
        Family("V2 own widths, Megvii, 10 classes, int8", weights / "megvii_v2_custom_paddy.pth", photos),
        Family("V2 x0.5, torchvision, person, int8", weights / "torchvision_v2_x0.5_person.pth", photos),
        Family("V2 x1.0, torchvision, 10 classes, fp16", nette, photos, precision="fp16"),
        Family("V2 x1.0, torchvision, 10 classes, fp32", nette, photos, precision="fp32"),
        Family("V1 x0.5 g=8, Megvii, random, int8", None, imagenet, make=eight_groups),
        Family("V2 x0.25, PaddleClas, random, int8", others / "ppcls_shufflenetv2_x0_25.pdparams", imagenet),
        Family("V2 x0.5, TensorFlow, random, int8", others / "tf_v2_0.5" / "model.ckpt-100.index", imagenet),
        Family("V1 x0.5 g=3, ONNX, random, int8", others / "zoo_v1_x0.5_g3_opset9.onnx", imagenet),
        Family("V1 x1.0 g=3, mmpretrain, random, int8", others / "mm_shufflenet_v1_1x_g3.pth", imagenet),
        Family("V2 x1.0 swish, PaddleClas, random, int8", others / "ppcls_shufflenetv2_swish.pdparams", imagenet),
    ]


def build(family: Family, output: Path) -> Path:
    """A bundle of the family, built for the first target; the models are the same for all of them."""
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = family.checkpoint if family.make is None else family.make(output)
    order = place(
        "rpi4",
        checkpoint=None if checkpoint is None else str(checkpoint),
        calibration=family.calibration,
        labels=family.labels,
        precision=family.precision,
        output=output,
    )
    # Whether int8 is accurate enough is another question than whether every board computes the same.
    ungated = Gate(max_drop_pp=None, min_agreement=None, min_sqnr_db=None)
    return pipeline.build(replace(order, target=replace(order.target, gate=ungated))).bundle.path


def prove(family: Family, bundle: Path, targets: tuple[str, ...]) -> Iterator[table.Row]:
    """Every engine of every target on the bundle's goldens."""
    for name in targets:
        target = load_target(name)
        try:
            report = emulate.verify_emulated(bundle, target=target, say=note)
        except Exception as error:  # one board that cannot be emulated is a row, and the others go on
            for engine in target.engines():
                yield failed(family, name, engine, error)
            continue
        for check in report.engines:
            yield row(family, name, str(report.emulated), check)


def row(family: Family, target: str, core: str, check: EngineCheck) -> table.Row:
    verdict = table.PROVEN if check.passed else "refused: " + "; ".join(check.problems[:1])
    return table.Row(
        family.title,
        f"{target} ({core})",
        f"{check.engine} {check.version}".rstrip(),
        str(check.goldens),
        str(check.same_top1),
        f"{check.worst:g}",
        f"{check.tolerance:g}",
        verdict,
    )


def failed(family: Family, target: str, engine: str, error: Exception) -> table.Row:
    core = load_target(target).cpu.qemu_cpu
    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    return table.Row(family.title, f"{target} ({core})", engine, "–", "–", "–", "–", f"failed: {why}")


def rows(families: list[Family], targets: tuple[str, ...], folder: Path) -> Iterator[table.Row]:
    """All of them, as they come."""
    for number, family in enumerate(families):
        note(f"building {family.title}")
        try:
            bundle = build(family, folder / str(number))
        except Exception as error:  # likewise
            for name in targets:
                for engine in load_target(name).engines():
                    yield failed(family, name, engine, error)
            continue
        yield from prove(family, bundle, targets)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="real checkpoints and photos")
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--only", default="", help="families whose title has this text")
    parser.add_argument("-o", "--output", type=Path, help="document whose table is kept up to date, row by row")
    given = parser.parse_args()
    chosen = [family for family in families(given.data) if given.only in family.title]
    found: list[table.Row] = []
    with tempfile.TemporaryDirectory(prefix="edgekit-matrix-") as folder:
        for one in rows(chosen, tuple(given.targets), Path(folder)):
            found.append(one)
            note(one.markdown())
            if given.output is not None:
                table.merge(given.output, found)
    if given.output is None:
        print(table.markdown(found), end="")
    return 0 if found and all(one.verdict == table.PROVEN for one in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
