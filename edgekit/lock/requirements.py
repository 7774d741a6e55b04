"""Puts ``requirements.txt`` and this edgekit's own wheel into a bundle. On the device, in the bundle's directory::

    pip install --require-hashes -r requirements.txt

``with_wheels`` adds every wheel (about 100 MB), and the same command then needs no network.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit import bundle as bundles
from edgekit.bundle.read import Bundle
from edgekit.config import Target
from edgekit.errors import BundleError
from edgekit.lock import wheels
from edgekit.lock.wheels import Pin

REQUIREMENTS = "requirements.txt"
WHEELS = "wheels"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Locked:
    """What was locked: every pinned package, edgekit included, and whether the bundle holds their wheels."""

    bundle: Bundle
    pins: tuple[Pin, ...]
    with_wheels: bool
    debian_packages: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        return {
            "bundle": str(self.bundle.path),
            "sha256": self.bundle.sha256,
            "requirements": REQUIREMENTS,
            "packages": {pin.name: pin.version for pin in self.pins},
            "debian_packages": list(self.debian_packages),
            "with_wheels": self.with_wheels,
        }


def lock(bundle_path: Path, *, with_wheels: bool = False, say: Say | None = None) -> Locked:
    """Resolves the device's packages for the bundle's target and writes them into the bundle, atomically.

    Raises:
        BundleError, VerifyFailed: no whole bundle.
        DeviceError: pip cannot reach its index, or a package has no wheel for the target.
        StorageError: the disk is full.
    """
    say = say or (lambda text: None)
    opened = bundles.read(bundle_path)
    target = Target.from_dict(opened.manifest.target, str(opened.path / "manifest.json"))
    platform = wheels.platform_of(target)
    say(f"asking pip which wheels {target.name} takes")
    pins = wheels.resolve(target)
    file, content = wheels.edgekit_wheel()
    own = Pin("edgekit", file.split("-")[1], file, hashlib.sha256(content).hexdigest())
    files = {f"{WHEELS}/{file}": ("wheel", content)}
    if with_wheels:
        with tempfile.TemporaryDirectory(prefix="edgekit-wheels-") as scratch:
            say(f"fetching {len(pins)} wheels")
            wheels.download(pins, platform, Path(scratch))
            for wheel in sorted(Path(scratch).glob("*.whl")):
                files[f"{WHEELS}/{wheel.name}"] = ("wheel", wheel.read_bytes())
    pins = (own, *pins)
    text = _requirements(target, pins, with_wheels)
    locked = bundles.add(
        opened.path,
        {REQUIREMENTS: ("requirements", text.encode()), **files},
        without_roles=("wheel",),
        notes={"lock": {pin.name: pin.version for pin in pins}},
    )
    return Locked(locked, pins, with_wheels, wheels.debian_packages(target))


def pins_of(bundle: Bundle) -> tuple[Pin, ...] | None:
    """The packages that a bundle is locked to, without edgekit itself; None if it is not locked.

    Raises:
        BundleError: its requirements file is not one that :func:`lock` writes.
    """
    if not bundle.has(REQUIREMENTS):
        return None
    text = bundle.file(REQUIREMENTS).read_text("utf-8").replace("\\\n", " ")
    pins = []
    for line in text.splitlines():
        if not line.strip() or line.startswith(("#", "--")):
            continue
        match = re.fullmatch(r"(\S+)==(\S+)\s+--hash=sha256:([0-9a-f]{64})\s*", line)
        if match is None:
            raise BundleError(f"{bundle.path / REQUIREMENTS}: not a pinned, hashed package: {line.strip()!r}")
        pins.append(Pin(match[1], match[2], "", match[3]))
    return tuple(pin for pin in pins if pin.name != "edgekit")


def locked_wheel(bundle: Bundle) -> bytes | None:
    """The content of the edgekit wheel that a bundle is locked to; None if it is not locked."""
    for entry in bundle.manifest.files:
        if entry.name.startswith(f"{WHEELS}/edgekit-"):
            return bundle.file(entry.name).read_bytes()
    return None


def _requirements(target: Target, pins: tuple[Pin, ...], with_wheels: bool) -> str:
    lines = [
        f"# What edgekit needs on {target.name}: {target.cpu.isa}, Python {target.os.python}, glibc {target.os.glibc}.",
        "# In this directory, in a virtual environment: pip install --require-hashes -r requirements.txt",
    ]
    if apt := wheels.debian_packages(target):
        lines += [
            f"# Before that: apt install {' '.join(apt)}",
            "# and make the environment with: python3 -m venv --system-site-packages",
        ]
    lines.append(f"--find-links {WHEELS}")
    if with_wheels:
        lines.append("--no-index")
    return "\n".join(lines) + "\n" + wheels.pin_lines(pins)
