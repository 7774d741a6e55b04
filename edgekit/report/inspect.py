"""What a model file or a bundle is: tensors, operators, quantization, metadata, cost. ``edgekit inspect`` prints it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.config.target import Target
from edgekit.errors import BundleError, GraphError, InputError
from edgekit.evaluate.bench_report import columns
from edgekit.report import tflite_file
from edgekit.report.cost import Cost, with_target
from edgekit.report.terminal import cost_lines
from edgekit.report.tflite_file import TensorFacts
from edgekit.report.work import OperatorCost, count

if TYPE_CHECKING:
    import onnx_ir as ir

_SHOWN_VALUE = 100


@dataclass(frozen=True)
class Described:
    """A model file, or a bundle with its ``models``. ``facts`` holds what only some kinds have, in print order."""

    kind: str  # "onnx" | "tflite" | "bundle"
    path: Path
    bytes: int
    sha256: str
    precision: str = ""
    inputs: tuple[TensorFacts, ...] = ()
    outputs: tuple[TensorFacts, ...] = ()
    ops: Mapping[str, int] = field(default_factory=dict)
    cost: Cost | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    models: tuple[Described, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The object that ``inspect --json`` prints."""
        found: dict[str, Any] = {
            "kind": self.kind, "path": str(self.path), "bytes": self.bytes, "sha256": self.sha256, **self.facts
        }  # fmt: skip
        if self.kind != "bundle":
            found |= {
                "precision": self.precision,
                "inputs": [_tensor_dict(tensor) for tensor in self.inputs],
                "outputs": [_tensor_dict(tensor) for tensor in self.outputs],
                "ops": dict(self.ops),
                "cost": None if self.cost is None else self.cost.to_dict(),
                "metadata": dict(self.metadata),
            }
        if self.models:
            found["models"] = [model.to_dict() for model in self.models]
        return found

    def text(self) -> str:
        """For a terminal."""
        title = f"{self.path}: {self.kind}{f', {self.precision}' if self.precision else ''}, {self.bytes / 1e6:.2f} MB"
        lines = [title, f"  sha256      {self.sha256}"]
        lines += [f"  {key:<11} {said}" for key, value in self.facts.items() if (said := _fact(key, value))]
        lines += [f"  input       {_tensor_text(tensor)}" for tensor in self.inputs]
        lines += [f"  output      {_tensor_text(tensor)}" for tensor in self.outputs]
        if self.ops:
            lines.append(f"  operators   {', '.join(f'{n} {op}' for op, n in self.ops.items())}")
        lines += [f"  {key:<11} {_short(value)}" for key, value in self.metadata.items()]
        if self.cost is not None:
            lines += ["", *cost_lines(self.cost)]
        for model in self.models:
            lines += ["", model.text()]
        files = self.facts.get("files")
        if isinstance(files, list):
            rows = [(f["name"], f["role"], f"{f['size']}", f["sha256"][:16]) for f in files]
            lines += ["", *columns([("file", "role", "bytes", "sha256"), *rows], left=2)]
        return "\n".join(lines)


def describe_model(path: Path, target: Target | None = None, network: str = "") -> Described:
    """Reads a ``.onnx`` or ``.tflite`` file or a bundle directory.

    Args:
        target: also draw this target's roofline over each model; a bundle's own target is used where this is None.
        network: as peers spell it (``edgekit.report.names.network_name``), to show what they reach.

    Raises:
        GraphError: neither an ONNX nor a TFLite model, or a damaged one.
        BundleError: no such file, or a directory that is no bundle.
        VerifyFailed: a bundle whose files are not what its manifest says.
    """
    if path.is_dir():
        return _bundle(path, target, network)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if tflite_file.is_tflite(content):
        return _tflite(path, content, target, network)
    return _onnx(path, content, target, network)


def _bundle(path: Path, target: Target | None, network: str) -> Described:
    from edgekit import bundle

    opened = bundle.read(path)
    manifest = opened.manifest
    own = target or _own_target(manifest.target, f"{path}/manifest.json: target")
    facts: dict[str, Any] = {
        "target": str(manifest.target.get("name", "")),
        "precision": manifest.precision,
        "classes": manifest.classes,
        "labels": [label.line for label in opened.labels],
        "checkpoint": dict(manifest.checkpoint),
        "image": manifest.image.to_dict(),
        "accuracy": None if manifest.accuracy is None else dict(manifest.accuracy),
        "parity": None if manifest.parity is None else dict(manifest.parity),
        "engines": dict(manifest.engines),
        "tools": dict(manifest.tools),
        "files": [entry.to_dict() for entry in manifest.files],
    }
    models = []
    for entry in manifest.models:
        try:
            models.append(
                describe_model(opened.file(entry.file), own, network or str(manifest.checkpoint.get("network", "")))
            )
        except ImportError:  # a device has no onnx; its manifest still counts the operators
            models.append(_from_manifest(path, entry, {file.name: file for file in manifest.files}))
    total = sum(entry.size for entry in manifest.files)
    return Described("bundle", path, total, opened.sha256, facts=facts, models=tuple(models))


def _own_target(profile: Mapping[str, Any], where: str) -> Target | None:
    from edgekit.errors import ConfigError

    try:
        return Target.from_dict(profile, where)
    except ConfigError:  # written by another version of edgekit: everything but the roofline can still be told
        return None


def _from_manifest(path: Path, entry: Any, files: Mapping[str, Any]) -> Described:
    def tensor(name: str, own: Any) -> TensorFacts:
        integer = own.dtype != "float32"
        return TensorFacts(name, own.dtype, (), own.scale if integer else None, own.zero_point if integer else None)

    return Described(
        entry.format, path / entry.file, files[entry.file].size, files[entry.file].sha256, entry.precision,
        (tensor("input", entry.input),), (tensor("output", entry.output),), entry.ops,
    )  # fmt: skip


