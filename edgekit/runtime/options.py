"""What ``run`` is asked to do, as frozen values that check themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgekit.errors import UsageError

OnEnd = Literal["exit", "loop", "wait"]
Flip = Literal["none", "horizontal", "vertical"]
ROTATIONS = (0, 90, 180, 270)
_LONGEST_S = 86400.0


@dataclass(frozen=True, slots=True)
class Roi:
    """A rectangle of the upright picture (after rotation and flip), in pixels, or as fractions of its sides."""

    x: float
    y: float
    width: float
    height: float
    fractions: bool

    @classmethod
    def parse(cls, text: str) -> Roi:
        """``x,y,width,height``: whole numbers are pixels; with a decimal point they are fractions, 0.0–1.0.

        Raises:
            UsageError: not four numbers, an empty rectangle, or fractions outside the picture.
        """
        hint = "pixels as in 100,50,320,240, or fractions as in 0.25,0.0,0.5,1.0"
        parts = [part.strip() for part in text.split(",")]
        try:
            x, y, width, height = (float(part) for part in parts)
        except ValueError:
            raise UsageError(f"--roi {text}: not four numbers x,y,width,height", hint=hint) from None
        fractions = any("." in part for part in parts)
        inside = min(x, y) >= 0 and min(width, height) > 0
        if fractions:
            inside = inside and x + width <= 1.0 + 1e-9 and y + height <= 1.0 + 1e-9
        if not inside:  # also catches nan, which compares false
            raise UsageError(f"--roi {text}: not a rectangle inside the picture", hint=hint)
        return cls(x, y, width, height, fractions)


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """One source of pictures.

    Attributes:
        source: index, device path, ``/dev/v4l/by-id/…``, camera name, file, folder, glob, URL, GStreamer pipeline,
            ``csi`` or ``csi:N``, ``demo``, or ``-`` (raw frames on standard input).
        width, height, fps, fourcc: asked of the camera; what it really gives is reported.
        pixel_format: of raw frames on standard input.
        live: whether the newest picture wins, a recording then being played at its own speed (True), or every one
            counts (False); None leaves it to the kind of source.
    """

    source: str
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    fourcc: str | None = None
    pixel_format: Literal["bgr24", "rgb24", "gray"] = "bgr24"
    live: bool | None = None

    def __post_init__(self) -> None:
        if not self.source:
            raise UsageError("--camera is empty", hint="0, a file, a folder, a URL, demo or -")
        for name, value in (("width", self.width), ("height", self.height), ("fps", self.fps)):
            if value is not None and not 0 < value < 1e6:
                raise UsageError(f"camera {name} {value}: not above zero and below a million")
        if self.fourcc is not None and len(self.fourcc) != 4:
            raise UsageError(f"FOURCC {self.fourcc!r}: not four letters", hint="MJPG or YUYV, for example")


@dataclass(frozen=True, slots=True)
class Resilience:
    """How long to wait for a source, and how to come back to it. All in seconds.

    The delay before attempt n is ``initial × factor^n`` up to ``longest_delay_s``, times a random 0.5–1.0, so that a
    hundred devices do not return to a recovering server in the same instant.
    """

    stall_timeout_s: float = 3.0
    open_timeout_s: float = 10.0
    initial_delay_s: float = 0.1
    factor: float = 2.0
    longest_delay_s: float = 2.0
    retry_first: bool = False  # keep trying when the very first opening fails, instead of ending with its error

    def __post_init__(self) -> None:
        for name in ("stall_timeout_s", "open_timeout_s", "initial_delay_s", "longest_delay_s"):
            if not 0 < getattr(self, name) <= _LONGEST_S:
                what = name.removesuffix("_s").replace("_", " ")
                raise UsageError(f"{what} {getattr(self, name)}: not above zero and up to {_LONGEST_S:g} seconds")


@dataclass(frozen=True, slots=True)
class Decision:
    """How scores become a label that does not flicker.

    Attributes:
        smoothing: weight of the newest frame in an exponential moving average of the scores; 1.0 is no smoothing.
        threshold: below this probability the label is ``unknown``.
        hysteresis: by how much another label's score must exceed the current one's to replace it.
    """

    smoothing: float = 1.0
    threshold: float = 0.0
    hysteresis: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.smoothing <= 1.0:
            raise UsageError(
                f"smoothing {self.smoothing}: not above 0 and up to 1", hint="1 is no smoothing, 0.3 is calm"
            )
        for name in ("threshold", "hysteresis"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"{name} {getattr(self, name)}: not a probability from 0 to below 1")

    @property
    def active(self) -> bool:
        """Whether the decided label can differ from the best of the scores."""
        return self.threshold > 0.0 or self.hysteresis > 0.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Everything ``run`` needs to know; where results go is the sinks' business."""

    cameras: tuple[CameraOptions, ...]
    bundle: Path = Path("build/rpi4")
    engine: str = "auto"
    threads: int | None = None
    max_frames: int | None = None
    max_seconds: float | None = None
    top_k: int = 5
    every: int = 1
    max_fps: float | None = None
    roi: Roi | None = None
    rotate: int = 0
    flip: Flip = "none"
    on_end: OnEnd = "exit"
    verify: bool = False  # check some of the bundle's golden answers before the first frame
    adaptive: bool = True  # lower the frame rate while the device throttles itself
    decision: Decision = field(default_factory=Decision)
    resilience: Resilience = field(default_factory=Resilience)

    def __post_init__(self) -> None:
        if not self.cameras:
            raise UsageError("no camera given", hint="--camera 0, a file, a folder, a URL or demo")
        if sum(camera.source == "-" for camera in self.cameras) > 1:
            raise UsageError("--camera - was given twice, and there is one standard input")
        limits = (("--max-frames", self.max_frames), ("--max-seconds", self.max_seconds), ("--max-fps", self.max_fps))
        for flag, value in (*limits, ("--threads", self.threads), ("--top-k", self.top_k), ("--every", self.every)):
            if value is not None and not value > 0:
                raise UsageError(f"{flag} {value}: not above zero")
        if self.rotate not in ROTATIONS:
            raise UsageError(f"--rotate {self.rotate}: not one of 0, 90, 180, 270")
        if self.flip not in ("none", "horizontal", "vertical"):
            raise UsageError(f"--flip {self.flip}: not one of none, horizontal, vertical")
        if self.on_end not in ("exit", "loop", "wait"):
            raise UsageError(f"--on-end {self.on_end}: not one of exit, loop, wait")
