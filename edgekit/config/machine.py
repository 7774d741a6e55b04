"""Facts about the machine at hand, for profiles that say ``detect`` and for the doctor.

Everything is read from ``/proc``, ``/sys`` and ``/etc`` below an injectable root, so that tests point at a tree of
their own.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

# Linux's names in /proc/cpuinfo. Arm: arch/arm64/include/uapi/asm/hwcap.h (asimddp: SDOT/UDOT, asimdhp: half-precision
# arithmetic). x86: arch/x86/include/asm/cpufeatures.h.
_DOT_PRODUCT = {"asimddp", "avx512_vnni", "avx_vnni"}
_FP16 = {"asimdhp", "avx512_fp16"}

# CPU implementer 0x41 (Arm) part numbers, from each core's Technical Reference Manual, register MIDR_EL1.
_ARM_PARTS = {
    "0xb76": "arm1176",
    "0xc07": "cortex-a7",
    "0xd03": "cortex-a53",
    "0xd05": "cortex-a55",
    "0xd07": "cortex-a57",
    "0xd08": "cortex-a72",
    "0xd09": "cortex-a73",
    "0xd0a": "cortex-a75",
    "0xd0b": "cortex-a76",
    "0xd0c": "neoverse-n1",
    "0xd40": "neoverse-v1",
    "0xd49": "neoverse-n2",
}

_ISAS = {
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "armv7l": "armv7",
    "armv8l": "armv7",  # what a 32-bit process sees on a 64-bit kernel
    "armv6l": "armv6",
    "x86_64": "x86_64",
    "amd64": "x86_64",
}


def isa_of(machine: str) -> str:
    """The profile's name for ``platform.machine()``'s answer; unknown ones are passed through in lower case."""
    return _ISAS.get(machine.lower(), machine.lower())


@dataclass(frozen=True)
class Machine:
    """One machine, read lazily from ``root``.

    ``uname_machine`` and ``pointer_bits`` describe the running interpreter; tests pass those of the tree's board.
    """

    root: Path = Path("/")
    uname_machine: str = platform.machine()
    pointer_bits: int = 64 if sys.maxsize > 2**32 else 32

    def text(self, path: str) -> str:
        """A small file below the root, stripped; empty where it is missing or unreadable."""
        try:
            return (self.root / path).read_text("utf-8", "replace").strip("\0 \n\t")
        except OSError:
            return ""

    @cached_property
    def cpuinfo(self) -> dict[str, str]:
        """Fields of ``/proc/cpuinfo`` by lower-case name; the first processor's, then those after the list."""
        fields: dict[str, str] = {}
        for line in self.text("proc/cpuinfo").splitlines():
            name, separator, value = line.partition(":")
            if separator:
                fields.setdefault(name.strip().lower(), value.strip())
        return fields

    @cached_property
    def isa(self) -> str:
        """aarch64, armv7, x86_64 or the kernel's word; a 32-bit Python on a 64-bit Arm kernel runs armv7 code."""
        isa = isa_of(self.uname_machine)
        return "armv7" if isa == "aarch64" and self.pointer_bits == 32 else isa

    @cached_property
    def features(self) -> frozenset[str]:
        """CPU features as the kernel spells them."""
        return frozenset((self.cpuinfo.get("features") or self.cpuinfo.get("flags") or "").split())

    @cached_property
    def cpu_model(self) -> str:
        part = self.cpuinfo.get("cpu part", "").lower()
        if self.cpuinfo.get("cpu implementer", "").lower() == "0x41" and part in _ARM_PARTS:
            return _ARM_PARTS[part]
        return self.cpuinfo.get("model name") or platform.processor() or self.uname_machine or "unknown"

    @cached_property
    def board(self) -> str | None:
        """The board's own name from the device tree, e.g. ``Raspberry Pi 4 Model B Rev 1.4``."""
        return self.text("proc/device-tree/model") or self.cpuinfo.get("model") if self.isa != "x86_64" else None

    @cached_property
    def cores(self) -> int:
        """Processors that the kernel lists; the process's own affinity where the tree is the running machine's."""
        if self.root == Path("/") and hasattr(os, "sched_getaffinity"):
            return max(1, len(os.sched_getaffinity(0)))
        listed = re.findall(r"^processor\s*:", self.text("proc/cpuinfo"), re.MULTILINE)
        return max(1, len(listed))

    @cached_property
    def clock_mhz(self) -> int:
        """Highest clock of the first core; 1000 where nothing tells."""
        khz = self.text("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
        if khz.isdigit():
            return max(100, int(khz) // 1000)
        try:
            return max(100, round(float(self.cpuinfo["cpu mhz"])))
        except (KeyError, ValueError):
            return 1000

    @cached_property
    def dot_product(self) -> bool:
        return bool(self.features & _DOT_PRODUCT)

    @cached_property
    def fp16(self) -> bool:
        return bool(self.features & _FP16)

    @cached_property
    def ram_mb(self) -> int:
        """Total memory, MB; 64 where nothing tells."""
        match = re.search(r"^MemTotal:\s+(\d+) kB", self.text("proc/meminfo"), re.MULTILINE)
        return max(64, int(match[1]) // 1024) if match else 64

    @cached_property
    def os_name(self) -> str:
        match = re.search(r'^PRETTY_NAME="?([^"\n]+)', self.text("etc/os-release"), re.MULTILINE)
        return match[1] if match else platform.system()

    @cached_property
    def python(self) -> str:
        return f"{sys.version_info.major}.{sys.version_info.minor}"

    @cached_property
    def glibc(self) -> str:
        """glibc of the running interpreter, ``2.0`` where it runs on another C library."""
        library, version = platform.libc_ver()
        return ".".join(version.split(".")[:2]) if library == "glibc" and version else "2.0"

    @cached_property
    def threads(self) -> int:
        """All cores up to four: the networks here are too small to feed more."""
        return min(4, self.cores)

    def fact(self, name: str) -> Any:
        """The fact that a profile's ``detect`` stands for; ``name`` is the field's ``Rule.detect``."""
        return getattr(self, name)
