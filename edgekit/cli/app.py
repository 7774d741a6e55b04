"""The application: its commands by name, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer

from edgekit import __version__
from edgekit.cli import build, look, measure, run, service
from edgekit.cli.output import INTERRUPTED
from edgekit.errors import EdgekitError, InputError, StorageError

app = typer.Typer(
    name="edgekit",
    help="Puts ShuffleNet on small boards: int8, ONNX and TFLite, proven, with a camera loop.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: dict[str, Callable[..., None]] = {
    "build": build.build,
    "run": run.run,
    "eval": measure.evaluate,
    "bench": measure.bench,
    "verify": measure.verify,
    "tune": measure.tune,
    "lock": measure.lock,
    "inspect": look.inspect,
    "calibrate": build.calibrate,
    "convert": build.convert,
    "cameras": run.cameras,
    "doctor": look.doctor,
}
for name, command in _COMMANDS.items():
    app.command(name)(command)
app.add_typer(look.targets, name="targets")
app.add_typer(look.checkpoints, name="checkpoints")
app.add_typer(service.service, name="service")
app.add_typer(look.demo, name="demo")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgekit {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs one command line and exits."""
    words = list(sys.argv[1:] if argv is None else argv)
    # Wherever it stands, also behind the command: that is where one adds it after a failure.
    debug = "--debug" in words or bool(os.environ.get("EDGEKIT_DEBUG"))
    words = [word for word in words if word != "--debug"]
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s" if debug else "edgekit: %(message)s")
    logging.getLogger("edgekit").setLevel(logging.DEBUG if debug else logging.WARNING)
    _leave(guarded(lambda: app(args=words, prog_name="edgekit", standalone_mode=True), debug=debug))


def _leave(code: int) -> NoReturn:
    """Exits; at once where a thread is stuck in a camera driver, which could abort the process while Python ends."""
    attempt = sys.modules.get("edgekit.runtime.capture.attempt")
    if attempt is not None and attempt.blocked():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def guarded(command: Callable[[], object], *, debug: bool) -> int:
    """Runs ``command`` and turns whatever it raises into a message on stderr and an exit code."""
    try:
        command()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except KeyboardInterrupt:
        typer.echo("edgekit: interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output is gone (``edgekit … | head``); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as raised:
        if debug:
            raise
        error = raised if isinstance(raised, EdgekitError) else _translated(raised)
        typer.echo(f"edgekit: {error.message}", err=True)
        if error.hint:
            typer.echo(f"  try: {error.hint}", err=True)
        return error.exit_code
    return 0


def _translated(raised: Exception) -> EdgekitError:
    """Errors from outside our own hierarchy that a user can do something about, and the rest."""
    if isinstance(raised, ModuleNotFoundError) and raised.name:
        package = raised.name.partition(".")[0]
        if package != "edgekit":
            return InputError(
                f"this command needs the package '{package}', which is not installed",
                hint="pip install 'edgekit[build]'",
            )
    if isinstance(raised, OSError) and raised.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return StorageError(f"{raised.filename or 'the disk'}: {os.strerror(raised.errno or 0)}")
    return InputError(
        f"unexpected {type(raised).__name__}: {raised}", hint="again with --debug, and report what it shows"
    )
