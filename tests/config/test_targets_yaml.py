"""The profiles that ship, and how one extends another."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from edgekit.config import Target, check, list_targets, load_target
from edgekit.contracts import ImageContract

NAMES = ["arm64", "armv7", "host", "rpi-zero2w", "rpi3", "rpi4", "rpi5"]


def test_every_shipped_profile_loads_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list_targets() == NAMES
    assert check() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_survives_the_manifest(name: str) -> None:
    target = load_target(name)
    assert Target.from_dict(target.to_dict()) == target
    assert target.name == name and target.title


def test_the_manifest_spelling_is_the_yaml_spelling() -> None:
    data = load_target("armv7").to_dict()
    assert data["engine"]["versions"]["tflite-runtime"] == "2.14.0"
    assert data["engine"] == {
        "preferred": "tflite-runtime",
        "fallbacks": [],
        "versions": {
            "litert": None,
            "onnxruntime": None,
            "tflite-runtime": "2.14.0",
            "numpy": "1.24.2",
            "opencv": "4.6.0",
        },
    }


def test_board_facts() -> None:
    """Against the Raspberry Pi documentation's table of processors and default clocks."""
    facts = {
        name: (t.cpu.model, t.cpu.cores, t.cpu.clock_mhz, t.cpu.dot_product, t.memory.ram_mb)
        for name in NAMES
        for t in [load_target(name)]
        if name.startswith("rpi")
    }
    assert facts == {
        "rpi3": ("cortex-a53", 4, 1400, False, 1024),
        "rpi4": ("cortex-a72", 4, 1800, False, 1024),
        "rpi5": ("cortex-a76", 4, 2400, True, 2048),
        "rpi-zero2w": ("cortex-a53", 4, 1000, False, 512),
    }
    assert load_target("armv7").engines() == ("tflite-runtime",)


@pytest.mark.parametrize(("name", "fp32_ms", "int8_ms"), [("rpi4", 20.3, 10.1), ("rpi5", 7.6, 1.9)])
def test_peak_arithmetic_gives_the_published_floor(name: str, fp32_ms: float, int8_ms: float) -> None:
    """146 million multiply-accumulates (V2 x1.0) on one core."""
    cpu = load_target(name).cpu
    assert cpu.macs_per_cycle is not None
    ms = 146e6 / (cpu.clock_mhz * 1e6) * 1e3
    assert ms / cpu.macs_per_cycle.fp32 == pytest.approx(fp32_ms, abs=0.05)
    assert ms / cpu.macs_per_cycle.int8 == pytest.approx(int8_ms, abs=0.05)


def test_every_number_in_a_shipped_profile_has_its_source(project_root: Path) -> None:
    """A number's line ends in a comment or a source, or a comment above speaks for the lines indented like it."""
    bare = []
    for path in sorted((project_root / "targets").glob("*.yaml")):
        covered: int | None = None  # indentation that the last comment line speaks for
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            indent = len(line) - len(line.lstrip())
            setting, _, comment = line.partition(" #")
            key, _, value = setting.partition(":")
            if line.lstrip().startswith("#") and number > 1:
                covered = indent
            elif indent != covered:
                covered = None
                number_in_it = re.search(r"(?<![\w.-])\d", value) and key.strip() not in ("title", "name")
                if number_in_it and not comment and "source:" not in line:
                    bare.append(f"{path.name}:{number}: {line}")
    assert bare == []


def test_sections_merge_and_lists_replace(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "extends: rpi4\nthreads: 3\ncpu: {clock_mhz: 1500}\nengine: {fallbacks: []}\npeers: []\ncamera: {fps: 5}\n"
    )
    mine, parent = load_target(tmp_path / "mine.yaml"), load_target("rpi4")
    assert mine.name == "mine" and mine.title == "" and mine.extends == "rpi4"
    assert mine.cpu == dataclasses.replace(parent.cpu, clock_mhz=1500)
    assert mine.engine == dataclasses.replace(parent.engine, fallbacks=())
    assert mine.camera == dataclasses.replace(parent.camera, fps=5)
    assert mine.peers == () and mine.threads == 3 and mine.gate == parent.gate


