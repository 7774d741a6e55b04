"""Every error that a user can meet.

    EdgekitError                 (never raised itself)
    ├── InputError               exit 2: what the user gave us cannot be used
    │   ├── UsageError           a flag or a combination of flags
    │   ├── ConfigError          deploy.yaml or a target profile; carries every issue found
    │   ├── CheckpointError      a checkpoint that is missing, broken, hostile or not a ShuffleNet
    │   ├── GraphError           a network or ONNX graph that a stage cannot take
    │   ├── CalibrationError     calibration or evaluation images
    │   ├── ImageError           one picture that cannot be decoded or used
    │   ├── LabelsError          a labels file
    │   └── BundleError          a directory that is not a bundle, or is incomplete
    ├── CheckFailed              exit 1: everything worked and the answer is no
    │   ├── BuildRefused         a build that ends without a bundle
    │   │   └── AccuracyGateFailed   the int8 model misses its accuracy gate
    │   └── VerifyFailed         a bundle is not what its manifest says, or answers differently
    │       └── ProofFailed      a build's, on the target's emulated core (a BuildRefused too)
    └── DeviceError              exit 3: the machine, a camera or a stream
        ├── CameraError          a source that cannot be opened, or is busy
        ├── StreamError          a source that ended or stalled
        ├── EngineError          an inference engine that is missing or fails
        └── StorageError         a disk that is full or cannot be written

Raise these in the library; only ``cli.py`` prints and exits. The message says what and where, the hint what to try.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class EdgekitError(Exception):
    """Base of every error shown to a user.

    Args:
        message: what is wrong and where, one sentence, starting with the file (``file:line:column:``) if there is one.
        hint: what to try next, or None where there is nothing to add.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  try: {self.hint}" if self.hint else self.message


class InputError(EdgekitError):
    exit_code = 2


class UsageError(InputError):
    pass


class ConfigError(InputError):
    """One or more issues in YAML; ``issues`` holds each as ``file:line:column: what``."""

    def __init__(self, issues: list[str], *, hint: str | None = None) -> None:
        super().__init__("\n".join(issues), hint=hint)
        self.issues = tuple(issues)


class CheckpointError(InputError):
    pass


class GraphError(InputError):
    pass


class CalibrationError(InputError):
    pass


class ImageError(InputError):
    pass


class LabelsError(InputError):
    pass


class BundleError(InputError):
    pass


class CheckFailed(EdgekitError):  # noqa: N818 - it failed nothing: the answer is no
    exit_code = 1


class BuildRefused(CheckFailed):
    """``facts`` and ``text`` tell all that a build measured, as ``--json`` and as tables; empty where none ran."""

    def __init__(
        self, message: str, *, hint: str | None = None, facts: Mapping[str, Any] | None = None, text: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.facts = facts or {}
        self.text = text


class AccuracyGateFailed(BuildRefused):
    pass


class VerifyFailed(CheckFailed):
    pass


class ProofFailed(BuildRefused, VerifyFailed):
    """The target's emulated core answers otherwise than the build machine."""


class DeviceError(EdgekitError):
    exit_code = 3


class CameraError(DeviceError):
    pass


class StreamError(DeviceError):
    pass


class EngineError(DeviceError):
    pass


class StorageError(DeviceError):
    pass
