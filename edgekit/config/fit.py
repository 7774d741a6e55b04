"""Whether a bundle was made for the processor at hand, in words. Reads nothing but what it is given, and no YAML.

ONNX Runtime on x86 without VNNI multiplies with ``vpmaddubsw``, which adds two u8×s8 products into a saturating int16:
weights beyond ±64 (2 × 255 × 64 = 32,640) overflow it, silently. One published model fell from 66 to 58 % top-1 so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgekit.config.machine import Machine

_SAFE_WEIGHTS = 64


@dataclass(frozen=True, slots=True)
class Fit:
    """``kind``: "fits"; "unknown" (the bundle does not say); "saturates", "other" or "slower" otherwise.

    ``says`` follows the bundle's name, as in ``build/rpi4 was made for …``; ``mend`` is what to try.
    """

    kind: Literal["fits", "unknown", "saturates", "other", "slower"]
    says: str
    mend: str | None = None

    @property
    def warns(self) -> bool:
        return self.kind in ("saturates", "other", "slower")


def fit(manifest: Mapping[str, Any], machine: Machine, engine: str | None = None) -> Fit:
    """Holds a manifest's target against a processor.

    Args:
        manifest: the parsed ``manifest.json``; anything odd in it counts as not said.
        engine: the one that runs the bundle here; None: any of them might.
    """
    target = _section(manifest, "target")
    cpu = _section(target, "cpu")
    isa, here = cpu.get("isa"), machine.isa
    if not isa:
        return Fit("unknown", "does not say which processor it was made for")
    name = f"{isa} ({target.get('name')})" if target.get("name") else str(isa)
    if here == "x86_64" and not machine.dot_product and engine in (None, "onnxruntime") and _wide(manifest, cpu):
        return Fit(
            "saturates",
            f"was made for {name}, and this x86 processor has no VNNI: ONNX Runtime's 8-bit kernels saturate here on "
            "its weights, so that answers can be wrong",
            "edgekit run --engine litert, or edgekit build --target host on this machine",
        )
    if isa != here:
        return Fit(
            "other",
            f"was made for {name}, and this is {here}: answers may differ by a step or two",
            "edgekit verify proves it here; edgekit build --target host makes one for this machine",
        )
    if cpu.get("dot_product") and not machine.dot_product:
        return Fit(
            "slower",
            f"was made for a processor with 8-bit dot products ({target.get('name')}), and this one has none: "
            "expect it to be slower",
            "edgekit tune chooses engine and threads for this machine",
        )
    return Fit("fits", "was made for this kind of processor")


def _wide(manifest: Mapping[str, Any], cpu: Mapping[str, Any]) -> bool:
    """Whether integer weights may exceed what is safe without VNNI."""
    if manifest.get("precision") != "int8":
        return False
    limit = _section(_section(manifest, "notes"), "quantization").get("weight_limit")
    if isinstance(limit, int):
        return limit > _SAFE_WEIGHTS
    return bool(cpu.get("isa") != "x86_64" or cpu.get("dot_product"))


def _section(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}
