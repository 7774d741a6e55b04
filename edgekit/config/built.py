"""What a bundle's manifest says of the target it was built for, read with neither PyYAML nor full checks.

For start-up on the device: a second spent on it would be felt on a Zero 2 W. `edgekit verify` and ``bundle.read`` check
manifests; here anything odd counts as not said.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Setting of the profile's ``camera`` section → type that it must have to count.
_CAMERA: dict[str, type | tuple[type, ...]] = {
    "width": int,
    "height": int,
    "fps": (int, float),
    "fourcc": str,
    "rotate": int,
    "flip": str,
    "open_timeout_s": (int, float),
    "stall_timeout_s": (int, float),
    "reconnect_min_s": (int, float),
    "reconnect_max_s": (int, float),
}


def camera_defaults(bundle: Path) -> dict[str, Any]:
    """The target's camera settings under their YAML keys; those that are null, odd or missing are left out."""
    try:
        camera = json.loads((bundle / "manifest.json").read_text("utf-8"))["target"]["camera"]
        return {
            key: camera[key]
            for key, kind in _CAMERA.items()
            if isinstance(camera.get(key), kind) and not isinstance(camera[key], bool)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
