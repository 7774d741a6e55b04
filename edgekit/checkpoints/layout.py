"""Reads an architecture off a file's tensors and checks every one of them, whatever the family calls it.

A family only says what the file calls each tensor of ``edgekit.models`` (``source_name``); the channel list, the
strict check and its messages are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from edgekit.checkpoints.source import Architecture
from edgekit.errors import CheckpointError

SourceName = Callable[[str], str]

# Far above any published width or depth; keeps a hostile file from asking for a gigantic network.
MAX_CHANNELS = 1 << 16
MAX_UNITS = 64


class Shapes:
    """Looks tensors up by the name of ``edgekit.models`` and speaks of them by the file's own."""

    def __init__(self, tensors: Mapping[str, Tensor], source_name: SourceName) -> None:
        self.tensors, self.source_name = tensors, source_name

    def of(self, name: str, rank: int) -> tuple[int, ...]:
        source = self.source_name(name)
        if source not in self.tensors:
            raise CheckpointError(f"tensor {source!r} is missing", hint="save the whole state dict of the network")
        shape = tuple(self.tensors[source].shape)
        if len(shape) != rank or not all(0 < size <= MAX_CHANNELS for size in shape):
            raise CheckpointError(f"tensor {source!r} has shape {list(shape)}, expected {rank} dimensions above 0")
        return shape

    def has(self, name: str) -> bool:
        return self.source_name(name) in self.tensors


def fit(
    tensors: Mapping[str, Tensor],
    source_name: SourceName,
    version: Literal[1, 2],
    repeats: tuple[int, ...],
    **options: Any,
) -> tuple[Architecture, dict[str, Tensor]]:
    """The architecture that the tensors describe, and the tensors under the names of ``edgekit.models``.

    Args:
        tensors: float tensors, convolutions ``[out, in/groups, kh, kw]``, classifier ``[classes, in]``, under the
            file's names. Nothing else: a tensor that the network has no place for is an error.
        source_name: the file's name for a tensor of ``edgekit.models``.
        version: of the ShuffleNet.
        repeats: units in stages 2, 3 and 4.
        options: the family's fields of ``Architecture``.

    Raises:
        CheckpointError: a tensor is missing, extra, of another shape than its neighbours ask for, or not finite.
    """
    shapes = Shapes(tensors, source_name)
    if len(repeats) != 3 or not all(0 < units <= MAX_UNITS for units in repeats):
        raise CheckpointError(f"stages of {list(repeats)} units: a ShuffleNet has three stages of 1 to {MAX_UNITS}")
    read = _read_v2 if version == 2 else _read_v1
    architecture = Architecture(
        version=version,
        stem_channels=shapes.of("conv1.0.weight", 4)[0],
        classes=shapes.of("fc.weight", 2)[0],
        repeats=repeats,
        classifier_bias=shapes.has("fc.bias"),
        **read(shapes, repeats),
        **options,
    )
    return architecture, _check(architecture, tensors, source_name)


def _read_v2(shapes: Shapes, repeats: tuple[int, ...]) -> dict[str, Any]:
    stages = range(2, 2 + len(repeats))
    projection = tuple(shapes.of(f"stage{s}.0.branch1.2.weight", 4)[0] for s in stages)
    main = tuple(shapes.of(f"stage{s}.0.branch2.5.weight", 4)[0] for s in stages)
    first_mid = tuple(shapes.of(f"stage{s}.0.branch2.0.weight", 4)[0] for s in stages)
    mid = tuple(
        shapes.of(f"stage{s}.1.branch2.0.weight", 4)[0] if units > 1 else first
        for s, units, first in zip(stages, repeats, first_mid, strict=True)
    )
    channels = tuple(a + b for a, b in zip(projection, main, strict=True))
    if any(count % 2 for count in channels):
        raise CheckpointError(f"stages of {list(channels)} channels: an odd count cannot be split into halves")
    return {
        "stage_channels": channels,
        "first_mid_channels": first_mid,
        "mid_channels": mid,
        "projection_channels": projection,
        "head_channels": shapes.of("conv5.0.weight", 4)[0],
    }


def _read_v1(shapes: Shapes, repeats: tuple[int, ...]) -> dict[str, Any]:
    first_mid, mid, channels, inputs = [], [], [], []
    incoming = shapes.of("conv1.0.weight", 4)[0]
    for stage, units in enumerate(repeats, start=2):
        inputs.append(incoming)
        first_mid.append(shapes.of(f"stage{stage}.0.compress.0.weight", 4)[0])
        incoming += shapes.of(f"stage{stage}.0.expand.0.weight", 4)[0]
        mid.append(shapes.of(f"stage{stage}.1.compress.0.weight", 4)[0] if units > 1 else first_mid[-1])
        channels.append(incoming)
    per_group = shapes.of("stage2.0.expand.0.weight", 4)[1]
    groups = max(first_mid[0] // per_group, 1)
    convolved = [after - before for before, after in zip(inputs, channels, strict=True)]
    grouped = [*first_mid, *mid, *channels, *convolved, *inputs[1:]]
    if any(count % groups for count in grouped) or groups * per_group != first_mid[0]:
        raise CheckpointError(f"{groups} groups do not divide stages of {channels} channels")
    return {
        "stage_channels": tuple(channels),
        "first_mid_channels": tuple(first_mid),
        "mid_channels": tuple(mid),
        "projection_channels": tuple(inputs),
        "groups": groups,
    }


def _check(architecture: Architecture, tensors: Mapping[str, Tensor], source_name: SourceName) -> dict[str, Tensor]:
    from edgekit.models import empty

    weights, missing, wrong = {}, [], []
    expected = empty(architecture).state_dict()
    places = {name: source_name(name) for name in expected if not name.endswith("num_batches_tracked")}
    for name, source in places.items():
        tensor = tensors.get(source)
        if tensor is None:
            missing.append(source)
        elif tensor.shape != expected[name].shape:
            wrong.append(f"{source!r} has shape {list(tensor.shape)}, expected {list(expected[name].shape)}")
        else:
            weights[name] = tensor
    extra = sorted(set(tensors) - set(places.values()))
    if missing:
        raise CheckpointError(f"{_listed('tensor', missing)} missing", hint="save the whole state dict of the network")
    if wrong:
        raise CheckpointError(f"tensor shapes disagree: {'; '.join(wrong[:4])}{_more(wrong, 4)}")
    if extra:
        raise CheckpointError(
            f"{_listed('tensor', extra)} not part of this ShuffleNet",
            hint="a modified network (attention, extra layers) has to be exported to ONNX first",
        )
    return {name: _finite(tensor, places[name]) for name, tensor in weights.items()}


def _finite(tensor: Tensor, source: str) -> Tensor:
    if not tensor.dtype.is_floating_point:
        raise CheckpointError(f"tensor {source!r} is {tensor.dtype}, expected floating point")
    tensor = tensor.detach().to("cpu", torch.float32).contiguous()
    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointError(f"tensor {source!r} holds NaN or infinite values", hint="the training run diverged")
    if source.endswith(("running_var", "_variance", "moving_variance")) and bool((tensor < 0).any()):
        raise CheckpointError(f"tensor {source!r} holds negative variances")
    return tensor


def _listed(what: str, names: list[str], limit: int = 6) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return f"{what}{'s' if len(names) > 1 else ''} {shown}{_more(names, limit)} {'are' if len(names) > 1 else 'is'}"


def _more(names: list[str], limit: int) -> str:
    return f" and {len(names) - limit} more" if len(names) > limit else ""