def test_own_profiles_come_before_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "rpi4.yaml").write_text("extends: rpi4\nthreads: 4\n")  # its own name: the shipped one
    (tmp_path / "targets" / "kiosk.yaml").write_text("extends: rpi4\n")
    assert list_targets() == sorted([*NAMES, "kiosk"])
    assert load_target("rpi4").threads == 4
    assert load_target("kiosk").threads == 4, "a profile beside it wins over the shipped one"
    other = tmp_path / "other"
    other.mkdir()
    (other / "rpi4.yaml").write_text("extends: rpi5\n")
    assert load_target("rpi4", folder=other).cpu.model == "cortex-a76"


def test_a_path_in_extends_starts_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "base.yaml").write_text("extends: rpi5\nthreads: 1\n")
    (tmp_path / "boards" / "a.yaml").write_text("extends: ../base.yaml\n")
    assert load_target(tmp_path / "boards" / "a.yaml").threads == 1
    assert load_target(str(tmp_path / "boards" / "a.yaml")).cpu.model == "cortex-a76"


def test_aliases_are_values_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: rpi4\nthreads: &n 1\nquantization: {seed: *n}\n")
    target = load_target(tmp_path / "a.yaml")
    assert (target.threads, target.quantization.seed) == (1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("keep_float: auto", "auto"),
        ("keep_float: [stage2.0/conv, fc]", ("stage2.0/conv", "fc")),
        ("keep_float: []", ()),
        ('keep_float: ["1"]', ("1",)),
    ],
)
def test_keep_float_is_a_list_or_auto(tmp_path: Path, text: str, expected: object) -> None:
    (tmp_path / "a.yaml").write_text(f"extends: rpi4\nquantization: {{{text}}}\n")
    assert load_target(tmp_path / "a.yaml").quantization.keep_float == expected


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "extends: rpi4\nbudget: {latency_ms: 1e2, memory_mb: 100}\ngate: {max_drop_pp: .5, min_agreement: null}\n"
        "camera: {rotate: 180, fps: 29.97}\nquantization: {reduce_range: on}\nos: {python: 3.10}\n"
    )
    target = load_target(tmp_path / "a.yaml")
    assert (target.budget.latency_ms, target.budget.memory_mb, target.gate.max_drop_pp) == (100.0, 100.0, 0.5)
    assert target.gate.min_agreement is None and target.camera.rotate == 180 and target.camera.fps == 29.97
    assert target.quantization.reduce_range is True
    assert target.os.python == "3.10", "an unquoted version keeps its last zero"


def test_input_overrides_only_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: rpi4\ninput: {resize: 232, interpolation: area}\n")
    own = ImageContract(192, 160, 200, "linear")
    assert load_target("rpi4").input.image(own) == own
    assert load_target(tmp_path / "a.yaml").input.image(own) == ImageContract(192, 160, 232, "area")


def test_values_are_frozen() -> None:
    target = load_target("rpi4")
    with pytest.raises(dataclasses.FrozenInstanceError):
        target.threads = 9  # type: ignore[misc]


def test_profiles_are_plain_yaml(project_root: Path) -> None:
    """Other people's tools read them too."""
    for path in (project_root / "targets").glob("*.yaml"):
        assert yaml.safe_load(path.read_text("utf-8"))["title"]


@pytest.mark.parametrize(("isa", "program"), [("aarch64", "qemu-aarch64"), ("armv7", "qemu-arm")])
def test_qemu_knows_every_core(isa: str, program: str) -> None:
    found = shutil.which(program) or shutil.which(f"{program}-static")
    if found is None:
        pytest.skip(f"{program} (package qemu-user) is not on this machine")
    known = subprocess.run([found, "-cpu", "help"], capture_output=True, text=True).stdout.split()
    wanted = {target.cpu.qemu_cpu for target in map(load_target, NAMES) if target.cpu.isa == isa}
    assert wanted and wanted <= set(known)
