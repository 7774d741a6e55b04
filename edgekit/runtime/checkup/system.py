"""Processor, operating system, Python, heat, memory and disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgekit.runtime.checkup.finding import Finding
from edgekit.runtime.checkup.world import World, version
from edgekit.runtime.health import HealthReader

_SUPPORTED_PYTHON = ((3, 11), (3, 13))  # pyproject.toml, requires-python
# Raspberry Pi documentation, config.txt, "Monitoring core temperature": the clock falls from 80 °C on, and more at 85.
_HOT_C, _WARM_C = 80.0, 70.0
# Bits 16 and up of the firmware's get_throttled word: what has happened since the start.
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_SINCE_BOOT = {
    0x10000: "under-voltage",
    0x20000: "a capped frequency",
    0x40000: "throttling",
    0x80000: "the soft limit",
}
_LOOP_BYTES = 120 * 1024**2  # what `edgekit run` may take at its peak
_BUNDLE_BYTES = 50 * 1024**2  # two models, goldens and a report, twice: a bundle is written beside the old one


def check(world: World) -> Iterator[Finding]:
    """architecture, instructions, libc, python, temperature, power, clock, memory, disk."""
    yield from _architecture(world)
    yield from _instructions(world)
    yield from _libc(world)
    yield from _python(world)
    yield from _heat(world)
    yield from _clock(world)
    yield from _memory(world)
    yield from _disk(world)


def _architecture(world: World) -> Iterator[Finding]:
    machine = world.machine
    facts = {"isa": machine.isa, "model": machine.cpu_model, "cores": machine.cores, "board": machine.board}
    where = f"{machine.cores} x {machine.cpu_model}, {machine.isa}" + (f", {machine.board}" if machine.board else "")
    if machine.isa in ("aarch64", "x86_64"):
        yield Finding("architecture", "ok", where, facts=facts)
    elif machine.isa == "armv7":
        kernel_64 = machine.uname_machine in ("aarch64", "armv8l")
        why = "a 32-bit system on a 64-bit processor" if kernel_64 else "a 32-bit system"
        yield Finding(
            "architecture",
            "warning",
            f"{where}: {why}, for which only tflite-runtime exists",
            "install 64-bit Raspberry Pi OS if the board allows it (Pi 3 and newer, Zero 2 W)",
            facts,
        )
    elif machine.isa == "armv6":
        yield Finding(
            "architecture",
            "problem",
            f"{where}: no engine exists for Armv6 (Pi 1, Zero, Zero W)",
            "use a Zero 2 W or newer",
            facts,
        )
    else:
        yield Finding("architecture", "problem", f"{where}: no engine exists for it", "use 64-bit Arm or x86", facts)


def _instructions(world: World) -> Iterator[Finding]:
    machine = world.machine
    facts = {"dot_product": machine.dot_product, "fp16": machine.fp16}
    if not machine.features:
        yield Finding(
            "instructions",
            "warning",
            "the kernel lists no processor features (is /proc mounted?): engines may pick slow kernels",
            "mount -t proc proc /proc, in a chroot or container",
            facts,
        )
    elif machine.isa in ("armv7", "armv6") and "neon" not in machine.features:
        yield Finding(
            "instructions", "problem", "no NEON: the engines crash on this processor", "use a newer board", facts
        )
    elif machine.isa == "x86_64" and "avx2" not in machine.features:
        yield Finding("instructions", "warning", "no AVX2: inference takes several times as long", None, facts)
    elif machine.isa == "x86_64" and not machine.dot_product:
        yield Finding(
            "instructions",
            "warning",
            "no VNNI: ONNX Runtime's 8-bit kernels saturate here, and a model that was made for Arm can lose accuracy",
            "edgekit run --engine litert, or edgekit build --target host",
            facts,
        )
    elif machine.dot_product:
        half = " and half-precision arithmetic" if machine.fp16 else ""
        yield Finding("instructions", "ok", f"8-bit dot products{half}", facts=facts)
    else:
        yield Finding(
            "instructions",
            "note",
            "no 8-bit dot products: int8 saves memory traffic here more than arithmetic",
            facts=facts,
        )


def _libc(world: World) -> Iterator[Finding]:
    library, release = world.libc
    facts = {"name": library or "unknown", "version": release}
    if library != "glibc":
        yield Finding(
            "libc",
            "problem",
            f"{library or 'an unknown C library'} instead of glibc: the engines publish no wheels for it",
            "use Debian, Ubuntu or Raspberry Pi OS instead of Alpine",
            facts,
        )
    elif version(release) < (2, 27):
        yield Finding(
            "libc", "problem", f"glibc {release}: the engines need 2.27 or newer", "upgrade the OS (bookworm)", facts
        )
    elif version(release) < (2, 28):
        yield Finding("libc", "warning", f"glibc {release}: too old for onnxruntime (2.28)", "upgrade the OS", facts)
    else:
        yield Finding("libc", "ok", f"glibc {release}", facts=facts)


def _python(world: World) -> Iterator[Finding]:
    name = ".".join(map(str, world.python))
    low, high = _SUPPORTED_PYTHON
    if low <= world.python <= high:
        yield Finding("python", "ok", f"Python {name}", facts={"version": name})
        return
    span = f"{low[0]}.{low[1]} to {high[0]}.{high[1]}"
    mend = f"make an environment with one of {span}"
    yield Finding("python", "problem", f"Python {name}: edgekit needs {span}", mend, {"version": name})


def _heat(world: World) -> Iterator[Finding]:
    own = world.root == Path("/")
    reader = HealthReader(
        sys_root=world.root / "sys", proc_root=world.root / "proc", vcgencmd=None if own else lambda: ""
    )
    health = reader.read()
    if health.temperature_c is not None:
        celsius = health.temperature_c
        facts = {"celsius": celsius}
        if celsius >= _HOT_C:
            says = f"{celsius:.0f} °C: the processor slows itself down from {_HOT_C:.0f} °C on"
            yield Finding("temperature", "warning", says, "add a heat sink or a fan, or free the airflow", facts)
        elif celsius >= _WARM_C:
            yield Finding(
                "temperature", "note", f"{celsius:.0f} °C, {_HOT_C - celsius:.0f} below throttling", None, facts
            )
        else:
            yield Finding("temperature", "ok", f"{celsius:.0f} °C", facts=facts)
    bits = health.throttle_bits
    if bits is not None:
        yield _power(bits, health.throttle_reasons)


def _power(bits: int, now: tuple[str, ...]) -> Finding:
    before = [text for bit, text in _SINCE_BOOT.items() if bits & bit]
    facts = {"throttled": f"{bits:#x}"}
    supply = "use the board's own power supply and a short cable"
    if now:
        says = f"slowed down right now: {', '.join(now)}"
        return Finding("power", "warning", says, supply if bits & 0x1 else "cool the board", facts)
    if before:
        says = f"since the last start there was {', '.join(before)}"
        return Finding("power", "note", says, supply if bits & 0x10000 else "cool the board", facts)
    return Finding("power", "ok", "no under-voltage and no throttling since the last start", facts=facts)


def _clock(world: World) -> Iterator[Finding]:
    governor = world.machine.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor == "powersave" and "intel" not in world.machine.cpuinfo.get("vendor_id", "").lower():
        yield Finding(
            "clock",
            "warning",
            "the processor is held at its lowest clock (governor powersave)",
            "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
            {"governor": governor},
        )


def _memory(world: World) -> Iterator[Finding]:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", world.machine.text("proc/meminfo"), re.MULTILINE)
    if not match:
        return
    available = int(match[1]) * 1024
    facts = {"total_mb": world.machine.ram_mb, "available_mb": available // 1024**2}
    says = f"{available // 1024**2} MB of {world.machine.ram_mb} MB available"
    if available < _LOOP_BYTES:
        mend = "stop what else runs: ps aux --sort=-rss | head"
        yield Finding("memory", "warning", f"{says}; `edgekit run` may take {_LOOP_BYTES // 1024**2} MB", mend, facts)
    else:
        yield Finding("memory", "ok", says, facts=facts)


def _disk(world: World) -> Iterator[Finding]:
    free = world.free_bytes(world.folder)
    if free is None:
        return
    facts = {"folder": str(world.folder), "free_mb": free // 1024**2}
    if free < _BUNDLE_BYTES:
        says = f"{free // 1024**2} MB free in {world.folder}: a bundle needs up to {_BUNDLE_BYTES // 1024**2} MB"
        yield Finding("disk", "warning", says, "sudo apt clean; sudo journalctl --vacuum-size=50M", facts)
    else:
        yield Finding("disk", "ok", f"{free / 1024**3:.1f} GB free in {world.folder}", facts=facts)
