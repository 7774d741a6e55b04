"""edgekit: ShuffleNet on small boards, quantized, proven and fast."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# ONNX Runtime from 1.31 keeps a database of its use for its maker unless told not to, before it is loaded. A tool that
# runs on other people's devices does not report on them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# torch's OpenMP threads wait for each other by spinning. With another program on the same cores, the one that is waited
# for does not run, and each of thousands of small operations takes a time slice: calibration took 334 s instead of 20.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
