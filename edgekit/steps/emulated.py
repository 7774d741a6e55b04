"""The target's own core, emulated: a bundle is proven and counted on it before it is published, or afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from edgekit import bundle, emulate
from edgekit.bundle import Bundle, Expected, Golden
from edgekit.config import Target
from edgekit.emulate import Emulated
from edgekit.errors import DeviceError, ProofFailed
from edgekit.steps import publish
from edgekit.steps.summary import Findings


def require(target: Target) -> None:
    """Whether this machine can emulate a target: asked before the long work.

    Raises:
        UsageError: the target is no ARM board.
        DeviceError: qemu is missing, does not know the core, or may not be run here.
    """
    emulate.check(emulate.machine_of(target))


def prove(
    f: Findings, golden: Golden, ran: Mapping[str, str], say: Callable[[str], None]
) -> tuple[Findings, tuple[Expected, ...]]:
    """Writes a trial bundle, verifies it on the target's emulated core and counts what each engine executes there.

    Returns:
        the findings with the evidence, and that core's answers to the goldens, for the bundle to hold.

    Raises:
        DeviceError: the emulated root cannot be made.
        ProofFailed: the core answers otherwise than the build machine. The report is written to
            ``<output>.report.html`` first.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-trial-") as folder:
        trial = replace(f.order, output=Path(folder) / f.order.output.name)
        made = publish.write(replace(f, order=trial), golden, ran, {})
        verdict = emulate.verify_emulated(made.path, record=True, say=say)
        family = emulate.family_of(emulate.machine_of(f.order.target))
        answers = tuple(item for item in bundle.read(made.path).golden().expected if item.family == family)
        evidence = Emulated().with_proof(verdict)
        if verdict.passed:
            evidence = _counted(made, evidence, say)
    f = replace(f, emulated=evidence)
    if not verdict.passed:
        why = "\n  ".join((f"not proven on an emulated {verdict.emulated}:", *verdict.problems))
        raise publish.refusal(ProofFailed, f, why)
    return f, answers


def _counted(made: Bundle, evidence: Emulated, say: Callable[[str], None]) -> Emulated:
    """With counts, or a remark on why there are none: not every qemu can count, and all of them can prove."""
    try:
        emulate.check_counting(emulate.machine_of(emulate.target_of(made)))
    except DeviceError as error:
        return replace(evidence, remarks=(f"Not counted: {error.message.removeprefix('emulation: ')}.",))
    return evidence.with_counts(emulate.count(made.path, say=say).counts)
