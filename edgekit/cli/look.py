"""Commands that look and tell: inspect, targets, doctor, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.output import Json, answer, say

targets = typer.Typer(help="Target profiles.", no_args_is_help=True)
checkpoints = typer.Typer(help="Published weights.", no_args_is_help=True)
demo = typer.Typer(help="The embedded demo.", no_args_is_help=True)


def inspect(
    file: Annotated[str, typer.Argument(help="A checkpoint, an ONNX or TFLite model, or a bundle.")],
    target: Annotated[str | None, typer.Option("--target", help="Also the roofline of this target.")] = None,
    as_json: Json = False,
) -> None:
    """Say what a checkpoint, a model or a bundle is."""
    from edgekit.steps.inspect import describe

    found = describe(file, target)
    answer(found.to_dict(), found.text(), as_json=as_json)


def doctor(
    bundle: Annotated[Path | None, typer.Option("--bundle", help="Also whether this bundle fits the machine.")] = None,
    as_json: Json = False,
) -> None:
    """Say what this machine can run, and why not."""
    from edgekit.runtime.doctor import examine

    found = examine(bundle=bundle)
    answer(found.to_dict(), found.text(), as_json=as_json)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


@targets.command("list")
def list_targets(as_json: Json = False) -> None:
    """The profiles there are."""
    from edgekit.config import show

    answer({"targets": show.list_rows()}, show.list_text(), as_json=as_json)


@targets.command("show")
def show_target(
    name: Annotated[str, typer.Argument(help="A profile's name, or the path of one.")], as_json: Json = False
) -> None:
    """A profile with everything that it inherits."""
    from edgekit.config import show

    answer(show.show_dict(name), show.show_text(name), as_json=as_json)


@targets.command("check")
def check_targets(
    files: Annotated[list[Path] | None, typer.Argument(help="Profiles or deployments. [default: all profiles]")] = None,
    as_json: Json = False,
) -> None:
    """Check profiles and deployments: every issue at once, with its place."""
    from edgekit.config import show

    text, issues = show.check_text(files or None)
    answer({"issues": issues}, text, as_json=as_json)
    if issues:
        raise typer.Exit(2)


@checkpoints.command("list")
def list_checkpoints(as_json: Json = False) -> None:
    """The catalogue: published weights with licence, source, accuracy and size."""
    from edgekit.checkpoints import catalogue

    entries = catalogue.entries()
    answer({"checkpoints": [entry.to_dict() for entry in entries]}, catalogue.text(entries), as_json=as_json)


@demo.command("sheet")
def sheet(
    output: Annotated[Path, typer.Option("-o", "--output", help="A .png or .pdf file.")] = Path("edgekit-demo.pdf"),
) -> None:
    """Write the pictograms as a page to print and hold before a camera."""
    from edgekit.demo.sheet import sheet as write

    write(output)
    say(f"{output}: print it, and `edgekit run --camera 0` tells the pictograms apart")


@demo.command("heldout")
def heldout(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    count: Annotated[int, typer.Option("--count", min=1)] = 650,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 77,
) -> None:
    """Render labelled scenes that the demo's network never saw, for `edgekit eval --data`."""
    from edgekit.demo import heldout as rendered

    say(str(rendered(folder, count, seed)))
