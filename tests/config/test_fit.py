"""A bundle that meets a processor it was not made for: what is said, and when it is serious."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgekit.config.fit import fit
from edgekit.config.machine import Machine

_FLAGS = {"vnni": "sse4_2 avx2 avx512_vnni", "avx2": "sse4_2 avx2"}
_FEATURES = {"a72": "fp asimd crc32", "a76": "fp asimd asimddp asimdhp"}


def machine(root: Path, kind: str) -> Machine:
    """An x86 or Arm machine with the features of its kind, as /proc/cpuinfo tells them."""
    (root / "proc").mkdir()
    listed = f"flags : {_FLAGS[kind]}" if kind in _FLAGS else f"Features : {_FEATURES[kind]}"
    (root / "proc" / "cpuinfo").write_text(f"processor : 0\n{listed}\n")
    return Machine(root, "x86_64" if kind in _FLAGS else "aarch64", 64)


def manifest(
    isa: str, *, dot_product: bool = False, limit: int | None = 127, precision: str = "int8"
) -> dict[str, Any]:
    notes = {} if limit is None else {"quantization": {"weight_limit": limit}}
    return {
        "precision": precision,
        "target": {"name": "board", "cpu": {"isa": isa, "dot_product": dot_product}},
        "notes": notes,
    }


@pytest.mark.parametrize(
    ("kind", "made_for", "engine", "expected"),
    [
        ("a72", manifest("aarch64"), "litert", "fits"),
        ("a76", manifest("aarch64"), "litert", "fits"),
        ("a72", manifest("aarch64", dot_product=True), "litert", "slower"),
        ("vnni", manifest("aarch64"), "onnxruntime", "other"),
        ("avx2", manifest("aarch64"), "onnxruntime", "saturates"),
        ("avx2", manifest("aarch64"), None, "saturates"),
        ("avx2", manifest("aarch64"), "litert", "other"),
        ("avx2", manifest("aarch64", limit=64), "onnxruntime", "other"),
        ("avx2", manifest("aarch64", precision="fp32"), "onnxruntime", "other"),
        ("avx2", manifest("x86_64", dot_product=True), "onnxruntime", "saturates"),
        ("avx2", manifest("x86_64", limit=64), "onnxruntime", "fits"),
        ("vnni", manifest("x86_64", dot_product=True), "onnxruntime", "fits"),
        # Manifests of before the quantizer's settings were told: the profile decided them.
        ("avx2", manifest("x86_64", limit=None), "onnxruntime", "fits"),
        ("avx2", manifest("aarch64", limit=None), "onnxruntime", "saturates"),
    ],
)
def test_the_processor_and_the_engine_decide(
    tmp_path: Path, kind: str, made_for: dict[str, Any], engine: str | None, expected: str
) -> None:
    found = fit(made_for, machine(tmp_path, kind), engine)
    assert found.kind == expected
    assert found.warns == (expected != "fits")
    assert bool(found.mend) == found.warns


def test_odd_manifests_say_nothing(tmp_path: Path) -> None:
    here = machine(tmp_path, "avx2")
    for odd in ({}, {"target": None}, {"target": {"cpu": []}}, {"target": {"cpu": {"isa": ""}}, "notes": 3}):
        assert fit(odd, here).kind == "unknown" and not fit(odd, here).warns


def test_saturation_is_told_in_words(tmp_path: Path) -> None:
    found = fit(manifest("aarch64"), machine(tmp_path, "avx2"))
    assert found.says == (
        "was made for aarch64 (board), and this x86 processor has no VNNI: ONNX Runtime's 8-bit kernels saturate here "
        "on its weights, so that answers can be wrong"
    )
    assert found.mend is not None and "--engine litert" in found.mend
