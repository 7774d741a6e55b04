"""Chooses engine and threads on the machine at hand, within what the target profile allows, and remembers the choice.

    tuned = tune(Path("build/rpi4"))             # measures, or reads what an earlier call measured
    tuned.engine, tuned.threads, tuned.p90_ms
    remembered(bundle.sha256)                    # what `run --engine auto` asks: no measurement, a millisecond

A choice belongs to one CPU, one set of engine versions and one bundle; a change of any of them is a new measurement.
It lives in ``$XDG_CACHE_HOME/edgekit/tune`` (else ``~/.cache/edgekit/tune``), one small JSON file each.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.config.machine import Machine
from edgekit.config.target import Target
from edgekit.errors import EngineError
from edgekit.evaluate.bench import Plan, Progress, Start, measure
from edgekit.evaluate.bench_report import BenchReport, Measured, columns
from edgekit.evaluate.workers import Configuration, WorkerProcess

log = logging.getLogger(__name__)

_SCHEMA = 1
# Below this a difference is noise on a small board, and fewer threads leave cores to the camera.
_WORTH_MORE_THREADS = 0.05


@dataclass(frozen=True, slots=True)
class Candidate:
    """One engine and thread count as measured: median and 90th percentile in ms, peak memory in MB."""

    engine: str
    threads: int
    p50_ms: float
    p90_ms: float
    peak_mb: float
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """The choice, what it was chosen from, and why; ``cached`` tells that nothing was measured just now."""

    engine: str
    threads: int
    p50_ms: float
    p90_ms: float
    reason: str
    candidates: tuple[Candidate, ...]
    cached: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """The candidates as a table, the chosen one marked, and the reason."""
        head = ("", "engine", "threads", "p50 ms", "p90 ms", "peak MB", "")
        rows = [
            (
                "→" if (c.engine, c.threads) == (self.engine, self.threads) else "",
                c.engine,
                str(c.threads),
                f"{c.p50_ms:.3f}" if c.p50_ms else "–",
                f"{c.p90_ms:.3f}" if c.p90_ms else "–",
                f"{c.peak_mb:.0f}" if c.peak_mb else "–",
                c.refused or "",
            )
            for c in self.candidates
        ]
        known = " (measured earlier)" if self.cached else ""
        return "\n".join([*columns([head, *rows], left=2), "", f"{self.reason}{known}"])


def tune(
    bundle_path: Path,
    profile: Target | None = None,
    *,
    again: bool = False,
    plan: Plan | None = None,
    machine: Machine | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    start: Start = WorkerProcess,
) -> Tuned:
    """Measures every allowed engine with every allowed thread count, and keeps the best.

    Allowed are the profile's engines that are installed here, up to the profile's ``threads`` (and this machine's
    cores), within its ``budget.memory_mb``. The least 90th percentile wins, because a spike is a late frame; within
    5 % of it the fewest threads win, then the profile's own order of engines.

    Args:
        bundle_path: a bundle; its hashes are checked.
        profile: None takes the profile that the bundle was built with.
        again: measure even if the choice is known.
        cache: the folder of remembered choices; None takes the user's cache.

    Raises:
        BundleError: not a whole bundle.
        EngineError: no allowed engine is installed or runs here within the memory budget.
    """
    from edgekit import bundle

    opened = bundle.read(bundle_path)
    target = profile or Target.from_dict(opened.manifest.target, f"{bundle_path}/manifest.json: target")
    here = machine or Machine()
    names = [name for name in target.engines() if name in _installed()]
    if not names:
        raise EngineError(
            f"none of the target's engines is installed: {', '.join(target.engines())}",
            hint="`edgekit doctor` says how",
        )
    most = max(1, min(target.threads, here.cores))
    limits = {"engines": names, "threads": most, "memory_mb": target.budget.memory_mb}
    file = (cache or cache_folder()) / f"{_key(opened.sha256, here)}.json"
    if not again and (known := _load(file, limits)) is not None:
        return known
    configurations = []
    for name in names:
        model = opened.manifest.model(_format(name))
        if model is not None:
            path = opened.file(model.file)
            configurations += [Configuration(path, name, count, 1, model.precision) for count in _counts(most)]
    rows = measure(configurations, plan or Plan(), progress, start)
    chosen = choose(rows, target)
    _save(file, chosen, limits)
    return chosen


def choose(rows: Sequence[Measured], target: Target) -> Tuned:
    """Applies the rule that :func:`tune` states to measured rows.

    Raises:
        EngineError: none of them ran within the limits.
    """
    candidates = [_candidate(row, target.budget.memory_mb) for row in rows]
    allowed = [c for c in candidates if c.refused is None]
    if not allowed:
        why = "; ".join(f"{c.engine}, {c.threads} threads: {c.refused}" for c in candidates) or "no model for them"
        raise EngineError(f"no engine can be chosen: {why}", hint="`edgekit doctor` says what runs here")
    fastest = min(allowed, key=lambda c: c.p90_ms)
    order = list(target.engines())
    close = [c for c in allowed if c.p90_ms <= fastest.p90_ms * (1 + _WORTH_MORE_THREADS)]
    best = min(close, key=lambda c: (c.threads, order.index(c.engine) if c.engine in order else len(order), c.p90_ms))
    reason = f"{best.engine} with {_threads(best.threads)}: {best.p50_ms:.2f} ms (p50), {best.p90_ms:.2f} ms (p90)"
    if best is not fastest:
        gain = 100 * (best.p90_ms / fastest.p90_ms - 1)
        reason += f"; {fastest.engine} with {_threads(fastest.threads)} is only {gain:.1f} % faster"
    if BenchReport(tuple(rows)).crowded():
        reason += (
            "; this machine was busy with other work, which may have decided: `edgekit tune --again` when it is not"
        )
    return Tuned(best.engine, best.threads, best.p50_ms, best.p90_ms, reason, tuple(candidates))


def remembered(bundle_sha256: str, *, machine: Machine | None = None, cache: Path | None = None) -> Tuned | None:
    """The choice that :func:`tune` made for this bundle on this machine with these engine versions, if it did."""
    return _load((cache or cache_folder()) / f"{_key(bundle_sha256, machine or Machine())}.json", None)


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where choices are remembered. A relative ``XDG_CACHE_HOME`` is ignored, as the XDG specification asks."""
    base = Path(environment.get("XDG_CACHE_HOME") or "")
    return (base if base.is_absolute() else Path.home() / ".cache") / "edgekit" / "tune"


