"""The edgekit wheel, the requirements file of a lock, and what pip's failures look like to a person."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgekit import bundle, lock
from edgekit.config import load_target
from edgekit.engines import installed
from edgekit.errors import BundleError, DeviceError, UsageError, VerifyFailed
from edgekit.lock import wheels
from edgekit.lock.wheels import Pin

PINS = (
    Pin("numpy", "2.4.6", "numpy-2.4.6-cp311-cp311-manylinux_2_28_aarch64.whl", "a" * 64),
    Pin("ai-edge-litert", "2.3.0", "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl", "b" * 64),
)


def test_the_wheel_is_whole_and_always_the_same() -> None:
    file, content = wheels.edgekit_wheel()
    assert wheels.edgekit_wheel() == (file, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        (record,) = [name for name in names if name.endswith(".dist-info/RECORD")]
        rows = list(csv.reader(archive.read(record).decode().splitlines()))
        assert {row[0] for row in rows} == set(names)
        for name, digest, size in rows:
            if name != record:
                data = archive.read(name)
                wanted = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={wanted}", len(data))
    assert "edgekit/engines/litert.py" in names
    assert "edgekit/emulate/insn.c" in names
    assert "edgekit/_data/targets/rpi4.yaml" in names
    assert not any("__pycache__" in name for name in names)


def test_pip_installs_the_wheel(tmp_path: Path) -> None:
    file, content = wheels.edgekit_wheel()
    (tmp_path / file).write_bytes(content)
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(tmp_path / file)], check=True)
    script = "import edgekit, pathlib, sys; from edgekit.config import load_target; print(load_target('rpi4').name)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": str(target)}, capture_output=True, text=True
    )
    assert done.stdout == "rpi4\n", done.stderr


@pytest.fixture
def locked(tmp_path: Path, tinybundle: ModuleType, monkeypatch: Any) -> Path:
    """A tiny bundle for rpi4, locked to two packages without asking pip."""
    monkeypatch.setattr(wheels, "resolve", lambda target: PINS)

    def download(pins: tuple[Pin, ...], platform: object, into: Path, local: object = None) -> None:
        for pin in pins:
            (into / pin.file).write_bytes(pin.name.encode())

    monkeypatch.setattr(wheels, "download", download)
    return Path(tinybundle.write(tmp_path / "b", target=load_target("rpi4").to_dict()).path)


def test_a_lock_is_a_hashed_requirements_file_inside_the_bundle(locked: Path) -> None:
    made = lock.lock(locked)
    text = (locked / "requirements.txt").read_text()
    assert "--find-links wheels\n" in text
    assert "--no-index" not in text
    assert "numpy==2.4.6 \\\n    --hash=sha256:" + "a" * 64 in text
    opened = bundle.read(locked, every_file=True)
    (wheel,) = [entry for entry in opened.manifest.files if entry.role == "wheel"]
    assert f"edgekit=={made.pins[0].version} \\\n    --hash=sha256:{wheel.sha256}" in text
    assert lock.locked_wheel(opened) == (locked / wheel.name).read_bytes()
    assert [(pin.name, pin.version, pin.sha256) for pin in lock.pins_of(opened) or ()] == [
        (pin.name, pin.version, pin.sha256) for pin in PINS
    ]


def test_a_wheelhouse_needs_no_index_and_a_second_lock_forgets_it(locked: Path) -> None:
    lock.lock(locked, with_wheels=True)
    assert "--no-index\n" in (locked / "requirements.txt").read_text()
    assert {file.name for file in (locked / "wheels").iterdir()} > {pin.file for pin in PINS}
    assert not lock.lock(locked).with_wheels
    assert len(list((locked / "wheels").iterdir())) == 1


def test_a_changed_wheel_is_found_by_verify_and_left_to_pip_by_run(locked: Path) -> None:
    lock.lock(locked, with_wheels=True)
    (locked / "wheels" / PINS[0].file).write_bytes(b"other")
    bundle.read(locked)
    with pytest.raises(VerifyFailed, match=PINS[0].file):
        bundle.read(locked, every_file=True)


def test_an_unlocked_bundle_has_no_pins(locked: Path) -> None:
    opened = bundle.read(locked)
    assert lock.pins_of(opened) is None
    assert lock.locked_wheel(opened) is None


def test_a_requirements_file_of_another_kind_is_refused(locked: Path) -> None:
    made = bundle.add(locked, {"requirements.txt": ("requirements", b"numpy>=1\n")})
    with pytest.raises(BundleError, match="not a pinned, hashed package: 'numpy>=1'"):
        lock.pins_of(made)


def test_32_bit_arm_is_told_what_to_install_with_apt(tmp_path: Path, tinybundle: ModuleType, monkeypatch: Any) -> None:
    monkeypatch.setattr(wheels, "resolve", lambda target: PINS[:1])
    path = tinybundle.write(tmp_path / "b", target=load_target("armv7").to_dict()).path
    assert "python3-opencv" in lock.lock(path).debian_packages
    assert "# Before that: apt install python3-numpy" in (path / "requirements.txt").read_text()


def test_a_package_without_a_wheel_for_the_target_is_named(monkeypatch: Any) -> None:
    said = "ERROR: Could not find a version that satisfies numpy==9\nERROR: No matching distribution found for numpy==9"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", said))
    with pytest.raises(DeviceError, match="No matching distribution found for numpy==9") as caught:
        wheels.resolve(load_target("rpi4"))
    assert caught.value.exit_code == 3


def test_a_python_without_pip_says_so(monkeypatch: Any) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "/usr/bin/python3: No module named pip")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DeviceError, match="this Python has no pip"):
        wheels.resolve(load_target("rpi4"))


@pytest.mark.network
@pytest.mark.slow
def test_pip_finds_a_wheel_of_everything_for_every_arm_target() -> None:
    for name in ("rpi4", "armv7"):
        target = load_target(name)
        pins = wheels.resolve(target)
        suffix = "armv7l.whl" if name == "armv7" else "aarch64.whl"
        assert all(pin.file.endswith((suffix, "any.whl")) and len(pin.sha256) == 64 for pin in pins)
        assert {"typer", "prometheus-client"} < {pin.name for pin in pins}


def test_the_hosts_profile_locks_too() -> None:
    target = load_target("host")
    assert wheels.platform_of(replace(target)).tags[-1].endswith(target.cpu.isa)
    with pytest.raises(UsageError):
        from edgekit.emulate.machine import machine_of

        machine_of(target)


@pytest.mark.network
@pytest.mark.slow
def test_a_locked_bundle_installs_without_an_index_and_proves_itself(tmp_path: Path, tinybundle: ModuleType) -> None:
    """All of it for real, for this machine: lock with wheels, a fresh environment, hashes required, then verify."""
    target = load_target("host").to_dict()
    engines = [name for name in ("litert", "onnxruntime") if name in installed()]
    path = tinybundle.write(tmp_path / "b", *engines, target=target).path
    lock.lock(path, with_wheels=True)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "device")], check=True)
    bin_directory = tmp_path / "device" / "bin"
    environment = {"PATH": str(bin_directory), "HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}
    install = [str(bin_directory / "pip"), "install", "-q", "--require-hashes", "-r", str(path / "requirements.txt")]
    subprocess.run(install, check=True, env=environment, cwd=tmp_path)
    done = subprocess.run(
        [str(bin_directory / "edgekit"), "verify", str(path), "--json"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["passed"]
