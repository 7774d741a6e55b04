"""``deploy.yaml`` and ``targets/*.yaml`` as frozen, checked values. Device side: needs PyYAML and nothing heavier.

``load_target("rpi4") -> Target``, ``list_targets()``, ``load_deploy("deploy.yaml") -> Deploy``,
``deploy_target(deploy, "rpi4") -> Target`` (the deployment's gates and precision laid over the profile's),
``check(files) -> issues``, ``target_schema()``, ``deploy_schema()``; ``show`` renders them for people. Every issue
reads ``file:line:column: what, perhaps 'x'`` and all of them come at once, in one :class:`~edgekit.errors.ConfigError`.

Fields of :class:`Target` (``Target.to_dict()`` / ``Target.from_dict()`` for manifests; YAML keys are the same but for
``engine.versions.tflite-runtime``)::

    name, title, extends
    cpu           model isa(aarch64|armv7|x86_64) cores clock_mhz dot_product fp16 qemu_cpu
                  macs_per_cycle{fp32 fp16 int8} or None
    memory        ram_mb bandwidth_gb_s
    os            name python glibc
    engine        preferred fallbacks versions{litert onnxruntime tflite_runtime numpy opencv}
                  (litert|onnxruntime|tflite-runtime; Target.engines() -> first choice first; versions.of(engine))
    threads       precision(int8|fp16|fp32)
    input         height width resize interpolation, each None = as the checkpoint says;
                  Input.image(own) -> ImageContract
    quantization  observer(auto|minmax|moving-average|percentile|entropy|mse) equalize split_channels
                  bias_correction rounding(nearest|second-moment) scale_search calibration_images seed
                  keep_float(tuple of names, or "auto") softmax(keep|drop) reduce_range(bool, or "auto")
    gate          max_drop_pp min_agreement min_sqnr_db, each None = unchecked
    budget        latency_ms memory_mb, each None = unchecked
    camera        width height fps fourcc rotate flip open_timeout_s stall_timeout_s
                  reconnect_min_s reconnect_max_s
    peers         tuple of Peer: tool model precision threads latency_ms source

Fields of :class:`Deploy` (paths absolute once loaded)::

    checkpoint (path or catalogue name) labels calibration evaluation targets output precision path
    gate          max_drop_pp min_agreement min_sqnr_db, each None = as the target says
    run           camera engine threads top_k max_fps every smoothing threshold hysteresis roi on_end verify
                  telemetry metrics_port view_port view_host
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.config.deploy import Deploy, GateOverride, Run
    from edgekit.config.load import check, deploy_target, list_targets, load_deploy, load_target
    from edgekit.config.schema import deploy_schema, target_schema
    from edgekit.config.target import (
        Budget,
        Camera,
        Cpu,
        Engine,
        EngineName,
        Gate,
        Input,
        MacsPerCycle,
        Memory,
        Os,
        Peer,
        Precision,
        Quantization,
        Target,
        Versions,
    )

_HOMES = {
    "deploy": ("Deploy", "GateOverride", "Run"),
    "load": ("check", "deploy_target", "list_targets", "load_deploy", "load_target"),
    "schema": ("deploy_schema", "target_schema"),
    "target": (
        "Budget", "Camera", "Cpu", "Engine", "EngineName", "Gate", "Input", "MacsPerCycle", "Memory", "Os", "Peer",
        "Precision", "Quantization", "Target", "Versions",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Budget",
    "Camera",
    "Cpu",
    "Deploy",
    "Engine",
    "EngineName",
    "Gate",
    "GateOverride",
    "Input",
    "MacsPerCycle",
    "Memory",
    "Os",
    "Peer",
    "Precision",
    "Quantization",
    "Run",
    "Target",
    "Versions",
    "check",
    "deploy_schema",
    "deploy_target",
    "list_targets",
    "load_deploy",
    "load_target",
    "target_schema",
]


def __getattr__(name: str) -> Any:
    # On first use only: a device that asks for one fact of the machine needs neither PyYAML nor every settings class.
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"edgekit.config.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
