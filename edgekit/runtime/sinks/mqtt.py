"""``--mqtt URL``: answers to a broker, found by Home Assistant by itself. Needs ``pip install 'edgekit[mqtt]'``.

Under the prefix ``edgekit/<device>``:

    availability      retained: ``online``, and by the broker's last will ``offline``
    <camera>/state    retained JSON: label, score, frame_age_ms, fps, up, dropped, time; when the label changes and
                      every few seconds
    device            retained JSON: temperature_c, throttled, cpu_percent

Discovery configurations go to ``homeassistant/…``, retained.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from edgekit.errors import UsageError
from edgekit.runtime.frames import Image
from edgekit.runtime.results import Dropped, Event, Health, Result, Session, SourceDown, SourceUp, Summary, iso_time
from edgekit.runtime.sinks.base import Sink
from edgekit.runtime.sinks.home_assistant import discovery
from edgekit.runtime.sources.urls import Login, redact, split_login

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to publish. ``device`` names this machine in topics; ``every_s`` is the pace while a label stands."""

    host: str
    port: int = 1883
    tls: bool = False
    login: Login | None = None
    device: str = ""
    every_s: float = 5.0
    discovery: bool = True


def broker(url: str, *, device: str = "") -> Broker:
    """From ``mqtt://[user:password@]host[:port]`` or ``mqtts://…``.

    Args:
        device: this machine's name in topics; empty takes its host name.

    Raises:
        UsageError: not such a URL; the message holds no password.
    """
    bare, login = split_login(url if "://" in url else f"mqtt://{url}")
    parts = urlsplit(bare)
    hint = "mqtt://user:password@broker.local:1883"
    try:
        port = parts.port
    except ValueError:
        raise UsageError(f"--mqtt {redact(url)}: the port is not a number", hint=hint) from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise UsageError(f"--mqtt {redact(url)}: not a broker's URL", hint=hint)
    tls = parts.scheme == "mqtts"
    return Broker(parts.hostname, port or (8883 if tls else 1883), tls, login, device or socket.gethostname())


