"""What must hold between the settings of one profile, beyond each one's own range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from yaml.nodes import Node

from edgekit.config.target import EngineName, Target
from edgekit.config.yamlfile import Issues

# Where wheels exist. tflite-runtime 2.14 (the last) has them for Python 3.8-3.11; the others have none for 32-bit Arm.
_WHEELS: dict[EngineName, tuple[str, ...]] = {
    "litert": ("aarch64", "x86_64"),
    "onnxruntime": ("aarch64", "x86_64"),
    "tflite-runtime": ("aarch64", "armv7", "x86_64"),
}
_TFLITE_LAST_PYTHON = (3, 11)


def cross_check(target: Target, nodes: Mapping[str, Node], root: Node, issues: Issues) -> None:
    """Notes every broken rule at the setting that breaks it (or at the document, if that one is a default)."""
    for where, what in _broken(target):
        issues.add(f"{where}: {what}", nodes.get(where, root))


def _broken(target: Target) -> Iterator[tuple[str, str]]:
    cpu, engine = target.cpu, target.engine
    if target.threads > cpu.cores:
        yield "threads", f"{target.threads} threads on {cpu.cores} cores"
    if cpu.isa == "armv7" and (cpu.dot_product or cpu.fp16):
        yield "cpu.isa", "32-bit Arm kernels use neither dot products nor half precision; set both to false"
    if engine.preferred in engine.fallbacks:
        yield "engine.fallbacks", f"'{engine.preferred}' is already the first choice"
    if len(set(engine.fallbacks)) < len(engine.fallbacks):
        yield "engine.fallbacks", "an engine is named twice"
    major, minor = (int(part) for part in target.os.python.split("."))
    for index, name in enumerate(target.engines()):
        where = "engine.fallbacks" if index else "engine.preferred"
        if cpu.isa not in _WHEELS[name]:
            yield where, f"there is no {name} for {cpu.isa}"
        elif name == "tflite-runtime" and (major, minor) > _TFLITE_LAST_PYTHON:
            yield "os.python", f"tflite-runtime ends at Python 3.11, and this is {target.os.python}"
    numpy = engine.versions.numpy
    if "tflite-runtime" in target.engines() and numpy and int(numpy.split(".")[0]) >= 2:
        yield "engine.versions.numpy", f"tflite-runtime needs NumPy 1, not {numpy}"
    side = max(target.input.height or 0, target.input.width or 0)
    if target.input.resize and target.input.resize < side:
        yield "input.resize", f"{target.input.resize} is smaller than the input ({side})"
    if target.budget.memory_mb and target.budget.memory_mb > target.memory.ram_mb:
        yield "budget.memory_mb", f"{target.budget.memory_mb:g} MB of {target.memory.ram_mb} MB"
    if target.camera.reconnect_min_s > target.camera.reconnect_max_s:
        yield "camera.reconnect_min_s", "longer than reconnect_max_s"
