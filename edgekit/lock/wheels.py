"""The Python packages of a target: resolved and fetched by pip for another machine than the one it runs on.

pip asks whatever index the machine is configured for. Its dry run tells every file it would install with its hash,
which is both what an emulated root is filled from and what ``edgekit lock`` writes down.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import edgekit
from edgekit.config import Target
from edgekit.engines import ENGINES
from edgekit.errors import DeviceError

# 32-bit ARM has no wheels of these; Debian packages them, as Raspberry Pi OS does.
DEBIAN_ON_ARMV7 = {
    "numpy": "python3-numpy",
    "opencv-python-headless": "python3-opencv",
    "pyyaml": "python3-yaml",
}


@dataclass(frozen=True, slots=True)
class Platform:
    """What decides which wheels pip takes: the Python version and its platform tags, best first."""

    python: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pin:
    """One wheel, exactly: distribution name, version, file name and the sha256 of the file."""

    name: str
    version: str
    file: str
    sha256: str


def platform_of(target: Target) -> Platform:
    """The target's: every glibc up to its own, newest first (PEP 600)."""
    suffix = {"armv7": "armv7l"}.get(target.cpu.isa, target.cpu.isa)
    newest = int(target.os.glibc.split(".")[1])
    tags = [f"manylinux_2_{minor}_{suffix}" for minor in range(newest, 16, -1)]
    return Platform(target.os.python, (*tags, f"manylinux2014_{suffix}", f"linux_{suffix}"))


def requirements(target: Target) -> tuple[str, ...]:
    """What a device installs with pip: edgekit's base requirements and the target's engines, pinned by the profile."""
    versions = target.engine.versions
    pinned = {"numpy": versions.numpy, "opencv-python-headless": versions.opencv}
    engines = {ENGINES[name].distribution: versions.of(name) for name in target.engines()}
    all_engines = {kind.distribution for kind in ENGINES.values()}
    wanted = []
    for name, text in _base_requirements().items():
        if name in all_engines or (target.cpu.isa == "armv7" and name in DEBIAN_ON_ARMV7):
            continue
        version = pinned.get(name)
        wanted.append(f"{name}=={version}" if version else text)
    wanted += [f"{name}=={version}" if version else name for name, version in engines.items()]
    return tuple(wanted)


def debian_packages(target: Target) -> tuple[str, ...]:
    """What a device installs with apt: nothing but on 32-bit ARM."""
    return tuple(DEBIAN_ON_ARMV7.values()) if target.cpu.isa == "armv7" else ()


def resolve(target: Target) -> tuple[Pin, ...]:
    """Every wheel that a target needs, dependencies included, sorted by name.

    Raises:
        DeviceError: pip cannot reach its index, or some package has no wheel for the target.
    """
    wanted, platform = requirements(target), platform_of(target)
    # On 32-bit ARM what Debian brings must not be asked of pip, so the engine comes without its dependency on NumPy.
    groups = [(wanted, False)]
    if target.cpu.isa == "armv7":
        engines = tuple(
            text for text in wanted if text.partition("==")[0] in {k.distribution for k in ENGINES.values()}
        )
        groups = [(tuple(text for text in wanted if text not in engines), False), (engines, True)]
    pins: dict[str, Pin] = {}
    for texts, alone in groups:
        with tempfile.TemporaryDirectory(prefix="edgekit-pip-") as scratch:
            report = Path(scratch) / "report.json"
            flags = ["--dry-run", "--ignore-installed", "--report", str(report), "--target", scratch]
            _pip("install", *flags, *_flags(platform), *(["--no-deps"] if alone else []), *texts)
            found = json.loads(report.read_text("utf-8"))["install"]
        for item in found:
            name, version = item["metadata"]["name"], item["metadata"]["version"]
            source = item["download_info"]
            file = PurePosixPath(unquote(urlsplit(source["url"]).path)).name
            pins[canonical(name)] = Pin(canonical(name), version, file, source["archive_info"]["hashes"]["sha256"])
    return tuple(pins[name] for name in sorted(pins))


