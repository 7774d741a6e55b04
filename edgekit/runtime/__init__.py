"""The device side's camera loop. Nothing here imports torch, onnx or the build.

from edgekit.runtime import CameraOptions, RunOptions, run

summary = run(RunOptions(cameras=(CameraOptions("demo"),), bundle=Path("build/rpi4"), max_frames=200))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.runtime.cameras import list_cameras as list_cameras
    from edgekit.runtime.loop import run as run
    from edgekit.runtime.options import CameraOptions as CameraOptions
    from edgekit.runtime.options import Decision as Decision
    from edgekit.runtime.options import Resilience as Resilience
    from edgekit.runtime.options import Roi as Roi
    from edgekit.runtime.options import RunOptions as RunOptions
    from edgekit.runtime.results import Result as Result
    from edgekit.runtime.results import Summary as Summary
    from edgekit.runtime.signals import Stop as Stop
    from edgekit.runtime.signals import graceful as graceful
    from edgekit.runtime.sinks.base import Sink as Sink

# Looked up on first use: importing edgekit.runtime must cost a command that does not run nothing.
_WHERE = {
    "list_cameras": "cameras",
    "run": "loop",
    "CameraOptions": "options",
    "Decision": "options",
    "Resilience": "options",
    "Roi": "options",
    "RunOptions": "options",
    "Result": "results",
    "Summary": "results",
    "Stop": "signals",
    "graceful": "signals",
    "Sink": "sinks.base",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
