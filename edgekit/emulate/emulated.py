"""What a bundle remembers of emulated boards: who proved it, and how much each engine executed there.

It is kept in ``emulated.json`` with the role of a report: measuring a bundle does not make it another bundle.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgekit.bundle.read import Bundle
from edgekit.emulate.count import Count, lines
from edgekit.errors import BundleError
from edgekit.evaluate.verify_report import EngineCheck, VerifyReport

FILE = "emulated.json"


@dataclass(frozen=True, slots=True)
class Emulated:
    """``proofs``: each engine's answers to the goldens, by qemu CPU model; ``counts``: see :class:`Count`.

    ``remarks`` say what was not done, and why.
    """

    proofs: tuple[tuple[str, EngineCheck], ...] = ()
    counts: tuple[Count, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether somebody proved something and nobody refused."""
        return bool(self.proofs) and all(check.passed for _, check in self.proofs)

    def with_proof(self, report: VerifyReport) -> Emulated:
        """The engines of a report in place of what the same ones said before on that core."""
        fresh = {(str(report.emulated), check.engine): check for check in report.engines}
        known = {(cpu, check.engine): check for cpu, check in self.proofs}
        return replace(self, proofs=tuple((cpu, check) for (cpu, _), check in {**known, **fresh}.items()))

    def with_counts(self, counts: Sequence[Count]) -> Emulated:
        """These counts in place of the earlier ones of the same engine, model and core, and of why there were none."""
        both = {(one.cpu, one.engine, one.model): one for one in (*self.counts, *counts)}
        return replace(self, counts=tuple(both.values()), remarks=())

    def to_dict(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "proofs": [{"cpu": cpu, **check.to_dict()} for cpu, check in self.proofs],
            "counts": [one.to_dict() for one in self.counts],
            "remarks": list(self.remarks),
        }

    def file(self) -> tuple[str, bytes]:
        """Role and content of the file that a bundle keeps it in."""
        return "report", (json.dumps(self.to_dict(), indent=1) + "\n").encode()

    @classmethod
    def of(cls, bundle: Bundle) -> Emulated:
        """What a bundle remembers; nothing where it was never emulated.

        Raises:
            BundleError: it holds something that this edgekit cannot read.
        """
        if not bundle.has(FILE):
            return cls()
        path = bundle.file(FILE)
        try:
            found = json.loads(path.read_bytes())
            return cls(
                tuple((str(item["cpu"]), EngineCheck.from_dict(item)) for item in found["proofs"]),
                tuple(Count.from_dict(item) for item in found["counts"]),
                tuple(map(str, found["remarks"])),
            )
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            said = f"{path}: is not what this edgekit writes there: {type(error).__name__} {error}"
            raise BundleError(said, hint="build the bundle again") from None

    def lines(self) -> list[str]:
        """For a terminal."""
        said = [f"{cpu}: {check.text() if check.passed else '; '.join(check.problems)}" for cpu, check in self.proofs]
        if self.counts:
            said += ["", *lines(self.counts)] if said else lines(self.counts)
        return [*said, *self.remarks]
