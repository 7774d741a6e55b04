"""A healthy Raspberry Pi 4 for the doctor's tests, and the stand-ins that make it ill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgekit.config.machine import Machine
from edgekit.runtime.checkup.probe import Outcome
from edgekit.runtime.doctor import Finding, Findings, World

TREE = Path(__file__).parent / "machines" / "rpi4"

NUMPY = Outcome(0, '{"version": "2.4.6", "sum": 28}\n')
OPENCV = Outcome(0, '{"version": "5.0.0", "gstreamer": false, "ffmpeg": true, "v4l2": true, "window": false}\n')
MISSING = Outcome(1, "", "Traceback …\nModuleNotFoundError: No module named 'picamera2'\n")


def children(**answers: Outcome) -> Callable[[str], Outcome]:
    """A stand-in for child processes: the first answer whose name occurs in the code."""
    known = {"numpy": NUMPY, "cv2": OPENCV, "picamera2": MISSING, **answers}

    def run(code: str) -> Outcome:
        return next((outcome for word, outcome in known.items() if word in code), Outcome(0))

    return run


def packages(**versions: str) -> Callable[[str], str | None]:
    known = {"numpy": "2.4.6", "opencv-python-headless": "5.0.0.93", "ai-edge-litert": "2.3.0"}
    known |= {name.replace("_", "-"): version for name, version in versions.items()}
    return lambda name: known.get(name) or None


def healthy(tree: Path) -> World:
    """A healthy Raspberry Pi 4 with LiteRT and a webcam."""
    return World(
        root=tree,
        machine=Machine(tree, "aarch64", 64),
        python=(3, 11),
        libc=("glibc", "2.36"),
        installed=packages(),
        try_code=children(),
        groups=frozenset({"pi", "video"}),
        user="pi",
        may_use=lambda path: True,
        free_bytes=lambda path: 20 * 1024**3,
        folder=Path("/home/pi"),
        in_virtualenv=True,
    )


def one(findings: Findings, check: str) -> Finding:
    (found,) = [finding for finding in findings.findings if finding.check == check]
    return found
