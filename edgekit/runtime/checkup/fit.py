"""Whether a bundle was made for this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.runtime.checkup.finding import Finding
from edgekit.runtime.checkup.runtimes import RUNTIMES
from edgekit.runtime.checkup.world import World


def check(world: World, bundle: Path) -> Iterator[Finding]:
    """The manifest's target against this processor and these engine versions.

    Reads only the manifest; `edgekit verify` checks hashes and answers.
    """
    try:
        manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
        target: dict[str, Any] = dict(manifest["target"])
        cpu, pinned = dict(target.get("cpu") or {}), dict((target.get("engine") or {}).get("versions") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        yield Finding("bundle", "problem", f"{bundle}: not a bundle", "edgekit build --target …")
        return
    machine = world.machine
    facts = {"target": target.get("name"), "made_for": cpu.get("isa"), "here": machine.isa}
    name = f"{bundle} (target {target.get('name')})"
    if not cpu.get("isa"):
        yield Finding("bundle", "note", f"{name} does not say which processor it was made for", None, facts)
    elif cpu["isa"] != machine.isa:
        yield Finding(
            "bundle",
            "warning",
            f"{name} was made for {cpu['isa']}, and this is {machine.isa}: answers may differ by a step or two",
            f"edgekit verify {bundle}, or edgekit build --target host",
            facts,
        )
    elif cpu.get("dot_product") and not machine.dot_product:
        yield Finding(
            "bundle",
            "warning",
            f"{name} was made for a processor with 8-bit dot products, and this one has none",
            f"edgekit verify {bundle}",
            facts,
        )
    else:
        yield Finding("bundle", "ok", f"{name} was made for this kind of processor", facts=facts)
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
