"""What to do when quantizing: one frozen value with a switch for every method."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from edgekit.errors import ConfigError

ObserverName = Literal["auto", "minmax", "moving-average", "percentile", "entropy", "mse"]
Rounding = Literal["nearest", "second-moment"]
OBSERVER_NAMES: tuple[ObserverName, ...] = ("auto", "minmax", "moving-average", "percentile", "entropy", "mse")
ROUNDINGS: tuple[Rounding, ...] = ("nearest", "second-moment")


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a float graph becomes int8. Each switch may be turned off by itself; the defaults are all methods on.

    Attributes:
        weight_limit: largest weight magnitude as an integer: 127, or 64 where u8×s8 products are added in pairs into
            saturating 16 bits (x86 without VNNI: 2 × 255 × 64 = 32,640 just fits).
        observer: how an activation's range is chosen; ``auto`` takes, tensor by tensor, the candidate that costs the
            output least.
        equalize: rescale channels across layers so that shared ranges fit (exact in float).
        split_channels: compute the channels that spoil the scores most twice, half a step apart, where that is needed.
        rounding: ``nearest``, or ``second-moment``: round with the calibration inputs' second moments.
        bias_correction: make every layer's mean output that of the float network, on the quantized prefix.
        scale_search: choose each output channel's weight scale by its error rather than by its largest weight.
        keep_float: names of layers (nodes) that stay in float.
        images: at most this many calibration images are used by the layer-by-layer methods.
    """

    weight_limit: int = 127
    observer: ObserverName = "auto"
    equalize: bool = True
    split_channels: bool = True
    rounding: Rounding = "second-moment"
    bias_correction: bool = True
    scale_search: bool = True
    keep_float: tuple[str, ...] = ()
    images: int = 256

    def __post_init__(self) -> None:
        issues = []
        if self.observer not in OBSERVER_NAMES:
            issues.append(f"quantize: observer {self.observer!r} is none of {', '.join(OBSERVER_NAMES)}")
        if self.rounding not in ROUNDINGS:
            issues.append(f"quantize: rounding {self.rounding!r} is none of {', '.join(ROUNDINGS)}")
        if not 1 <= self.weight_limit <= 127:
            issues.append(f"quantize: weight_limit {self.weight_limit} is outside 1–127")
        if self.images < 1:
            issues.append(f"quantize: images {self.images} must be at least 1")
        if issues:
            raise ConfigError(issues)

    @property
    def needs_images(self) -> bool:
        """Whether :func:`edgekit.quantize.quantize` must see calibration images again, layer by layer."""
        return self.bias_correction or self.rounding != "nearest"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "keep_float": list(self.keep_float)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Scheme:
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ConfigError([f"quantize: unknown key {key!r}" for key in unknown])
        return cls(**{**data, "keep_float": tuple(data.get("keep_float", ()))})


# The plain recipe that other tools use, for comparison and for graphs without calibration images at hand.
PLAIN = Scheme(
    observer="minmax",
    equalize=False,
    split_channels=False,
    rounding="nearest",
    bias_correction=False,
    scale_search=False,
)


def for_isa(scheme: Scheme, *, machine: str, vnni: bool) -> Scheme:
    """``scheme`` made safe for a processor.

    ONNX Runtime on x86 without VNNI multiplies with ``vpmaddubsw``, which adds two u8×s8 products into a saturating
    int16; weights of 7 bits cannot overflow it. ARM's and VNNI's products are added in 32 bits.

    Args:
        machine: as ``platform.machine()`` says: ``x86_64``, ``aarch64``, ``armv7l`` …
        vnni: whether an x86 processor has AVX512-VNNI or AVX-VNNI.
    """
    if machine.lower() in ("x86_64", "amd64", "i686", "x86") and not vnni:
        return Scheme.from_dict({**scheme.to_dict(), "weight_limit": min(scheme.weight_limit, 64)})
    return scheme
