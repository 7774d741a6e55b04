"""A target's own instruction set on the desk: its real wheels under qemu-user, with the core's own kernels.

    report = verify_emulated(Path("build/rpi4"))           # the same report as verify on a device
    counts = count(Path("build/rpi4"))                     # instructions and memory accesses per inference
    done = run_command(Path("build/rpi4"), ["run", "--camera", "/mnt/clip.mp4", …], mounts={clips: "/mnt"})

Needs Linux, apt (Debian's ARM packages), qemu-user, pip and, the first time, a network. No root rights where user
namespaces are allowed. Nothing here is imported on a device but ``inside``, which is what runs there.
"""

from __future__ import annotations

from edgekit.emulate.board import Board, board_of, run_command, target_of
from edgekit.emulate.count import Count, CountReport, count
from edgekit.emulate.counter import check as check_counting
from edgekit.emulate.emulated import FILE, Emulated
from edgekit.emulate.machine import Machine, machine_of
from edgekit.emulate.proof import family_of, verify_emulated
from edgekit.emulate.run import check

__all__ = [
    "FILE",
    "Board",
    "Count",
    "CountReport",
    "Emulated",
    "Machine",
    "board_of",
    "check",
    "check_counting",
    "count",
    "family_of",
    "machine_of",
    "run_command",
    "target_of",
    "verify_emulated",
]
