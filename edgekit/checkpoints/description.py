"""What a checkpoint is, in the words and figures of the published tables."""

from __future__ import annotations

from typing import Any

from edgekit.checkpoints.source import Architecture, Checkpoint
from edgekit.checkpoints.widths import width_of
from edgekit.models.cost import cost


def name_of(architecture: Architecture) -> str:
    """Such as ``ShuffleNet V2 x1.0`` or ``ShuffleNet V1 x0.5 g3``."""
    width = width_of(architecture)
    sized = "custom" if width is None else f"x{width}"
    groups = f" g{architecture.groups}" if architecture.version == 1 else ""
    swish = " swish" if architecture.activation == "swish" else ""
    return f"ShuffleNet V{architecture.version} {sized}{groups}{swish}"


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything that ``edgekit inspect`` says about a checkpoint; plain values, ready for JSON.

    ``params`` are trainable numbers, ``macs`` the multiply-accumulates of convolutions and classifier, ``mflops`` the
    figure of the published tables (see ``edgekit.models.Cost``), at the size in ``input``.
    """
    image = checkpoint.image
    if checkpoint.architecture is not None:
        facts = _of_architecture(checkpoint.architecture, image.height, image.width)
    elif checkpoint.graph is not None:
        from edgekit.checkpoints.graph_facts import facts_of

        facts = facts_of(checkpoint.graph, image.height, image.width)
    else:
        facts = {}
    return {
        "kind": "checkpoint",
        "path": str(checkpoint.path),
        "sha256": checkpoint.sha256,
        "family": checkpoint.family,
        **facts,
        "classes": checkpoint.classes,
        "labels": list(checkpoint.labels) if checkpoint.labels is not None else None,
        "quantized": checkpoint.quantized,
        "input": [3, image.height, image.width],
        "preprocessing": {**image.to_dict(), "normalization": checkpoint.normalization.to_dict()},
        "notes": list(checkpoint.notes),
    }


def _of_architecture(architecture: Architecture, height: int, width: int) -> dict[str, Any]:
    head = [] if architecture.head_channels is None else [architecture.head_channels]
    return {
        "architecture": name_of(architecture),
        "version": architecture.version,
        "width": width_of(architecture),
        "channels": [architecture.stem_channels, *architecture.stage_channels, *head],
        "repeats": list(architecture.repeats),
        "groups": architecture.groups,
        "activation": architecture.activation,
        "padding": architecture.padding,
        "epsilon": architecture.epsilon,
        "shuffle": architecture.shuffle,
        "classifier_bias": architecture.classifier_bias,
        **cost(architecture, height, width).to_dict(),
    }
