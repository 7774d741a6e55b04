"""``edgekit service``: the camera loop as a systemd service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.output import Json, answer, note, say

service = typer.Typer(help="The camera loop as a systemd service.", no_args_is_help=True)
Name = Annotated[str, typer.Option("--name", help="Name of the service.")]


@service.command("install", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def install(
    context: typer.Context,
    bundle: Annotated[Path, typer.Option("--bundle", help="A bundle's directory.")] = Path("build/rpi4"),
    camera: Annotated[str, typer.Option("--camera")] = "0",
    name: Name = "edgekit",
    user: Annotated[str | None, typer.Option("--user", help="Whom it runs as. [default: who calls]")] = None,
    writable: Annotated[
        list[Path] | None, typer.Option("--writable", help="A folder that it may write to; may be given again.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the unit and change nothing.")] = False,
) -> None:
    """Write a hardened unit and start it, now and at every boot. What follows `--` goes to `edgekit run`."""
    from edgekit.runtime import service as services

    unit = services.plan(
        bundle=bundle,
        camera=camera,
        name=name,
        user=user,
        arguments=tuple(word for word in context.args if word != "--"),
        writable=tuple(writable or ()),
    )
    if dry_run:
        say(unit.text())
        return
    for line in services.verify(unit) or ():
        note(line)
    say(f"{services.install(unit)}: installed and started; `edgekit service status` tells how it does")


@service.command("status")
def status(name: Name = "edgekit", as_json: Json = False) -> None:
    """Tell how the service is doing."""
    from edgekit.runtime import service as services

    found = services.status(name)
    answer(found.to_dict(), found.summary(), as_json=as_json)


@service.command("uninstall")
def uninstall(name: Name = "edgekit") -> None:
    """Stop the service and remove its unit."""
    from edgekit.runtime import service as services

    say(f"{services.uninstall(name)}: stopped and removed")
