"""The text of the systemd unit that keeps a camera loop running, as little allowed to it as it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import UsageError

MARK = "# Written by `edgekit service install`; `edgekit service uninstall` removes it."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
WATCHDOG_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a service runs.

    Attributes:
        name: of the unit, without ``.service``.
        program: the ``edgekit`` command, absolute.
        bundle: directory, absolute.
        camera: what ``edgekit run --camera`` takes.
        user: whom it runs as; must exist.
        arguments: more of ``edgekit run``'s arguments.
        groups: further groups of that user, e.g. ``video``; each must exist.
        writable: folders that it may write to, besides its own state folder.
        watchdog_s: no answer for this long, and systemd starts it anew; must exceed the longest time between two.
    """

    name: str = "edgekit"
    program: Path
    bundle: Path
    camera: str = "0"
    user: str
    arguments: tuple[str, ...] = ()
    groups: tuple[str, ...] = ("video",)
    writable: tuple[Path, ...] = ()
    watchdog_s: float = WATCHDOG_S

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"service name {self.name!r}: letters, digits, '.', '_' and '-' only")
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?", self.user):
            raise UsageError(f"user {self.user!r}: not a user's name")
        for path in (self.program, self.bundle, *self.writable):
            if not path.is_absolute():
                raise UsageError(f"{path}: a unit needs absolute paths")
        if not 1 <= self.watchdog_s <= 86400:
            raise UsageError(f"watchdog {self.watchdog_s:g} s: not between 1 and 86400")

    @property
    def file_name(self) -> str:
        return f"{self.name}.service"

    def command(self) -> list[str]:
        """The command line, one entry an argument."""
        run = ["run", "--bundle", str(self.bundle), "--camera", self.camera, *self.arguments]
        return [str(self.program), *run]

    def text(self) -> str:
        """The unit file."""
        return "\n".join([MARK, *self._unit(), "", *self._service(), "", "[Install]", "WantedBy=multi-user.target", ""])

    def _unit(self) -> Iterable[str]:
        yield "[Unit]"
        yield f"Description=edgekit camera loop ({_percent(self.bundle.name)})"
        if "://" in self.camera:
            yield "Wants=network-online.target"
            yield "After=network-online.target"
        # A camera may be away for hours: never give up starting.
        yield "StartLimitIntervalSec=0"

    def _service(self) -> Iterable[str]:
        yield "[Service]"
        yield "Type=notify"
        yield "NotifyAccess=main"
        yield f"ExecStart={' '.join(quote(word) for word in self.command())}"
        yield f"User={self.user}"
        if self.groups:
            yield f"SupplementaryGroups={' '.join(self.groups)}"
        yield f"StateDirectory={self.name}"
        yield f"WorkingDirectory=%S/{self.name}"
        yield f"WatchdogSec={self.watchdog_s:g}"
        yield "TimeoutStartSec=120"
        yield "TimeoutStopSec=15"
        yield "Restart=on-failure"
        yield "RestartSec=5"
        # 1: a check failed, 2: bad input. Neither mends itself.
        yield "RestartPreventExitStatus=1 2"
        # The watchdog ends the loop with SIGABRT: this writes every thread's stack to the journal first.
        yield "Environment=PYTHONFAULTHANDLER=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1"
        # ONNX Runtime 1.31's Linux wheels keep a usage database and report it, unless told not to.
        yield "Environment=ORT_DISABLE_TELEMETRY=1"
        yield from self._limits()

    def _limits(self) -> Iterable[str]:
        yield ""
        yield "# What it may touch."
        yield "ProtectSystem=strict"
        yield "ProtectHome=read-only"
        yield "PrivateTmp=yes"
        if self.writable:
            # The dash: a folder that is gone does not keep the service from starting.
            yield f"ReadWritePaths={' '.join(quote(f'-{path}') for path in self.writable)}"
        yield "UMask=0027"
        yield "DevicePolicy=closed"
        # Cameras; and for CSI cameras the media graph, frame buffers and, for the throttle bits, the firmware.
        for device in ("char-video4linux", "char-media", "char-dma_heap", "/dev/vcio"):
            yield f"DeviceAllow={device} rw"
        yield "ProtectKernelTunables=yes"
        yield "ProtectKernelModules=yes"
        yield "ProtectKernelLogs=yes"
        yield "ProtectControlGroups=yes"
        yield "ProtectClock=yes"
        yield "ProtectHostname=yes"
        # Other processes are hidden, but not /proc/cpuinfo: without it engines miss the processor's features.
        yield "ProtectProc=invisible"
        yield "ProcSubset=all"
        yield ""
        yield "# What it may do."
        yield "NoNewPrivileges=yes"
        yield "CapabilityBoundingSet="
        yield "AmbientCapabilities="
        yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"
        yield "RestrictNamespaces=yes"
        yield "RestrictRealtime=yes"
        yield "RestrictSUIDSGID=yes"
        yield "LockPersonality=yes"
        if not self.camera.startswith("csi"):
            # LiteRT, ONNX Runtime and OpenCV run without writable code pages; libcamera's image tuning is not tried.
            yield "MemoryDenyWriteExecute=yes"
        yield "SystemCallArchitectures=native"
        yield "SystemCallFilter=@system-service"
        yield "SystemCallFilter=~@privileged"
        yield "SystemCallErrorNumber=EPERM"
        yield "KeyringMode=private"
        yield "RemoveIPC=yes"
        # A leak ends this service rather than the board.
        yield "MemoryMax=60%"
        yield "OOMPolicy=stop"


def quote(word: str) -> str:
    r"""One word of a command line as systemd.service(5) and systemd.syntax(7) read it.

    ``%`` and ``$`` would be expanded, so they are doubled; a word with anything unusual in it goes in quotes.

    Raises:
        UsageError: a control character, which no unit should hold.
    """
    if any(ord(character) < 32 or ord(character) == 127 for character in word):
        raise UsageError(f"{word!r}: control characters cannot go into a unit")
    escaped = _percent(word).replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./$-]+", escaped):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _percent(text: str) -> str:
    return text.replace("%", "%%")