def _candidate(row: Measured, memory_mb: float | None) -> Candidate:
    c = row.configuration
    if row.error is not None:
        return Candidate(c.engine, c.threads, 0.0, 0.0, 0.0, row.error)
    refused = None
    if memory_mb is not None and row.peak_mb > memory_mb:
        refused = f"needs {row.peak_mb:.0f} MB, the profile allows {memory_mb:g}"
    return Candidate(c.engine, c.threads, row.p50, row.percentile(90), row.peak_mb, refused)


def _counts(most: int) -> list[int]:
    """1, 2, 3, 4, then doubling, and the limit itself."""
    counts = {*range(1, min(most, 4) + 1), most}
    step = 8
    while step < most:
        counts.add(step)
        step *= 2
    return sorted(counts)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _format(engine: str) -> str:
    from edgekit.engines import ENGINES

    return ENGINES[engine].suffix.lstrip(".")


def _installed() -> dict[str, str]:
    from edgekit import engines

    return engines.installed()


def _key(bundle_sha256: str, here: Machine) -> str:
    facts = [_SCHEMA, bundle_sha256, here.cpu_model, here.isa, here.cores, sorted(_installed().items())]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def _load(file: Path, limits: Mapping[str, Any] | None) -> Tuned | None:
    """A remembered choice; None where there is none, it cannot be read, or it was made within other limits."""
    try:
        data = json.loads(file.read_text("utf-8"))
        if limits is not None and data["limits"] != json.loads(json.dumps(limits)):
            return None
        tuned = data["tuned"]
        return Tuned(
            str(tuned["engine"]),
            int(tuned["threads"]),
            float(tuned["p50_ms"]),
            float(tuned["p90_ms"]),
            str(tuned["reason"]),
            tuple(Candidate(**candidate) for candidate in tuned["candidates"]),
            cached=True,
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: a remembered choice that cannot be read is ignored: %s", file, error)
        return None


def _save(file: Path, tuned: Tuned, limits: Mapping[str, Any]) -> None:
    """Remembers a choice, whole or not at all. A cache that cannot be written costs the next start, not this one."""
    text = json.dumps({"limits": limits, "tuned": tuned.to_dict()}, indent=1)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".tune-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(file)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        log.warning("%s: the choice is not remembered: %s", file, error.strerror)
