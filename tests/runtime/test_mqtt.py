"""MQTT against a real broker: state, last will, discovery, a broker that is down, and one that comes late."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rt_help import PICTURE, SESSION, Daemon, a_result, environment, free_port, wait_until

from edgekit.errors import UsageError
from edgekit.runtime.results import Dropped, Health, SourceUp
from edgekit.runtime.sinks.home_assistant import discovery
from edgekit.runtime.sinks.mqtt import Broker, Mqtt, broker, slug

paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
needs_mosquitto = pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
PASSWORD = "s3cret/pw@1"  # noqa: S105


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    number = free_port()
    with server(number, tmp_path):
        yield number


def server(port: int, folder: Path, *, login: str = "") -> Daemon:
    lines = [f"listener {port} 127.0.0.1", "persistence false"]
    if login:
        user, _, password = login.partition(":")
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(folder / "pw"), user, password], check=True, timeout=10)
        (folder / "pw").chmod(0o644)
        lines += ["allow_anonymous false", f"password_file {folder / 'pw'}", "user root"]
    else:
        lines.append("allow_anonymous true")
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
    return Daemon("mosquitto", "-c", str(folder / "mosquitto.conf"), log=folder / "log").listening(port)


class Listener:
    """Subscribes to everything and remembers the newest of each topic."""

    def __init__(self, port: int, login: str = "") -> None:
        from paho.mqtt.enums import CallbackAPIVersion

        self.seen: dict[str, Any] = {}
        self.retained: set[str] = set()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        if login:
            self._client.username_pw_set(*login.split(":", 1))
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _message(self, _client: Any, _userdata: Any, message: Any) -> None:
        text = message.payload.decode()
        self.seen[message.topic] = json.loads(text) if text[:1] in "{[" else text
        if message.retain:
            self.retained.add(message.topic)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@needs_mosquitto
def test_state_is_published_retained_and_goodbye_is_said(port: int) -> None:
    sink = Mqtt(broker(f"mqtt://127.0.0.1:{port}", device="Shed Pi"))
    sink.start(SESSION)
    with Listener(port) as listener:
        wait_until(lambda: listener.seen.get("edgekit/Shed-Pi/availability") == "online")
        sink.event(SourceUp(0, "640x480"))
        sink.event(Dropped(0, "superseded", 4))
        sink.event(Health(temperature_c=51.0))
        sink.result(a_result(0, "red"), PICTURE)
        sink.result(a_result(1, "green"), PICTURE)
        state = "edgekit/Shed-Pi/door/state"
        wait_until(lambda: listener.seen.get(state, {}).get("label") == "green")
        found = listener.seen[state]
        assert {key: found[key] for key in ("score", "frame_age_ms", "up", "dropped")} == {
            "score": 0.75, "frame_age_ms": 25.0, "up": True, "dropped": 4
        }  # fmt: skip
        wait_until(lambda: listener.seen.get("edgekit/Shed-Pi/device", {}).get("temperature_c") == 51.0)
        sink.close()
        wait_until(lambda: listener.seen["edgekit/Shed-Pi/availability"] == "offline")
    with Listener(port) as later:
        wait_until(lambda: state in later.retained and "edgekit/Shed-Pi/availability" in later.retained)


@needs_mosquitto
def test_a_device_that_dies_is_said_to_be_offline_by_its_last_will(port: int) -> None:
    script = (
        "import time; from rt_help import SESSION; from edgekit.runtime.sinks.mqtt import Mqtt, broker\n"
        f"sink = Mqtt(broker('mqtt://127.0.0.1:{port}', device='dies')); sink.start(SESSION); time.sleep(60)"
    )
    folder = Path(__file__).parent
    with Listener(port) as listener:
        process = subprocess.Popen([sys.executable, "-c", script], cwd=folder, env=environment())
        try:
            wait_until(lambda: listener.seen.get("edgekit/dies/availability") == "online", 20)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        wait_until(lambda: listener.seen["edgekit/dies/availability"] == "offline")


@needs_mosquitto
def test_home_assistant_finds_everything(port: int) -> None:
    sink = Mqtt(broker(f"127.0.0.1:{port}", device="pi"))
    sink.start(replace(SESSION, cameras=("door", "rtsp://***@10.0.0.5/live")))
    try:
        with Listener(port) as listener:
            wait_until(lambda: "homeassistant/binary_sensor/edgekit_pi/device_throttled/config" in listener.seen)
            configurations = {k: v for k, v in listener.seen.items() if k.startswith("homeassistant/")}
            assert len(configurations) == 2 * 4 + 2
            assert len({value["unique_id"] for value in configurations.values()}) == 10
            topics = {value["state_topic"] for value in configurations.values()}
            wait_until(lambda: topics <= listener.seen.keys())
            for value in configurations.values():
                key = value["unique_id"].removeprefix("edgekit_pi_").split("_", 1)[1]
                assert key in listener.seen[value["state_topic"]], key
    finally:
        sink.close()


@needs_mosquitto
def test_a_login_is_used_and_a_wrong_one_is_said_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    port = free_port()
    with server(port, tmp_path, login=f"me:{PASSWORD}"):
        good = Mqtt(broker(f"mqtt://me:s3cret%2Fpw%401@127.0.0.1:{port}", device="pi"))
        good.start(SESSION)
        with Listener(port, f"me:{PASSWORD}") as listener:
            wait_until(lambda: listener.seen.get("edgekit/pi/availability") == "online")
        good.close()
        bad = Mqtt(broker(f"mqtt://me:wrong-s3cret%2Fpw%401@127.0.0.1:{port}", device="pi2"))
        bad.start(SESSION)
        wait_until(lambda: "refuses" in caplog.text)
        bad.close()
    assert PASSWORD not in caplog.text


def test_a_broker_that_is_down_is_said_once_and_costs_the_loop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    sink = Mqtt(Broker("127.0.0.1", free_port(), device="pi"))
    began = time.monotonic()
    sink.start(SESSION)
    for number in range(2000):
        sink.result(a_result(number, label=str(number)), PICTURE)
    assert time.monotonic() - began < 1.0
    wait_until(lambda: "cannot be reached" in caplog.text)
    time.sleep(2.5)  # a second and a third attempt
    sink.close()
    assert sum("MQTT" in record.message for record in caplog.records) == 1


@needs_mosquitto
def test_a_broker_that_comes_late_is_told_how_things_are(tmp_path: Path) -> None:
    port = free_port()
    sink = Mqtt(Broker("127.0.0.1", port, device="pi"))
    sink.start(SESSION)
    sink.result(a_result(0, "green"), PICTURE)
    time.sleep(0.3)
    with server(port, tmp_path), Listener(port) as listener:
        wait_until(lambda: listener.seen.get("edgekit/pi/door/state", {}).get("label") == "green", 20)
        sink.close()


def test_while_a_label_stands_it_is_repeated_at_its_pace() -> None:
    now = 0.0
    sink = Mqtt(Broker("127.0.0.1", 1, device="pi", every_s=5.0), clock=lambda: now)
    told: list[dict[str, Any]] = []
    sink._publish_state = lambda camera: told.append(camera.state())  # type: ignore[method-assign]
    from edgekit.runtime.sinks.mqtt import _Camera

    sink._cameras = [_Camera("door", "door")]
    for number in range(200):
        now = number / 10
        sink.result(a_result(number, "red" if number < 150 else "green"), PICTURE)
    assert [state["label"] for state in told] == ["red"] * 3 + ["green"]  # at 0, 5, 10 s and, at 15 s, the change
    assert told[1]["fps"] == pytest.approx(10.0, rel=0.1)


@pytest.mark.parametrize("url", ["http://x", "mqtt://", f"mqtt://me:{PASSWORD}@host:port"])
def test_what_is_no_broker_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        broker(url)
    assert PASSWORD not in str(caught.value)


def test_topics_hold_nothing_special() -> None:
    assert slug("rtsp://me:pw@10.0.0.5/a+b/#") == "rtsp-10-0-0-5-a-b"
    for topic, _ in discovery("pi", "edgekit/pi", [("door", "Door #1/+")], "v2"):
        assert not set(topic) & set("+# ")


def test_tls_and_ports() -> None:
    assert broker("mqtts://host").port == 8883
    assert broker("host").port == 1883
    assert broker("mqtts://host").tls
