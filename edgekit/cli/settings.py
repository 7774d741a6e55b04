"""What ``run`` runs with: flags over deploy.yaml over the bundle's own target profile over ``RunOptions``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.config.built import camera_defaults
from edgekit.errors import UsageError
from edgekit.runtime.options import CameraOptions, Decision, Resilience, Roi, RunOptions

_DEFAULT_BUNDLE = Path("build/rpi4")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Options of the loop, and where its results go."""

    options: RunOptions
    telemetry: Path | None
    metrics_port: int | None
    view_port: int | None
    view_host: str


def run_settings(flags: Mapping[str, Any], deploy: Path = Path("deploy.yaml")) -> RunSettings:
    """Lays flags (None: not given) over the deployment's defaults.

    Raises:
        UsageError: a value out of range, or no bundle and none to be found.
        ConfigError: deploy.yaml is not valid.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    values = {**_deployed(deploy), **given}
    bundle = Path(values.get("bundle") or _find_bundle())
    # What the target profile says of its camera holds for cameras; a file or a stream has its own size and pace.
    profile = camera_defaults(bundle)
    values = {**_some(profile, "rotate", "flip"), **values}
    sources = values.get("camera") or ["0"]
    options = RunOptions(
        cameras=tuple(
            _camera(source, values, profile) for source in ([sources] if isinstance(sources, str) else sources)
        ),
        bundle=bundle,
        roi=Roi.parse(values["roi"]) if "roi" in values else None,
        decision=Decision(**_some(values, "smoothing", "threshold", "hysteresis")),
        resilience=_resilience(profile, values),
        verify=values.get("verify", True),
        **_some(
            values,
            "engine",
            "threads",
            "max_frames",
            "max_seconds",
            "top_k",
            "every",
            "max_fps",
            "rotate",
            "flip",
            "on_end",
        ),
    )
    telemetry = values.get("telemetry")
    return RunSettings(
        options,
        telemetry=None if telemetry is None else Path(telemetry),
        metrics_port=values.get("metrics_port"),
        view_port=values.get("view_port"),
        view_host=values.get("view_host", "127.0.0.1"),
    )


def _camera(source: str, values: Mapping[str, Any], profile: Mapping[str, Any]) -> CameraOptions:
    keys = ("width", "height", "fps", "fourcc")
    device = source.isdigit() or source.startswith("/dev/")
    asked = {**(_some(profile, *keys) if device else {}), **_some(values, *keys, "pixel_format", "live")}
    return CameraOptions(source, **asked)


def _resilience(profile: Mapping[str, Any], values: Mapping[str, Any]) -> Resilience:
    known = {**profile, **({"stall_timeout_s": values["stall_timeout"]} if "stall_timeout" in values else {})}
    names = {"reconnect_min_s": "initial_delay_s", "reconnect_max_s": "longest_delay_s"}
    keys = ("stall_timeout_s", "open_timeout_s", *names)
    known = {names.get(key, key): value for key, value in _some(known, *keys).items()}
    return Resilience(**known, retry_first=values.get("retry", False))


def _some(values: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: values[key] for key in keys if values.get(key) is not None}


def _deployed(deploy: Path) -> dict[str, Any]:
    if not deploy.is_file():
        return {}
    from edgekit.config import load_deploy  # PyYAML: only where there is something to read

    run = load_deploy(deploy).run
    values = {name: getattr(run, name) for name in run.__dataclass_fields__}
    return {key: value for key, value in values.items() if value is not None}


def _find_bundle() -> Path:
    """``build/rpi4``, or the only bundle below ``build``."""
    if _DEFAULT_BUNDLE.is_dir():
        return _DEFAULT_BUNDLE
    found = sorted(path.parent for path in Path("build").glob("*/manifest.json"))
    if len(found) == 1:
        return found[0]
    what = f"several bundles: {', '.join(map(str, found))}" if found else "no bundle in ./build"
    raise UsageError(f"--bundle was not given, and there is {what}", hint="--bundle DIR, or `edgekit build` first")
