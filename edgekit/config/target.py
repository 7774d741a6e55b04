"""A target profile (``targets/NAME.yaml``) as frozen values: one device, and how a model is made for it.

Attribute names are the YAML keys, but for hyphens: ``engine.versions.tflite_runtime`` is ``tflite-runtime`` in YAML.
Board facts (``cpu``, ``memory``, ``os``, ``engine``, ``threads``) must be given by the profile or one it extends;
everything else has a default here.
"""

# ruff: noqa: RUF009 - setting() and section() declare dataclass fields, as dataclasses.field does.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgekit.config.fields import plain, section, setting
from edgekit.contracts import ImageContract, Interpolation

Isa = Literal["aarch64", "armv7", "x86_64"]
EngineName = Literal["litert", "onnxruntime", "tflite-runtime"]
Precision = Literal["int8", "fp16", "fp32"]
Observer = Literal["auto", "minmax", "moving-average", "percentile", "entropy", "mse"]
Rounding = Literal["nearest", "second-moment"]

NAME = r"[a-z0-9][a-z0-9._-]*"
_VERSION = r"[0-9]+(\.[0-9]+)*([a-z0-9.+-]*)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class MacsPerCycle:
    """Multiply-accumulates that one core can finish in one clock cycle: the slope of the roofline's roof."""

    fp32: float = setting("float32, vector unit", low=0.25, high=1024)
    fp16: float = setting("float16; equal to fp32 where the core only converts", low=0.25, high=1024)
    int8: float = setting("8-bit integers", low=0.25, high=4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The processor: what decides the kernels that an engine picks."""

    model: str = setting("core, as its maker calls it, e.g. cortex-a72", detect="cpu_model")
    isa: Isa = setting("instruction set of the user space that runs the model", detect="isa")
    cores: int = setting("cores of the board", low=1, high=256, detect="cores")
    clock_mhz: int = setting("highest sustained clock of one core, MHz", low=100, high=10000, detect="clock_mhz")
    dot_product: bool = setting("8-bit dot products (SDOT/UDOT on Arm, VNNI on x86)", detect="dot_product")
    fp16: bool = setting("half-precision arithmetic, not only conversion", detect="fp16")
    qemu_cpu: str | None = setting("what qemu-user's -cpu calls this core; null where it cannot be emulated", None)
    macs_per_cycle: MacsPerCycle | None = setting("peak arithmetic of one core; null: no roofline is drawn", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Main memory."""

    ram_mb: int = setting("RAM of the smallest such board, MB", low=64, high=4194304, detect="ram_mb")
    bandwidth_gb_s: float | None = setting("peak bandwidth, GB/s; null: unknown", None, low=0.1, high=2000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Os:
    """The operating system that the profile is proven with."""

    name: str = setting("distribution and release", detect="os_name")
    python: str = setting(
        "Python of that release, major.minor",
        pattern=r"3\.[0-9]+",
        form="a version such as 3.11",
        verbatim=True,
        detect="python",
    )
    glibc: str = setting(
        "glibc of that release, major.minor",
        pattern=r"2\.[0-9]+",
        form="a version such as 2.36",
        verbatim=True,
        detect="glibc",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Exact versions that the profile is proven with; null where the package is not used on this target."""

    litert: str | None = setting(
        "ai-edge-litert", None, pattern=_VERSION, form="a version such as 2.3.0", verbatim=True
    )
    onnxruntime: str | None = setting(
        "onnxruntime", None, pattern=_VERSION, form="a version such as 1.31.1", verbatim=True
    )
    tflite_runtime: str | None = setting(
        "tflite-runtime", None, pattern=_VERSION, form="a version such as 2.14.0", verbatim=True, key="tflite-runtime"
    )
    numpy: str | None = setting("numpy", None, pattern=_VERSION, form="a version such as 2.4.6", verbatim=True)
    opencv: str | None = setting(
        "opencv-python-headless", None, pattern=_VERSION, form="a version such as 5.0.0.93", verbatim=True
    )

    def of(self, engine: EngineName) -> str | None:
        """The pinned version of an engine, None if the profile pins none."""
        return {"litert": self.litert, "onnxruntime": self.onnxruntime, "tflite-runtime": self.tflite_runtime}[engine]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Which runtime executes the model, and what to fall back to."""

    preferred: EngineName = setting("first choice")
    fallbacks: tuple[EngineName, ...] = setting("tried in this order where the first choice cannot be imported", ())
    versions: Versions = section(Versions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Overrides of the checkpoint's own image contract; null keeps what the checkpoint says."""

    height: int | None = setting("input height, pixels", None, low=32, high=1024)
    width: int | None = setting("input width, pixels", None, low=32, high=1024)
    resize: int | None = setting("short side before the centre crop, pixels", None, low=32, high=2048)
    interpolation: Interpolation | None = setting("resampling filter", None)

    def image(self, own: ImageContract) -> ImageContract:
        """``own``, the checkpoint's contract, with this profile's overrides."""
        return ImageContract(
            self.height or own.height,
            self.width or own.width,
            self.resize or own.resize,
            self.interpolation or own.interpolation,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How float becomes int8; each method can be switched off here."""

    observer: Observer = setting("how activation ranges are chosen; auto measures per tensor", "auto")
    equalize: bool = setting("cross-layer equalization (exact in float)", True)
    split_channels: bool = setting("copies of the few channels that spoil the scores, where int8 needs them", True)
    bias_correction: bool = setting("correct each bias for the mean error of its quantized layer", True)
    rounding: Rounding = setting("rounding of weights; second-moment uses the calibration inputs", "second-moment")
    scale_search: bool = setting("search each weight scale for the least error instead of max / 127", True)
    calibration_images: int = setting("images used of the calibration set", 256, low=1, high=100000)
    seed: int = setting("which images are drawn when the set is larger", 0, low=0, high=2**31 - 1)
    keep_float: tuple[str, ...] | Literal["auto"] = setting(
        "layers or tensors kept in float; auto: the smallest set that passes the gate", ()
    )
    softmax: Literal["keep", "drop"] = setting("whether a final softmax stays in the model", "drop")
    reduce_range: bool | Literal["auto"] = setting(
        "7-bit weights for x86 without VNNI, whose 8-bit kernels saturate; auto: decided by the ISA", "auto"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What int8 must hold against float for a build to succeed; null leaves a figure unchecked."""

    max_drop_pp: float | None = setting("largest loss of top-1, percentage points (labelled set)", 0.5, low=0, high=100)
    min_agreement: float | None = setting("least share of equal top-1 answers, 0-1", 0.95, low=0, high=1)
    min_sqnr_db: float | None = setting("least signal-to-quantization-noise of the scores, dB", None, low=-20, high=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a deployment can afford; null leaves a figure unchecked."""

    latency_ms: float | None = setting("one inference at the profile's threads, p95, ms", None, low=0.01, high=60000)
    memory_mb: float | None = setting("peak resident memory of `edgekit run`, MB", 120, low=1, high=1048576)


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """What is asked of a camera, and when it is given up on."""

    width: int = setting("requested width, pixels", 640, low=16, high=15360)
    height: int = setting("requested height, pixels", 480, low=16, high=8640)
    fps: float = setting("requested frames per second", 30, low=0.1, high=1000)
    fourcc: str | None = setting(
        "requested pixel format, four characters; null: the driver's own",
        "MJPG",
        pattern=r"[A-Za-z0-9 ]{4}",
        form="four characters such as MJPG",
    )
    rotate: Literal[0, 90, 180, 270] = setting("clockwise rotation of the picture, degrees", 0)
    flip: Literal["none", "horizontal", "vertical"] = setting("mirror the picture", "none")
    open_timeout_s: float = setting("how long opening may take, s", 10, low=0.1, high=600)
    stall_timeout_s: float = setting("no frame for this long is a stall, s", 2, low=0.1, high=600)
    reconnect_min_s: float = setting("first pause before reconnecting, s", 0.25, low=0.01, high=600)
    reconnect_max_s: float = setting("longest pause before reconnecting, s", 2, low=0.01, high=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A published latency of another tool on this board, 224 x 224, batch 1."""

    tool: str = setting("tool, and precision in its own words")
    model: str = setting("network, e.g. shufflenet_v2_x1.0")
    precision: Precision = setting("arithmetic")
    threads: int = setting("threads", low=1, high=256)
    latency_ms: float = setting("one inference, ms", low=0.001, high=600000)
    source: str = setting("where it was published")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A target profile: one device, and how a model is made for it."""

    name: str = setting("name of the profile; the file's own name", pattern=NAME, form="a name such as rpi4", own=True)
    title: str = setting("one line for people", "", own=True)
    extends: str | None = setting("profile whose settings this one starts from: a name, or a path", None, own=True)
    cpu: Cpu = setting("the processor")
    memory: Memory = setting("main memory")
    os: Os = setting("the operating system")
    engine: Engine = setting("the runtime that executes the model")
    threads: int = setting("threads of one inference", low=1, high=256, detect="threads")
    precision: Precision = setting("arithmetic of the deployed model", "int8")
    input: Input = section(Input)
    quantization: Quantization = section(Quantization)
    gate: Gate = section(Gate)
    budget: Budget = section(Budget)
    camera: Camera = section(Camera)
    peers: tuple[Peer, ...] = setting("published latencies for this board", ())

    def engines(self) -> tuple[EngineName, ...]:
        """The engines of this target, first choice first."""
        return (self.engine.preferred, *self.engine.fallbacks)

    def to_dict(self) -> dict[str, Any]:
        """The profile as used, for a manifest: every setting, defaults included, under its YAML key."""
        data: dict[str, Any] = plain(self)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "target") -> Target:
        """Reads back :meth:`to_dict`.

        Raises:
            ConfigError: a setting is missing, unknown or out of range; ``where`` names the document.
        """
        from edgekit.config.convert import from_plain

        return from_plain(cls, data, where)
