"""How the device is doing: temperature, throttling, memory, processor. Reads files only; each may be missing."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from edgekit.runtime.results import Health

_log = logging.getLogger(__name__)

# The firmware's get_throttled word; bits 16–19 say "has happened since boot" and are not "now".
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_NOW = {
    0x1: "under-voltage",
    0x2: "frequency capped",
    0x4: "throttled",
    0x8: "soft temperature limit",
}
_FIRMWARE = "devices/platform/soc/soc:firmware/get_throttled"


class HealthReader:
    """Reads the device's state.

    Args:
        sys_root, proc_root: where ``/sys`` and ``/proc`` are, so that tests can point at a tree of their own.
        vcgencmd: runs ``vcgencmd get_throttled`` and gives its output, where ``/sys`` lacks the word; None looks for
            the program.
    """

    def __init__(
        self,
        *,
        sys_root: Path = Path("/sys"),
        proc_root: Path = Path("/proc"),
        vcgencmd: Callable[[], str] | None = None,
    ) -> None:
        self._sys = sys_root
        self._proc = proc_root
        self._vcgencmd = vcgencmd or _find_vcgencmd()
        self._cpu_before: tuple[int, int] | None = None

    def read(self) -> Health:
        """The state now; ``cpu_percent`` is since the last call and None at the first."""
        bits = self._throttle_bits()
        reasons = tuple(text for bit, text in _NOW.items() if bits is not None and bits & bit)
        used, total = self._memory()
        return Health(
            temperature_c=self._temperature(),
            throttled=bool(reasons),
            throttle_bits=bits,
            throttle_reasons=reasons,
            cpu_percent=self._cpu_percent(),
            cpu_frequency_mhz=self._frequency(),
            memory_used_bytes=used,
            memory_total_bytes=total,
            rss_bytes=self._rss(),
        )

    def _temperature(self) -> float | None:
        """Degrees Celsius of the processor: the zone that says so by its type, else the hottest."""
        hottest: float | None = None
        for zone in sorted((self._sys / "class" / "thermal").glob("thermal_zone*")):
            value = _number(zone / "temp")
            if value is None or not -40_000 < value < 150_000:  # a sensor that is off reads as nonsense
                continue
            kind = _text(zone / "type")
            if "cpu" in kind or "x86_pkg" in kind or "soc" in kind:
                return value / 1000.0
            hottest = max(value / 1000.0, hottest if hottest is not None else -1000.0)
        return hottest

    def _throttle_bits(self) -> int | None:
        text = _text(self._sys / _FIRMWARE)
        if not text and self._vcgencmd is not None:
            try:
                text = self._vcgencmd().strip().rpartition("=")[2]
            except (OSError, subprocess.SubprocessError) as error:
                _log.debug("vcgencmd failed and is not asked again: %s", error)
                self._vcgencmd = None
        try:
            return int(text, 16) if text else None  # both say it in hexadecimal, with or without 0x
        except ValueError:
            return None

    def _cpu_percent(self) -> float | None:
        """Share of all cores' time not spent idle or waiting for disks, from /proc/stat's first line."""
        fields = _text(self._proc / "stat").partition("\n")[0].split()
        if len(fields) < 6 or fields[0] != "cpu":
            return None
        # user nice system idle iowait irq softirq steal; guest time is already part of user.
        ticks = [int(field) for field in fields[1:9]]
        now = sum(ticks), ticks[3] + ticks[4]
        before, self._cpu_before = self._cpu_before, now
        if before is None or now[0] <= before[0]:
            return None
        idle = (now[1] - before[1]) / (now[0] - before[0])
        return round(100.0 * (1.0 - min(1.0, max(0.0, idle))), 1)

    def _frequency(self) -> float | None:
        khz = _number(self._sys / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
        return None if khz is None else khz / 1000.0

    def _memory(self) -> tuple[int | None, int | None]:
        """(used, total) bytes; used is what is not available to a new program."""
        values = {}
        for line in _text(self._proc / "meminfo").splitlines():
            key, _, rest = line.partition(":")
            if key in ("MemTotal", "MemAvailable") and rest.split()[:1] and rest.split()[0].isdigit():
                values[key] = int(rest.split()[0]) * 1024
        total, available = values.get("MemTotal"), values.get("MemAvailable")
        return (None if total is None or available is None else total - available), total

    def _rss(self) -> int | None:
        fields = _text(self._proc / "self" / "statm").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 and fields[1].isdigit() else None


class HealthMonitor:
    """Reads health every few seconds on a thread of its own, since a sensor may take its time.

    Use it in a ``with`` statement.
    """

    def __init__(self, reader: HealthReader | None = None, *, interval_s: float = 2.0) -> None:
        self._reader = reader or HealthReader()
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._latest: Health | None = None
        self._thread = threading.Thread(target=self._watch, name="edgekit-health", daemon=True)

    def __enter__(self) -> HealthMonitor:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(1.0)

    def take(self) -> Health | None:
        health, self._latest = self._latest, None
        return health

    def _watch(self) -> None:
        while True:
            self._latest = self._reader.read()
            if self._stop.wait(self._interval_s):
                return


class ScriptedHealth:
    """Health as a test or a demonstration wants it: gives each state once, one a call."""

    def __init__(self, states: Iterable[Health | None] = ()) -> None:
        self._states = iter(states)

    def take(self) -> Health | None:
        return next(self._states, None)


def _find_vcgencmd() -> Callable[[], str] | None:
    program = shutil.which("vcgencmd")
    if program is None:
        return None

    def ask() -> str:
        done = subprocess.run([program, "get_throttled"], capture_output=True, text=True, timeout=2.0, check=True)  # noqa: S603
        return done.stdout

    return ask


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None
