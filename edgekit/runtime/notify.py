"""Telling systemd how the loop is doing (sd_notify): ready, alive, stopping, and one line for ``systemctl status``.

The protocol is one datagram of ``KEY=value`` lines to the socket named in ``NOTIFY_SOCKET``; see sd_notify(3) and
sd_watchdog_enabled(3). Outside a service all of it does nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

_log = logging.getLogger(__name__)

_SEND_TIMEOUT_S = 0.5  # the manager reads at once; a full queue must not hold the loop up


class Notifier:
    """Speaks to the service manager.

    Args:
        address: of the manager's socket: a path, or ``@name`` in the abstract namespace; None means there is none.
        watchdog_s: the manager restarts the service when nothing was heard for this long; None: it does not watch.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        address: str | None,
        watchdog_s: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watchdog_s = watchdog_s
        self._clock = clock
        self._socket: socket.socket | None = None
        self._complained = False
        self._fed_at = float("-inf")
        # Half of the limit is what sd_watchdog_enabled(3) recommends; a quarter forgives one lost datagram more.
        self._feed_every_s = watchdog_s / 4 if watchdog_s else 0.0
        if address:
            self._open(address)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Notifier:
        """What systemd set up for this process; a watchdog meant for another (``WATCHDOG_PID``) is left alone."""
        env = os.environ if environ is None else environ
        microseconds = env.get("WATCHDOG_USEC", "")
        meant = env.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        watchdog_s = int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) and meant else None
        return cls(env.get("NOTIFY_SOCKET"), watchdog_s)

    @property
    def enabled(self) -> bool:
        """Whether anybody listens."""
        return self._socket is not None

    def ready(self, status: str = "") -> None:
        """The service is up: whoever waits for it may start. Feeds the watchdog too."""
        self._send("READY=1", *([f"STATUS={status}"] if status else []))
        self.progress()

    def progress(self) -> None:
        """Something real was done. Call it as often as it happens: all but a few calls return at once."""
        if self.watchdog_s is None or self._socket is None:
            return
        now = self._clock()
        if now - self._fed_at >= self._feed_every_s:
            self._fed_at = now
            self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send("STATUS=" + " ".join(text.split()))

    def stopping(self) -> None:
        """The service is on its way out, on purpose."""
        self._send("STOPPING=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self, address: str) -> None:
        name = "\0" + address[1:] if address.startswith("@") else address
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0))
        try:
            channel.settimeout(_SEND_TIMEOUT_S)
            channel.connect(name)
        except OSError as error:
            channel.close()
            _log.warning("NOTIFY_SOCKET %s cannot be used: %s", address, error)
            return
        self._socket = channel

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.send("\n".join(lines).encode("utf-8"))
        except OSError as error:
            if not self._complained:
                _log.warning("the service manager could not be told: %s", error)
                self._complained = True
