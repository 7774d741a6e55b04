"""edgekit: ShuffleNet on small boards, quantized, proven and fast."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime from 1.31 keeps a database of its use for its maker unless told not to, before it is loaded. A tool that
# runs on other people's devices does not report on them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from edgekit.classifier import Classifier as Classifier

__version__ = "0.1.0"
__all__ = ["Classifier", "__version__"]


def __getattr__(name: str) -> Any:
    # On first use only: importing edgekit must not import NumPy and OpenCV.
    if name == "Classifier":
        from edgekit.classifier import Classifier

        return Classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
