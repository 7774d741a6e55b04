"""From typing ``edgekit run`` to its first answer, and what that takes in memory.

    python tests/bench/cold_start.py BUNDLE [RUNS]

Prints wall and CPU seconds to the first line of output and the process's peak resident memory. On a machine that does
other things too, the CPU seconds are the figure to trust.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np


def measure(bundle: str, clip: str) -> tuple[float, float, float]:
    """(wall s to the first line, CPU s of the whole process, peak MB)."""
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-m",
        "edgekit",
        "run",
        "--camera",
        clip,
        "--bundle",
        bundle,
        "--max-frames",
        "1",
        "--json",
    ]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root)
    assert process.stdout is not None
    line = process.stdout.readline()
    wall = time.perf_counter() - began
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0 and line.startswith(b'{"frame"'), (status, line)
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    bundle, runs = str(Path(sys.argv[1]).resolve()), int([*sys.argv, "5"][2])
    with tempfile.TemporaryDirectory() as folder:
        clip = str(Path(folder) / "clip.avi")
        writer = cv2.VideoWriter(clip, cv2.VideoWriter.fourcc(*"MJPG"), 30, (640, 480))
        for number in range(30):
            writer.write(np.full((480, 640, 3), number * 8, np.uint8))
        writer.release()
        found = [measure(bundle, clip) for _ in range(runs)]
    for name, unit, values in zip(
        ("wall", "CPU", "peak memory"), ("s", "s", "MB"), zip(*found, strict=True), strict=True
    ):
        print(f"{name}: best {min(values):.2f}, median {statistics.median(values):.2f} {unit}")


if __name__ == "__main__":
    main()