class Mqtt(Sink):
    """Publishes without ever waiting: a broker that is down is said once and tried again in the background."""

    def __init__(self, to: Broker, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._broker = to
        self._clock = clock
        self._id = slug(to.device) or "device"
        self._prefix = f"edgekit/{self._id}"
        self._client: Any = None
        self._model = ""
        self._cameras: list[_Camera] = []
        self._complained = False
        self._health = Health()

    def start(self, session: Session) -> None:
        """Raises UsageError: paho-mqtt is not installed."""
        try:
            from paho.mqtt import client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise UsageError(
                "--mqtt needs paho-mqtt, which is not installed", hint="pip install 'edgekit[mqtt]'"
            ) from None
        self._model = session.model.get("architecture", "classifier")
        self._cameras = [_Camera(name, slug(name) or f"camera-{i}") for i, name in enumerate(session.cameras)]
        if len({camera.id for camera in self._cameras}) < len(self._cameras):
            for number, camera in enumerate(self._cameras):
                camera.id = f"{camera.id}-{number}"
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"edgekit-{self._id}"[:64])
        if self._broker.login is not None:
            client.username_pw_set(self._broker.login.user, self._broker.login.password)
        if self._broker.tls:
            client.tls_set()
        client.will_set(f"{self._prefix}/availability", "offline", qos=1, retain=True)
        client.reconnect_delay_set(1, 30)
        # What cannot be sent now is told anew after reconnecting; a queue would only deliver old news.
        client.max_queued_messages_set(50)
        client.on_connect = self._connected
        client.on_connect_fail = lambda *_: self._complain("cannot be reached")
        client.on_disconnect = lambda _c, _u, _f, code, _p: self._complain("is gone") if code.is_failure else None
        client.connect_async(self._broker.host, self._broker.port, keepalive=30)
        client.loop_start()
        self._client = client

    def result(self, result: Result, image: Image) -> None:
        camera = self._cameras[result.camera]
        now = self._clock()
        camera.results += 1
        if result.label != camera.label or now - camera.said_at >= self._broker.every_s:
            elapsed = now - camera.said_at
            if camera.label is not None and elapsed > 0:
                camera.fps = camera.results / elapsed
            camera.results, camera.said_at, camera.label = 0, now, result.label
            camera.latest = result
            self._publish_state(camera)

    def event(self, event: Event) -> None:
        if isinstance(event, Health):
            self._health = event
            self._publish("device", _device_state(event))
        elif isinstance(event, Dropped):
            self._cameras[event.camera].dropped += event.count
        elif isinstance(event, SourceUp | SourceDown):
            camera = self._cameras[event.camera]
            camera.up = isinstance(event, SourceUp)
            self._publish_state(camera)

    def finish(self, summary: Summary) -> None:
        self._publish("summary", summary.to_dict())

    def close(self) -> None:
        if self._client is None:
            return
        client, self._client = self._client, None
        if client.is_connected():
            # A proper goodbye sends no last will, so it is said here.
            client.publish(f"{self._prefix}/availability", "offline", qos=1, retain=True).wait_for_publish(1.0)
        client.disconnect()
        client.loop_stop()

    def _publish_state(self, camera: _Camera) -> None:
        self._publish(f"{camera.id}/state", camera.state())

    def _publish(self, topic: str, state: dict[str, Any]) -> None:
        if self._client is not None and self._client.is_connected():
            self._client.publish(f"{self._prefix}/{topic}", json.dumps(state, ensure_ascii=False), retain=True)

    def _connected(self, client: Any, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        """On paho's thread, at every connection: says everything that is retained, since the broker may be new."""
        if reason.is_failure:
            self._complain(f"refuses: {reason}")
            return
        if self._complained:
            _log.warning("MQTT broker %s:%d: back", self._broker.host, self._broker.port)
        self._complained = False
        client.publish(f"{self._prefix}/availability", "online", qos=1, retain=True)
        if self._broker.discovery:
            names = [(camera.id, camera.name) for camera in self._cameras]
            for topic, configuration in discovery(self._broker.device, self._prefix, names, self._model):
                client.publish(topic, json.dumps(configuration, ensure_ascii=False), qos=1, retain=True)
        for camera in self._cameras:
            client.publish(f"{self._prefix}/{camera.id}/state", json.dumps(camera.state()), retain=True)
        client.publish(f"{self._prefix}/device", json.dumps(_device_state(self._health)), retain=True)

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            _log.warning(
                "MQTT broker %s:%d %s; tried again, and the run goes on", self._broker.host, self._broker.port, what
            )


class _Camera:
    """What is said of one camera."""

    def __init__(self, name: str, identifier: str) -> None:
        self.name = name
        self.id = identifier
        self.label: str | None = None
        self.latest: Result | None = None
        self.said_at = float("-inf")
        self.results = 0
        self.fps = 0.0
        self.up = False
        self.dropped = 0

    def state(self) -> dict[str, Any]:
        latest = self.latest
        return {
            "label": self.label,
            "score": None if latest is None else round(latest.top[0].score, 4),
            "frame_age_ms": None if latest is None else round(latest.frame_age_ms, 1),
            "time": None if latest is None else iso_time(latest.time),
            "fps": round(self.fps, 2),
            "up": self.up,
            "dropped": self.dropped,
        }


def _device_state(health: Health) -> dict[str, Any]:
    return {
        "temperature_c": health.temperature_c,
        "throttled": health.throttled,
        "throttle_reasons": list(health.throttle_reasons),
        "cpu_percent": health.cpu_percent,
    }


def slug(text: str) -> str:
    """``text`` as part of a topic: ASCII letters, digits, ``-`` and ``_``; no ``/``, ``+`` or ``#``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", redact(text)).strip("-")[:48]
