"""Whether a bundle was made for this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.config.fit import fit
from edgekit.runtime.checkup.finding import Finding, Level
from edgekit.runtime.checkup.runtimes import RUNTIMES
from edgekit.runtime.checkup.world import World


def check(world: World, bundle: Path) -> Iterator[Finding]:
    """The manifest's target against this processor and these engine versions.

    Reads only the manifest; `edgekit verify` checks hashes and answers.
    """
    try:
        manifest = dict(json.loads((bundle / "manifest.json").read_text("utf-8")))
        target: dict[str, Any] = dict(manifest["target"])
        pinned = dict((target.get("engine") or {}).get("versions") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield Finding("bundle", "problem", f"{bundle}: not a bundle", "edgekit build --target …")
        return
    # An engine that is not installed cannot answer wrongly here.
    found = fit(manifest, world.machine, None if world.installed("onnxruntime") else "litert")
    level: Level = "warning" if found.warns else "note" if found.kind == "unknown" else "ok"
    facts = {
        "target": target.get("name"),
        "made_for": (target.get("cpu") or {}).get("isa"),
        "here": world.machine.isa,
        "fit": found.kind,
    }
    yield Finding("bundle", level, f"{bundle} {found.says}", found.mend, facts)
    for kind in RUNTIMES.values():
        here, wanted = world.installed(kind.distribution), pinned.get(kind.name)
        if here and wanted and here != wanted:
            yield Finding(
                "bundle",
                "note",
                f"{kind.name} {here} is installed, and {bundle} was proven with {wanted}",
                f"pip install {kind.distribution}=={wanted}",
                {"engine": kind.name, "installed": here, "proven": wanted},
            )
