"""NumPy, OpenCV and the engines, judged by their versions first and then tried, each in a child process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from edgekit.runtime.checkup.finding import Finding
from edgekit.runtime.checkup.probe import explain
from edgekit.runtime.checkup.runtimes import RUNTIMES, Runtime
from edgekit.runtime.checkup.world import World, version

_NUMPY = "import json, numpy; print(json.dumps({'version': numpy.__version__, 'sum': int(numpy.arange(8).sum())}))"
_OPENCV = """
import json, cv2
lines = cv2.getBuildInformation().splitlines()
has = lambda word: any(word in line and 'YES' in line for line in lines)
print(json.dumps({'version': cv2.__version__, 'gstreamer': has('GStreamer'), 'ffmpeg': has('FFMPEG'),
                  'v4l2': has('v4l'), 'window': has('GTK') or has('QT') or has('Qt')}))
"""
_OPENCV_NAMES = (
    "opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"
)  # fmt: skip


def check(world: World, bundle: Path | None = None) -> Iterator[Finding]:
    """numpy, opencv, then one finding per engine; with a bundle each engine runs its model once."""
    yield from _numpy(world)
    yield from _opencv(world)
    findings = [_engine(world, kind, bundle) for kind in RUNTIMES.values()]
    if any(finding.level == "ok" for finding in findings):
        # With one that works, another that is absent or broken is nothing to worry about.
        findings = [_softened(finding) for finding in findings]
    yield from findings


def _softened(finding: Finding) -> Finding:
    if finding.level != "problem":
        return finding
    if finding.facts.get("version"):
        return replace(finding, level="warning")
    return replace(finding, level="note", mend=None)


def _numpy(world: World) -> Iterator[Finding]:
    outcome = world.try_code(_NUMPY)
    if not outcome.ok:
        failure = explain(outcome, "importing numpy")
        yield Finding("numpy", "problem", failure.says, failure.mend or "pip install --force-reinstall numpy")
        return
    facts = json.loads(outcome.output.splitlines()[-1])
    yield Finding("numpy", "ok", f"NumPy {facts['version']}", facts={"version": facts["version"]})


def _opencv(world: World) -> Iterator[Finding]:
    installed = [name for name in _OPENCV_NAMES if world.installed(name)]
    outcome = world.try_code(_OPENCV)
    if not outcome.ok:
        if "No module named 'cv2'" in outcome.errors:
            mend = "pip install opencv-python-headless"
            yield Finding("opencv", "problem", "OpenCV is not installed", mend)
            return
        failure = explain(outcome, "importing cv2")
        mend = failure.mend or "pip install --force-reinstall opencv-python-headless"
        if "libGL" in failure.says:
            mend = "pip uninstall -y opencv-python && pip install opencv-python-headless, or sudo apt install libgl1"
        yield Finding("opencv", "problem", failure.says, mend, {"installed": installed})
        return
    facts = {**json.loads(outcome.output.splitlines()[-1]), "installed": installed}
    lacks = [word for word, key in (("GStreamer", "gstreamer"), ("FFmpeg", "ffmpeg")) if not facts[key]]
    without = f" (built without {' and '.join(lacks)})" if lacks else ""
    if len(installed) > 1:
        says = f"OpenCV {facts['version']}{without}, but {' and '.join(installed)} overwrite each other's files"
        mend = f"pip uninstall -y {' '.join(installed)} && pip install opencv-python-headless"
        yield Finding("opencv", "warning", says, mend, facts)
    elif "ffmpeg" in facts and not facts["ffmpeg"]:
        says = f"OpenCV {facts['version']}{without}: video files and RTSP streams cannot be read"
        yield Finding("opencv", "warning", says, "pip install opencv-python-headless", facts)
    else:
        yield Finding("opencv", "ok", f"OpenCV {facts['version']}{without}", facts=facts)


def _engine(world: World, kind: Runtime, bundle: Path | None) -> Finding:
    installed = world.installed(kind.distribution)
    cannot = _cannot_be(world, kind)
    facts = {"version": installed, "package": kind.distribution}
    if installed is None:
        if cannot:
            return Finding(kind.name, "note", f"not installed, and {cannot}", None, facts)
        return Finding(kind.name, "problem", "not installed", kind.install, facts)
    if kind.numpy_1_only:
        numpy = world.installed("numpy")
        if numpy and version(numpy) >= (2,):
            says = f"{kind.name} {installed} was compiled for NumPy 1, and this environment has {numpy}"
            return Finding(
                kind.name, "problem", says, "pip install 'edgekit[tflite]', in an environment of its own", facts
            )
    code = kind.importing
    what = f"importing {kind.name} {installed}"
    if bundle is not None and (bundle / kind.model).is_file():
        # Kernels are chosen at the first inference: what imports can still meet an illegal instruction there.
        code = f"from edgekit import engines; engines.open({str(bundle)!r}, engine={kind.name!r}, threads=1).invoke()"
        what = f"running {bundle / kind.model} in {kind.name} {installed}"
    outcome = world.try_code(code)
    if outcome.ok:
        says = f"{kind.name} {installed}" + (f" runs {kind.model}" if "running" in what else " can be imported")
        return Finding(kind.name, "ok", says, facts=facts)
    failure = explain(outcome, what)
    mend = failure.mend or _instead(kind, outcome.code)
    return Finding(kind.name, "problem", failure.says, mend, {**facts, "code": outcome.code})


def _cannot_be(world: World, kind: Runtime) -> str | None:
    """Why pip would find no wheel here, None if it should."""
    if world.machine.isa not in kind.wheels:
        return f"there is no wheel of it for {world.machine.isa}"
    if kind.last_python and world.python > kind.last_python:
        return f"its last release ends at Python {kind.last_python[0]}.{kind.last_python[1]}"
    need = kind.wheels[world.machine.isa]
    library, release = world.libc
    if library == "glibc" and version(release) < need:
        return f"its wheel needs glibc {need[0]}.{need[1]}"
    return None


def _instead(kind: Runtime, code: int | None) -> str:
    others = " or ".join(name for name in RUNTIMES if name != kind.name)
    if code is not None and code < 0:
        return f"pip install an older {kind.distribution}, or use {others}"
    return f"pip install --force-reinstall {kind.distribution}"
