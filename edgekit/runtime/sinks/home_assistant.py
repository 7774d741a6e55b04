"""Home Assistant's MQTT discovery: https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class _Entity:
    """One thing that Home Assistant shows: a key of a state topic, and what it means."""

    key: str
    title: str
    component: str = "sensor"  # or "binary_sensor"
    unit: str | None = None
    device_class: str | None = None
    percent: bool = False  # the state holds 0–1
    icon: str | None = None


_OF_A_CAMERA = (
    _Entity("label", "label", icon="mdi:eye"),
    _Entity("score", "score", unit="%", percent=True),
    _Entity("frame_age_ms", "frame age", unit="ms", device_class="duration"),
    _Entity("up", "connection", "binary_sensor", device_class="connectivity"),
)
_OF_THE_DEVICE = (
    _Entity("temperature_c", "temperature", unit="°C", device_class="temperature"),
    _Entity("throttled", "throttled", "binary_sensor", device_class="problem"),
)


def discovery(
    device: str, prefix: str, cameras: Sequence[tuple[str, str]], model: str
) -> list[tuple[str, dict[str, Any]]]:
    """(topic, configuration) for everything one device publishes under ``prefix``.

    Args:
        device: this machine's name, for people.
        prefix: ``edgekit/<id>``.
        cameras: (part of the topic, name for people) of each.
    """
    identifier = prefix.replace("/", "_")
    about = {
        "identifiers": [identifier],
        "name": f"edgekit {device}",
        "manufacturer": "edgekit",
        "model": model,
    }
    found = []
    for part, name in (*cameras, ("device", "")):
        topic = f"{prefix}/device" if part == "device" else f"{prefix}/{part}/state"
        for entity in _OF_THE_DEVICE if part == "device" else _OF_A_CAMERA:
            configuration = {
                "name": f"{name} {entity.title}".strip(),
                "unique_id": f"{identifier}_{part}_{entity.key}",
                "state_topic": topic,
                "value_template": _template(entity),
                "availability_topic": f"{prefix}/availability",
                "device": about,
                "unit_of_measurement": entity.unit,
                "device_class": entity.device_class,
                "icon": entity.icon,
            }
            configuration = {key: value for key, value in configuration.items() if value is not None}
            found.append((f"homeassistant/{entity.component}/{identifier}/{part}_{entity.key}/config", configuration))
    return found


def _template(entity: _Entity) -> str:
    """Jinja for the value: null in the state stays "unknown" in Home Assistant."""
    value = f"value_json.{entity.key}"
    if entity.component == "binary_sensor":
        return f"{{{{ 'ON' if {value} else 'OFF' }}}}"
    if entity.percent:
        return f"{{{{ ({value} * 100) | round(1) if {value} is number else None }}}}"
    return f"{{{{ {value} }}}}"
