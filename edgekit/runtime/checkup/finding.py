"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found out about the machine.

    Attributes:
        check: what was looked at, one word: ``architecture``, ``litert``, ``camera``, …
        level: ``ok``; ``note``, nothing to do; ``warning``, works, but worse than it could; ``problem``, does not work.
        says: one sentence.
        mend: what to type, or do, about it; None where there is nothing to do.
        facts: the figures behind the sentence, for ``--json``.
    """

    check: str
    level: Level
    says: str
    mend: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "level": self.level,
            "says": self.says,
            "mend": self.mend,
            **({"facts": self.facts} if self.facts else {}),
        }
