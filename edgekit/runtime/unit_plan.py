"""From what a person types to the unit that this machine needs: paths made absolute, user and program looked up."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import BundleError, UsageError
from edgekit.runtime.unit import WATCHDOG_S, Unit

_MISSED_ANSWERS = 3  # so many may be late in a row before the watchdog bites
_SLOW_CAMERA_FPS = 5.0  # what a webcam falls to in the dark


def plan(
    *,
    bundle: str | Path,
    camera: str = "0",
    name: str = "edgekit",
    user: str | None = None,
    arguments: Sequence[str] = (),
    writable: Sequence[str | Path] = (),
    watchdog_s: float | None = None,
    program: str | Path | None = None,
) -> Unit:
    """The unit for this machine, its paths made absolute; writes nothing. ``.text()`` is what ``--dry-run`` prints.

    Args:
        user: None takes whoever called sudo, else the current user.
        watchdog_s: None takes 30 s, or more where ``arguments`` make answers rare (``--max-fps``, ``--every``).
        program: the ``edgekit`` command; None finds the one of this environment.

    Raises:
        UsageError: a user that does not exist, no ``edgekit`` command, or an argument that cannot go into a unit.
        BundleError: no bundle there.
    """
    path = Path(bundle).absolute()
    if not (path / "manifest.json").is_file():
        raise BundleError(f"{path}: not a bundle", hint="edgekit build --target … --output DIR")
    who = user or os.environ.get("SUDO_USER") or _current_user()
    try:
        pwd.getpwnam(who)
    except KeyError:
        raise UsageError(f"user {who!r} does not exist on this machine", hint="--user NAME") from None
    command = Path(program).absolute() if program else _program()
    if camera == "-":
        raise UsageError("--camera -: a service has no standard input")
    if "/" in camera and "://" not in camera and Path(camera).exists():
        camera = str(Path(camera).absolute())  # the service's working directory is another
    unit = Unit(
        name=name.removesuffix(".service"),
        program=command,
        bundle=path,
        camera=camera,
        user=who,
        arguments=tuple(arguments),
        groups=tuple(group for group in ("video",) if _group_exists(group)),
        writable=tuple(Path(folder).absolute() for folder in writable),
        watchdog_s=watchdog_s or max(WATCHDOG_S, _MISSED_ANSWERS * _longest_pause_s(arguments)),
    )
    unit.text()  # refuses what cannot be written before anything is
    return unit


def _longest_pause_s(arguments: Sequence[str]) -> float:
    """How far apart `edgekit run`'s answers can be by its own arguments, s."""
    frames_per_answer, answers_per_s = _number_after("--every", arguments), _number_after("--max-fps", arguments)
    return max(
        frames_per_answer / _SLOW_CAMERA_FPS if frames_per_answer else 0.0,
        1.0 / answers_per_s if answers_per_s else 0.0,
    )


def _number_after(flag: str, arguments: Sequence[str]) -> float | None:
    """The value of ``--flag 3`` or ``--flag=3``; None where there is none, or `edgekit run` will refuse it."""
    for index, word in enumerate(arguments):
        name, _, text = word.partition("=")
        if name == flag:
            with contextlib.suppress(ValueError):
                return float(text or "".join(arguments[index + 1 : index + 2]))
    return None


def _program() -> Path:
    """The ``edgekit`` command of this environment, else the one on the search path."""
    beside = Path(sys.executable).with_name("edgekit")
    if beside.is_file():
        return beside
    found = shutil.which("edgekit")
    if found is None:
        raise UsageError("no edgekit command found for the service to start", hint="pip install edgekit")
    return Path(found).absolute()


def _current_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise UsageError(f"user {os.getuid()} has no name", hint="--user NAME") from None


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
