"""Commands that measure a bundle: eval, bench, verify, tune."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.output import Json, Progress, answer, note

if TYPE_CHECKING:
    from edgekit.emulate import Emulated

Bundle = Annotated[Path, typer.Option("--bundle", help="A bundle's directory.")]
Engines = Annotated[list[str] | None, typer.Option("--engine", help="Only this engine; may be given again.")]


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="One folder per class, named by label, index or WordNet id.")],
    bundle: Bundle = Path("build/rpi4"),
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Labels file, where the bundle's own labels name no classes.")
    ] = None,
    engine: Engines = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many pictures, evenly spread.")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Top-1 and top-5 of the float and int8 models on labelled pictures."""
    from edgekit.evaluate.accuracy import evaluate as measured
    from edgekit.labels import read_labels

    progress = Progress("evaluate")
    names = None if labels is None else read_labels(labels)
    result = measured(bundle, data, engines=engine, threads=threads, limit=limit, labels=names, progress=progress)
    progress.done()
    answer(result.to_dict(), result.text(), as_json=as_json)


def bench(
    bundle: Bundle = Path("build/rpi4"),
    batch: Annotated[
        list[int] | None, typer.Option("--batch", help="Images per inference; may be given again.")
    ] = None,
    threads: Annotated[list[int] | None, typer.Option("--threads", help="May be given again.")] = None,
    engine: Engines = None,
    floor: Annotated[
        bool, typer.Option("--floor", help="Also time the convolutions alone: what no graph can beat.")
    ] = False,
    beside: Annotated[
        list[Path] | None, typer.Option("--beside", help="Further bundles or model files to time in the same rounds.")
    ] = None,
    operators: Annotated[bool, typer.Option("--operators", help="Also the time per operator.")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns that each configuration takes.")] = 15,
    emulate: Annotated[
        bool, typer.Option("--emulate", help="Count instructions on the target's core, under qemu-user, instead.")
    ] = False,
    cpu: Annotated[str | None, typer.Option("--cpu", help="With --emulate: another core than the profile's.")] = None,
    record: Annotated[
        bool, typer.Option("--record/--no-record", help="With --emulate: put the counts into the bundle's report.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Latency, throughput, load time and memory of a bundle, every engine in turns."""
    if emulate:
        from edgekit.emulate import count

        counted = count(bundle, engines=engine, cpu=cpu, say=note)
        if record:
            _remember(bundle, lambda known: known.with_counts(counted.counts))
        answer(counted.to_dict(), counted.text(), as_json=as_json)
        return
    import tempfile

    from edgekit.evaluate.bench import Plan
    from edgekit.evaluate.bench import bench as measured

    progress = Progress("bench")
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        if floor:
            from edgekit.steps.floor import write_floor

            write_floor(bundle, Path(folder))
        result = measured(
            bundle,
            engines=engine,
            threads=tuple(threads or (1,)),
            batches=tuple(batch or (1,)),
            floor=Path(folder) if floor else None,
            beside=tuple(beside or ()),
            operators=operators,
            plan=Plan(rounds=rounds),
            progress=progress,
        )
    progress.done()
    answer(result.to_dict(), result.text(), as_json=as_json)


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle's directory.")],
    engine: Engines = None,
    emulate: Annotated[
        bool, typer.Option("--emulate", help="On the target's instruction set, under qemu-user.")
    ] = False,
    cpu: Annotated[str | None, typer.Option("--cpu", help="With --emulate: another core than the profile's.")] = None,
    record: Annotated[
        bool, typer.Option("--record", help="With --emulate: add the answers to the bundle's goldens if they pass.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a bundle: hashes, engine versions, golden answers, budgets."""
    if emulate:
        from edgekit.emulate import verify_emulated

        report = verify_emulated(bundle, engines=engine, cpu=cpu, record=record, say=note)
        if record and report.passed:
            _remember(bundle, lambda known: known.with_proof(report))
    else:
        from edgekit.evaluate import sample
        from edgekit.evaluate.verify import verify as checked

        report = checked(bundle, engines=engine, sample=sample.take)
    answer(report.to_dict(), report.text(), as_json=as_json)
    if not report.passed:
        raise typer.Exit(1)


def _remember(bundle: Path, add: Callable[[Emulated], Emulated]) -> None:
    """Puts what an emulated core told into the bundle's report, or says why not: the measurement stands in any case."""
    from edgekit import bundle as bundles
    from edgekit.emulate import Emulated
    from edgekit.errors import EdgekitError
    from edgekit.steps.remember import remember

    try:
        told = remember(bundle, add(Emulated.of(bundles.read(bundle))))
    except EdgekitError as error:
        note(f"not put into the report: {error.message}")
        return
    note(f"see {bundle}/report.html" if told else f"{bundle}: its report has no place for this; build it again")


def tune(
    bundle: Bundle = Path("build/rpi4"),
    again: Annotated[bool, typer.Option("--again", help="Measure even if the choice is known.")] = False,
    as_json: Json = False,
) -> None:
    """Choose engine and threads on this machine, within the target's limits; `run --engine auto` uses the choice."""
    from edgekit.evaluate.tune import tune as tuned

    progress = Progress("tune")
    result = tuned(bundle, again=again, progress=progress)
    progress.done()
    answer(result.to_dict(), result.text(), as_json=as_json)


def lock(
    bundle: Annotated[Path, typer.Argument(help="A bundle's directory.")],
    with_wheels: Annotated[
        bool, typer.Option("--with-wheels", help="Put every wheel into the bundle, for devices without a network.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Pin the device's packages, hashed, inside the bundle."""
    from edgekit.lock import lock as locked

    result = locked(bundle, with_wheels=with_wheels, say=note)
    where = f"pip install --require-hashes -r {bundle}/requirements.txt"
    answer(result.to_dict(), f"{len(result.pins)} packages pinned; on the device: {where}", as_json=as_json)