def download(pins: tuple[Pin, ...], platform: Platform, into: Path, local: Path | None = None) -> None:
    """Fetches exactly these wheels into a directory; pip checks every hash.

    Args:
        local: a directory of wheels to take before asking the index.

    Raises:
        DeviceError: as for :func:`resolve`.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as listed:
        listed.write(pin_lines(pins))
        listed.flush()
        found = ["--find-links", str(local)] if local is not None and local.is_dir() else []
        _pip("download", "--no-deps", "--require-hashes", *_flags(platform), *found, "-d", str(into), "-r", listed.name)


def pin_lines(pins: tuple[Pin, ...]) -> str:
    """The pins as a requirements file that ``pip install --require-hashes -r`` takes."""
    return "".join(f"{pin.name}=={pin.version} \\\n    --hash=sha256:{pin.sha256}\n" for pin in pins)


def install(wheels: Path, into: Path) -> None:
    """Unpacks every wheel of a directory into a site directory; nothing of them is executed."""
    files = sorted(str(file) for file in wheels.glob("*.whl"))
    for file in files:
        with zipfile.ZipFile(file) as archive:
            archive.extractall(into)
    # A wheel's scripts and data files stay in its .data folder; on a device pip would copy them to bin/, and nothing
    # that edgekit imports is there.


def edgekit_wheel() -> tuple[str, bytes]:
    """This very edgekit as a wheel: file name and content, the same bytes for the same sources.

    Made from the source checkout or from the installed distribution that is running, without calling a build tool.
    """
    package = Path(edgekit.__file__).resolve().parent
    version = edgekit.__version__
    info = f"edgekit-{version}.dist-info"
    members: dict[str, bytes] = {}
    for file in sorted(package.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            members[f"edgekit/{file.relative_to(package).as_posix()}"] = file.read_bytes()
    checkout = package.parent
    if not (package / "_data").is_dir():
        for name in ("targets", "calibration"):  # as pyproject.toml's force-include does
            for file in sorted((checkout / name).rglob("*")):
                if file.is_file():
                    members[f"edgekit/_data/{name}/{file.relative_to(checkout / name).as_posix()}"] = file.read_bytes()
    requires = "".join(f"Requires-Dist: {text}\n" for text in _requires_lines())
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: edgekit\nVersion: {version}\n{requires}".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: edgekit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/entry_points.txt"] = b"[console_scripts]\nedgekit = edgekit.cli:main\n"
    record = "".join(f"{name},sha256={_urlsafe(data)},{len(data)}\n" for name, data in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return f"edgekit-{version}-py3-none-any.whl", out.getvalue()


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _requires_lines() -> list[str]:
    pyproject = Path(edgekit.__file__).resolve().parent.parent / "pyproject.toml"
    if pyproject.is_file():
        lines: list[str] = tomllib.loads(pyproject.read_text("utf-8"))["project"]["dependencies"]
        return lines
    return [text for text in metadata.requires("edgekit") or [] if "extra ==" not in text]


def _base_requirements() -> dict[str, str]:
    """edgekit's own requirements without markers: name → requirement."""
    found = {}
    for line in _requires_lines():
        text = line.partition(";")[0].strip()
        match = re.match(r"[A-Za-z0-9._-]+", text)
        if match:
            found[canonical(match[0])] = text
    return found


def _flags(platform: Platform) -> list[str]:
    flags = ["--only-binary=:all:", "--implementation", "cp", "--python-version", platform.python]
    return flags + [part for tag in platform.tags for part in ("--platform", tag)]


def _pip(command: str, *arguments: str) -> None:
    line = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--no-input", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    if done.returncode == 0:
        return
    if "No module named pip" in done.stderr:
        raise DeviceError("this Python has no pip", hint="python -m ensurepip")
    said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
    raise DeviceError(
        f"pip cannot fetch the target's packages: {said[-1] if said else f'exit code {done.returncode}'}",
        hint="fetching needs a network; a version that has no wheel for the target is changed in its profile",
    )
