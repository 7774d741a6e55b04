"""A long run at full speed, watching its memory.

    python tests/bench/soak.py BUNDLE SOURCE MINUTES [FOLDER]

Runs ``edgekit run`` on SOURCE (a file is played over and over) with metrics, live view and telemetry on, reads the
process's resident memory every ten seconds, and prints how it went from the end of the first minute to the last.
"""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path


def resident_kb(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def main() -> None:
    bundle, source, minutes = sys.argv[1], sys.argv[2], float(sys.argv[3])
    folder = Path([*sys.argv, "/tmp"][4])
    command = [
        sys.executable, "-m", "edgekit", "run", "--camera", source, "--bundle", bundle, "--threads", "1", "--json",
        "--on-end", "loop", "--metrics-port", "0", "--view-port", "0", "--telemetry", str(folder / "soak.jsonl"),
    ]  # fmt: skip
    with (folder / "soak.out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        samples: list[int] = []
        try:
            end = time.monotonic() + minutes * 60
            while time.monotonic() < end and process.poll() is None:
                time.sleep(10)
                samples.append(resident_kb(process.pid))
                descriptors = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
                print(f"{10 * len(samples):5d} s  {samples[-1] / 1024:.1f} MB  {descriptors} descriptors", flush=True)
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(20)
    with (folder / "soak.out").open("rb") as out:
        out.seek(-20_000, 2)
        summary = json.loads(out.read().splitlines()[-1])["summary"]
    first, last = statistics.median(samples[6:9]), statistics.median(samples[-3:])
    print(f"{summary['frames']} frames, {summary['fps']} fps, exit {status}; RSS {(last - first) / 1024:+.2f} MB")


if __name__ == "__main__":
    main()
