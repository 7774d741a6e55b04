"""The machine that a target profile describes, as qemu-user and apt know it."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.config import Target
from edgekit.errors import UsageError


@dataclass(frozen=True, slots=True)
class Machine:
    """An ARM Linux computer to emulate.

    ``cpuinfo`` is the content of its ``/proc/cpuinfo``: qemu-user passes the host's through, from which the engines
    would learn nothing of the core and pick generic kernels.
    """

    isa: str  # "aarch64" | "armv7"
    cpu: str  # what qemu's -cpu calls it
    cores: int
    python: str  # "3.11"
    cpuinfo: str

    @property
    def debian(self) -> str:
        return {"aarch64": "arm64", "armv7": "armhf"}[self.isa]

    @property
    def qemu(self) -> str:
        return {"aarch64": "qemu-aarch64", "armv7": "qemu-arm"}[self.isa]

    def macs_per_instruction(self, precision: str) -> int | None:
        """The most multiply-accumulates that one instruction of this core does; None for a core not known here.

        Arm Architecture Reference Manual (DDI 0487), vector forms: SDOT adds 16 products of int8, SMLAL and VMLAL 8;
        FMLA adds 4 of fp32, and 8 of fp16 where the core computes in it.
        """
        core = _CORES.get(self.cpu)
        if core is None:
            return None
        features = core.features.split()
        if precision == "int8":
            return 16 if "asimddp" in features else 8
        return 8 if precision == "fp16" and "asimdhp" in features else 4


@dataclass(frozen=True, slots=True)
class _Core:
    """Main ID register fields (each core's Technical Reference Manual, MIDR_EL1) and the kernel's feature names."""

    part: int
    variant: int
    revision: int
    features: str


# Feature lists as Linux prints them on the Raspberry Pi of that core; none of the Pi 2-4 has the crypto extension.
_V8 = "fp asimd evtstrm crc32 cpuid"
_V8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"  # Pi 5
_V7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm"
_CORES = {
    "cortex-a7": _Core(0xC07, 0, 5, _V7),
    "cortex-a15": _Core(0xC0F, 2, 1, _V7),
    "cortex-a35": _Core(0xD04, 0, 0, _V8),
    "cortex-a53": _Core(0xD03, 0, 4, _V8),
    "cortex-a57": _Core(0xD07, 1, 1, _V8),
    "cortex-a72": _Core(0xD08, 0, 3, _V8),
    "cortex-a76": _Core(0xD0B, 4, 1, _V8_2),
    "neoverse-n1": _Core(0xD0C, 4, 1, _V8_2),
}


def machine_of(target: Target, cpu: str | None = None) -> Machine:
    """The machine to emulate for a target.

    Args:
        cpu: another qemu CPU model than the profile's, such as ``max``.

    Raises:
        UsageError: the target is no ARM board, or its profile names no CPU model.
    """
    cpu = cpu or target.cpu.qemu_cpu
    if target.cpu.isa not in ("aarch64", "armv7") or cpu is None:
        raise UsageError(
            f"target {target.name}: cannot be emulated: {target.cpu.isa}, qemu_cpu {cpu or 'not given'}",
            hint="build for an ARM target such as rpi4, or verify without --emulate",
        )
    return Machine(
        isa=target.cpu.isa,
        cpu=cpu,
        cores=target.cpu.cores,
        python=target.os.python,
        cpuinfo=cpuinfo(target.cpu.isa, cpu, target.cpu.cores),
    )


def cpuinfo(isa: str, cpu: str, cores: int) -> str:
    """``/proc/cpuinfo`` of the board. A core that is not listed here shows its features and no identity."""
    core = _CORES.get(cpu)
    features = core.features if core else (_V8_2 if isa == "aarch64" else _V7)
    lines = []
    for number in range(cores):
        lines += [f"processor\t: {number}", "BogoMIPS\t: 108.00", f"Features\t: {features}"]
        if core is not None:
            architecture = 8 if isa == "aarch64" or core.features != _V7 else 7
            lines += [
                "CPU implementer\t: 0x41",
                f"CPU architecture: {architecture}",
                f"CPU variant\t: {core.variant:#x}",
                f"CPU part\t: {core.part:#05x}",
                f"CPU revision\t: {core.revision}",
            ]
        lines.append("")
    return "\n".join(lines)
