"""``edgekit verify --emulate``: the bundle's own check, on the target's instruction set."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edgekit import bundle as bundles
from edgekit.bundle import Expected
from edgekit.bundle.golden import isa_family
from edgekit.bundle.read import Bundle
from edgekit.config import Target
from edgekit.emulate.board import BUNDLE, OUT, Board, board_of, explain
from edgekit.emulate.machine import Machine
from edgekit.emulate.root import Say
from edgekit.engines import ENGINES
from edgekit.errors import VerifyFailed
from edgekit.evaluate.verify_report import Check, EngineCheck, VerifyReport

# An inference in emulated half precision takes seconds, not tenths of one.
_FLOAT_GOLDENS = 4


def verify_emulated(
    bundle_path: Path,
    *,
    engines: Sequence[str] | None = None,
    target: Target | None = None,
    cpu: str | None = None,
    record: bool = False,
    say: Say | None = None,
) -> VerifyReport:
    """Runs every golden in the target's engines under qemu, each engine in a process of its own, side by side.

    Args:
        engines: of those that the target names; None takes all of them.
        target: another board than the bundle's own.
        cpu: another qemu CPU model than the profile's.
        record: add an int8 bundle's answers to its goldens where they pass, so that a board of this family is
            afterwards compared with its own kind.
        say: told each step of preparing the root.

    Raises:
        BundleError, UsageError: no bundle, or its target cannot be emulated.
        DeviceError: qemu, apt, pip or the network is missing.
    """
    path = Path(bundle_path)
    try:
        opened = bundles.read(path)
    except VerifyFailed as error:
        checks = tuple(Check("files", False, line) for line in error.message.splitlines())
        return VerifyReport(path, None, checks, (), emulated=cpu or "target")
    board = board_of(opened, target=target, cpu=cpu, say=say)
    wanted = engines if engines is not None else board.target.engines()
    names = [name for name in wanted if opened.has(ENGINES[name].model)]
    with tempfile.TemporaryDirectory(prefix="edgekit-emulate-") as scratch:
        out = Path(scratch)
        count = goldens_to_run(opened)
        if say:
            say(f"running {count} goldens on an emulated {board.machine.cpu}")
        with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
            results = list(pool.map(lambda name: _verify_engine(board, opened, name, count, out), names))
        report = VerifyReport(
            path,
            opened.sha256,
            tuple(dict.fromkeys(check for checks, _ in results for check in checks)),  # each engine's run told them
            tuple(result for _, result in results),
            emulated=board.machine.cpu,
        )
        if record and report.passed and count == opened.manifest.golden.get("count"):
            _record(opened, report, board.machine, out)
    return report


def goldens_to_run(opened: Bundle) -> int:
    """All of an int8 bundle's; of a float one's a few, because qemu computes floating point in software."""
    there = int(opened.manifest.golden.get("count", 0))
    return there if opened.manifest.precision == "int8" else min(there, _FLOAT_GOLDENS)


def _verify_engine(
    board: Board, opened: Bundle, name: str, count: int, out: Path
) -> tuple[tuple[Check, ...], EngineCheck]:
    done = board.python(
        ["-m", "edgekit.emulate.inside", "verify", BUNDLE, name, str(count), OUT],
        mounts={opened.path.resolve(): BUNDLE, out: OUT},
    )
    family = family_of(board.machine)
    file = out / f"verify-{name}.json"
    if done.code != 0 or not file.is_file():
        version = opened.manifest.engines.get(name, "")
        return (), EngineCheck(name, version, family, problems=(explain(done, name, board),))
    data = json.loads(file.read_text("utf-8"))
    checks = tuple(Check(item["name"], item["passed"], item["said"]) for item in data["checks"])
    if not data["engines"]:
        return checks, EngineCheck(name, "", family, problems=tuple(data["problems"]))
    return checks, EngineCheck.from_dict(data["engines"][0])


def family_of(machine: Machine) -> str:
    """The instruction-set family of an emulated machine, as its goldens are recorded."""
    features = machine.cpuinfo.partition("Features")[2].partition("\n")[0].lstrip("\t: ")
    return isa_family({"armv7": "armv7l"}.get(machine.isa, machine.isa), frozenset(features.split()))


def _record(opened: Bundle, report: VerifyReport, machine: Machine, out: Path) -> None:
    family = family_of(machine)
    answers = [Expected(item.engine, family, np.load(out / f"answers-{item.engine}.npy")) for item in report.engines]
    versions = {item.engine: item.version for item in report.engines}
    bundles.add(
        opened.path,
        {},
        golden=opened.golden().recording(*answers),
        engines={name: version for name, version in versions.items() if name not in opened.manifest.engines},
        notes={"proven": {**opened.manifest.notes.get("proven", {}), machine.cpu: versions}},
    )