def _tflite(path: Path, content: bytes, target: Target | None, network: str) -> Described:
    found = tflite_file.read(content, str(path))
    metadata = {**found.metadata, **{f"file {name}": text for name, text in found.files.items()}}
    precision = found.metadata.get("edgekit.precision") or _precision(found.weights)
    return Described(
        "tflite", path, len(content), hashlib.sha256(content).hexdigest(), precision, found.inputs, found.outputs,
        _census(found.operators), _cost(found.costs, target, network), metadata,
        {"description": found.description} if found.description else {},
    )  # fmt: skip


def _onnx(path: Path, content: bytes, target: Target | None, network: str) -> Described:
    import onnx
    import onnx_ir
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        proto = onnx.load_from_string(content)
        if not proto.graph.node:
            raise DecodeError("no operators in it")
        model = onnx_ir.from_proto(proto)
    except (DecodeError, ValueError, KeyError, TypeError) as error:
        raise GraphError(f"{path}: neither an ONNX nor a TFLite model: {error}", hint="is the file whole?") from error
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    constants = {tensor.name for tensor in proto.graph.initializer}
    operators = [n.op_type for n in proto.graph.node if not (n.op_type == "Cast" and n.input[0] in constants)]
    opsets = {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}
    facts: dict[str, Any] = {"opset": ", ".join(f"{domain} {version}" for domain, version in opsets.items())}
    if proto.producer_name:
        facts["producer"] = f"{proto.producer_name} {proto.producer_version}".strip()
    weights = frozenset(
        onnx.TensorProto.DataType.Name(tensor.data_type).lower()
        for tensor in proto.graph.initializer
        if len(tensor.dims) > 1
    )
    try:
        costs = count(model)
    except GraphError:  # shapes that cannot be known: everything else can still be told
        costs = ()
    return Described(
        "onnx", path, len(content), hashlib.sha256(content).hexdigest(),
        metadata.get("edgekit.precision") or _precision(weights),
        tuple(_onnx_tensor(v, None) for v in model.graph.inputs if v.name not in constants),
        tuple(_onnx_tensor(v, metadata) for v in model.graph.outputs),
        _census(operators), _cost(costs, target, network), metadata, facts,
    )  # fmt: skip


def _onnx_tensor(value: ir.Value, metadata: Mapping[str, str] | None) -> TensorFacts:
    name = "" if value.dtype is None else value.dtype.name.lower()
    dtype = "float32" if name == "float" else name
    shape = () if value.shape is None else tuple(size if isinstance(size, int) else -1 for size in value.shape)
    scale = zero_point = None
    if metadata and "edgekit.output_scale" in metadata and "int" in dtype:
        scale, zero_point = float(metadata["edgekit.output_scale"]), int(metadata.get("edgekit.output_zero_point", 0))
    return TensorFacts(value.name or "", dtype, shape, scale, zero_point)


def _cost(operators: Sequence[OperatorCost], target: Target | None, network: str) -> Cost | None:
    return with_target(operators, target, network) if operators else None


def _census(operators: Sequence[str]) -> dict[str, int]:
    return dict(sorted(Counter(operators).items(), key=lambda item: (-item[1], item[0])))


def _precision(weights: frozenset[str]) -> str:
    """What the weights are stored as, in a profile's words."""
    for word, precision in (
        ("int8", "int8"),
        ("uint8", "int8"),
        ("float16", "fp16"),
        ("float", "fp32"),
        ("float32", "fp32"),
    ):
        if word in weights:
            return precision
    return ""


def _tensor_dict(tensor: TensorFacts) -> dict[str, Any]:
    said: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
    if tensor.scale is not None:
        said |= {"scale": tensor.scale, "zero_point": tensor.zero_point}
    return said


def _tensor_text(tensor: TensorFacts) -> str:
    shape = ", ".join("N" if size == -1 else str(size) for size in tensor.shape)
    scaled = "" if tensor.scale is None else f", real = {tensor.scale:.6g} × (integer {-(tensor.zero_point or 0):+d})"
    return f"{tensor.name} {tensor.dtype} [{shape}]{scaled}"


def _fact(key: str, value: Any) -> str:
    """A fact in one line; empty for those that are told elsewhere or were not measured."""
    if value is None:
        return ""
    if key == "checkpoint":
        return ", ".join(str(value[part]) for part in ("file", "architecture", "family") if value.get(part))
    if key == "image":
        size = f"{value['height']}×{value['width']}"
        return f"short side to {value['resize']} ({value['interpolation']}), centre {size}, uint8 RGB"
    if key == "accuracy":
        drops = [f"{name} {drop:+.2f} pp" for name, drop in value.get("drop_pp", {}).items()]
        agreement = [f"{name} {share:.2f} %" for name, share in value.get("agreement", {}).items()]
        said = f"top-1 drop {', '.join(drops)}; " if drops else ""
        return f"{said}agreement {', '.join(agreement)} on {value.get('n', '?')} pictures"
    return "" if isinstance(value, (dict, list)) else _short(value)


def _short(value: Any) -> str:
    """One line of a value that may be long: labels are many."""
    text = "–" if value is None else str(value)
    lines = text.splitlines()
    if len(lines) > 1:
        return f"{len(lines)} lines: {', '.join(lines)[:_SHOWN_VALUE]}…"
    return text if len(text) <= _SHOWN_VALUE else f"{text[:_SHOWN_VALUE]}…"
