"""Trying something in a child process, so that what would kill the process becomes a sentence."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

TIMEOUT_S = 60.0  # a Zero 2 W with a slow card needs some 10 s to import a runtime for the first time

# A crash is expected here: no core file, which on a small card could be the last of the space.
_PRELUDE = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended: ``code`` as subprocess gives it (negative: a signal), None where it was killed for taking too
    long; ``output`` and ``errors`` its streams."""

    code: int | None
    output: str = ""
    errors: str = ""

    @property
    def ok(self) -> bool:
        return self.code == 0


Probe = Callable[[str], Outcome]


def run(code: str, *, timeout_s: float = TIMEOUT_S) -> Outcome:
    """Runs Python code in a fresh interpreter of this environment."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "ORT_DISABLE_TELEMETRY": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, our own code
            [sys.executable, "-c", _PRELUDE + code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(None)
    except OSError as error:
        return Outcome(1, "", str(error))
    return Outcome(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a child failed, in words, and what mends it if the reason is known."""

    says: str
    mend: str | None = None


def explain(outcome: Outcome, what: str) -> Failure:
    """Turns a failed outcome into a sentence about ``what`` (``importing onnxruntime``)."""
    if outcome.code is None:
        return Failure(f"{what} did not end within {TIMEOUT_S:.0f} s")
    if outcome.code < 0:
        return _signal(-outcome.code, what)
    lines = [line.strip() for line in outcome.errors.splitlines() if line.strip()]
    reason = lines[-1] if lines else f"exit code {outcome.code}"
    if "_ARRAY_API not found" in outcome.errors or "compiled using NumPy 1" in outcome.errors:
        return Failure(f"{what} fails: it was compiled for NumPy 1", "pip install 'numpy<2'")
    if match := re.search(r"version [`'\"](GLIBC(?:XX)?_[\d.]+)'? not found", outcome.errors):
        return Failure(
            f"{what} fails: this system's C library is older than {match[1]}", "use a newer release of the OS"
        )
    if match := re.search(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file", outcome.errors):
        package = _PACKAGES.get(match[1])
        mend = f"sudo apt install {package}" if package else f"install the system package that holds {match[1]}"
        return Failure(f"{what} fails: the system library {match[1]} is missing", mend)
    if "wrong ELF class" in outcome.errors or "invalid ELF header" in outcome.errors:
        return Failure(
            f"{what} fails: the installed wheel is for another processor", "pip install --force-reinstall it"
        )
    if "cannot enable executable stack" in outcome.errors or "failed to map segment" in outcome.errors:
        return Failure(f"{what} fails: {reason}", "the file system or the kernel forbids running code from it")
    return Failure(f"{what} fails: {reason}")


# Debian's package for each library that the wheels here leave to the system.
_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libatlas.so.3": "libatlas3-base",
    "libcblas.so.3": "libatlas3-base",
    "libopenblas.so.0": "libopenblas0",
    "libstdc++.so.6": "libstdc++6",
}


def _signal(number: int, what: str) -> Failure:
    name = str(number)
    with contextlib.suppress(ValueError):
        name = signal.Signals(number).name
    if number == signal.SIGILL:
        return Failure(f"{what} is killed by an illegal instruction: the wheel uses some that this processor lacks")
    if number == signal.SIGBUS:
        return Failure(f"{what} is killed by {name}: an address this processor cannot use, or a full or failing disk")
    if number == signal.SIGKILL:
        return Failure(f"{what} is killed by the system, most likely for want of memory", "free -h")
    return Failure(f"{what} is killed by {name}")
