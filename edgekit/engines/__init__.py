"""Inference engines: one protocol, one module per runtime, imported only when it is asked for.

    engine = engines.open(Path("build/rpi4"), threads=2)      # a bundle, or one model.onnx / model.tflite
    engine.input[0] = pixels                                  # uint8 [H, W, 3] RGB, the engine's own memory
    raw = engine.invoke()                                     # uint8, int8 or float32 [N, classes]
    scores = engine.scores(raw)                               # float32 [N, classes]

A new engine is one module with ``load(path, threads) -> Engine`` and one line in :data:`ENGINES`.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from edgekit.engines.protocol import Engine
from edgekit.errors import BundleError, EngineError, UsageError

__all__ = ["AUTO_ORDER", "ENGINES", "Engine", "EngineKind", "installed", "open", "versions"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EngineKind:
    """What must be known of an engine before it is imported (an import may be slow, or crash on a strange CPU)."""

    name: str
    module: str  # of edgekit, holding load(path, threads)
    package: str  # the import name of the runtime
    distribution: str  # what pip installs
    model: str  # the bundle's file that it runs
    install: str  # the command that brings it

    @property
    def suffix(self) -> str:
        return Path(self.model).suffix

    def installed_version(self) -> str | None:
        """The runtime's version, from its package metadata and without importing it; None where it is not installed."""
        try:
            if util.find_spec(self.package) is None:
                return None
        except (ImportError, ValueError):
            return None
        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return "unknown"


ENGINES: dict[str, EngineKind] = {
    kind.name: kind
    for kind in (
        EngineKind(
            "litert", "edgekit.engines.litert", "ai_edge_litert", "ai-edge-litert", "model.tflite",
            "pip install ai-edge-litert",
        ),
        EngineKind(
            "onnxruntime", "edgekit.engines.onnxruntime", "onnxruntime", "onnxruntime", "model.onnx",
            "pip install 'edgekit[onnxruntime]'",
        ),
        EngineKind(
            "tflite-runtime", "edgekit.engines.tflite_runtime", "tflite_runtime", "tflite-runtime", "model.tflite",
            "pip install 'edgekit[tflite]' (Python 3.11 or older)",
        ),
    )
}  # fmt: skip

AUTO_ORDER = ("litert", "tflite-runtime", "onnxruntime")
"""What ``engine="auto"`` tries where no bundle names an order: the fastest on ARM first."""

# More threads than this gain nothing on a network of 146 million multiplications and add latency spikes.
_MOST_THREADS = 4


def installed() -> dict[str, str]:
    """The engines of this Python environment as name → version, found without importing any of them."""
    return {name: version for name, kind in ENGINES.items() if (version := kind.installed_version()) is not None}


versions = installed


def open(
    model: Path | str,
    engine: str = "auto",
    threads: int | None = None,
    fallbacks: Sequence[str] | None = None,
) -> Engine:
    """Loads a model into an inference engine, with a batch of one image.

    Args:
        model: a bundle directory, or one ``.onnx`` or ``.tflite`` file whose input is uint8 ``[N, H, W, 3]`` RGB.
            A bundle's hashes are not checked here: that is ``bundle.read``'s work.
        engine: ``"auto"``, or a name in :data:`ENGINES`, which is then the only one tried.
        threads: for the engine's own pool; None takes the bundle's target profile, else the machine's cores, at most 4.
        fallbacks: the order that ``"auto"`` tries; None takes the bundle's target profile, else :data:`AUTO_ORDER`.

    Raises:
        UsageError: an unknown engine name, or fewer than one thread.
        BundleError: no such bundle or model file.
        EngineError: no engine that is installed can run this model.
        GraphError: the engine does not take the file, or its input is not uint8 images.
    """
    path = Path(model)
    if threads is not None and threads < 1:
        raise UsageError(f"threads: {threads} is not a number of threads", hint="give 1 or more")
    profile = _profile(path) if path.is_dir() else {}
    if engine != "auto":
        names: Sequence[str] = (_known(engine),)
    else:
        names = tuple(_known(name) for name in (fallbacks or _profile_engines(profile) or AUTO_ORDER))
    chosen_threads = threads or _profile_threads(profile) or min(os.cpu_count() or 1, _MOST_THREADS)

    missing: list[EngineKind] = []
    for name in names:
        kind = ENGINES[name]
        file = _model_file(path, kind, required=engine != "auto")
        if file is None:
            continue
        if kind.installed_version() is None:
            missing.append(kind)
            continue
        try:
            loader: Any = importlib.import_module(kind.module)
            opened: Engine = loader.load(file, chosen_threads)
        except EngineError as error:
            if engine != "auto":
                raise
            log.warning("%s", error)
            continue
        log.info("%s %s, %d threads, runs %s", opened.name, opened.version, opened.threads, file)
        return opened
    raise _nothing_runs(path, missing)


def _known(name: str) -> str:
    if name not in ENGINES:
        raise UsageError(f"engine '{name}' is not known", hint=f"one of auto, {', '.join(ENGINES)}")
    return name


def _model_file(path: Path, kind: EngineKind, *, required: bool) -> Path | None:
    """The file that this engine would run, or None where there is none for it."""
    if path.is_dir():
        file = path / kind.model
        if file.is_file():
            return file
        if required:
            raise BundleError(f"{path}: holds no {kind.model}, which {kind.name} needs", hint="build the bundle again")
        return None
    if not path.exists():
        raise BundleError(f"{path}: no such bundle or model file")
    if path.suffix.lower() == kind.suffix:
        return path
    if required:
        raise UsageError(
            f"{path}: {kind.name} runs {kind.suffix} files", hint="choose another engine, or --engine auto"
        )
    return None


def _nothing_runs(path: Path, missing: Sequence[EngineKind]) -> Exception:
    if missing:
        names = " or ".join(kind.name for kind in missing)
        return EngineError(f"{path}: no inference engine for it is installed: {names}", hint=missing[0].install)
    if path.is_dir():
        return EngineError(f"{path}: no engine here can run its models", hint="`edgekit doctor` says why")
    if path.suffix.lower() in {kind.suffix for kind in ENGINES.values()}:
        return EngineError(f"{path}: no engine here can run it", hint="`edgekit doctor` says why")
    return BundleError(f"{path}: not a bundle directory, an .onnx or a .tflite file")


def _profile(bundle: Path) -> dict[str, Any]:
    """The target profile in the manifest; empty where that cannot be read (``bundle.read`` complains)."""
    try:
        target = json.loads((bundle / "manifest.json").read_text("utf-8")).get("target")
    except (OSError, ValueError, AttributeError):
        return {}
    return target if isinstance(target, dict) else {}


def _profile_engines(profile: dict[str, Any]) -> tuple[str, ...]:
    engine = profile.get("engine")
    if not isinstance(engine, dict):
        return ()
    rest = engine.get("fallbacks")
    names = [engine.get("preferred"), *(rest if isinstance(rest, list | tuple) else ())]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name in ENGINES))


def _profile_threads(profile: dict[str, Any]) -> int | None:
    threads = profile.get("threads")
    return threads if isinstance(threads, int) and threads > 0 else None
