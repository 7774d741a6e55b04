"""What every checkpoint reader returns: the frozen value between a file and the float graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgekit.contracts import IMAGENET, ImageContract, Normalization

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

Activation = Literal["relu", "swish"]
Padding = Literal["symmetric", "same"]
Shuffle = Literal["interleave", "deinterleave"]


@dataclass(frozen=True)
class Architecture:
    """Everything that tells one ShuffleNet from another; the torch reference is built from this alone.

    Channel counts are those of the tensors in the file, never of a named width. Tuples have one entry for each of
    the stages 2, 3 and 4.

    Attributes:
        version: 1 (grouped 1×1 convolutions, residual add) or 2 (channel split, concat).
        stem_channels: output channels of the first 3×3 convolution.
        stage_channels: output channels of each stage.
        first_mid_channels: channels of the depthwise convolution in the main branch of each stage's first unit.
        mid_channels: the same in its other units.
        projection_channels: channels that the other branch of each stage's first unit ends with. In V1 that branch
            is an average pool, so they are the stage's input channels.
        classes: rows of the classifier.
        head_channels: output channels of the last 1×1 convolution (V2 only, None in V1).
        repeats: units in each stage.
        groups: groups of V1's 1×1 convolutions (1 in V2). Stage 2's first reduction is never grouped.
        activation: ``swish`` is x·sigmoid(x).
        shuffle: which way a shuffle over g groups runs. ``interleave`` views the channels as [g, C/g] and transposes
            (the paper, torchvision, mmpretrain, Paddle, TensorFlow); ``deinterleave`` views them as [C/g, g]
            (Megvii), which is its inverse.
        shuffle_at: V2 only. ``unit_end``: after every unit's concat. ``unit_start``: before the split of every unit
            that has one, so that a stage ends in a plain concat (Megvii, TensorFlow).
        untouched_half: V2 only. Which half of the split goes around the convolutions; it keeps its place in the concat.
        padding: where a stride-2 window gets its border. ``symmetric``: one before and one after. ``same``: as
            TensorFlow does, nothing before and one after on even sizes.
        epsilon: added to the variance in every batch norm.
        classifier_bias: whether the classifier has a bias.
    """

    version: Literal[1, 2]
    stem_channels: int
    stage_channels: tuple[int, ...]
    first_mid_channels: tuple[int, ...]
    mid_channels: tuple[int, ...]
    projection_channels: tuple[int, ...]
    classes: int
    head_channels: int | None = None
    repeats: tuple[int, ...] = (4, 8, 4)
    groups: int = 1
    activation: Activation = "relu"
    shuffle: Shuffle = "interleave"
    shuffle_at: Literal["unit_end", "unit_start"] = "unit_end"
    untouched_half: Literal["first", "second"] = "first"
    padding: Padding = "symmetric"
    epsilon: float = 1e-5
    classifier_bias: bool = True


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, read and checked.

    Exactly one of ``architecture`` + ``weights`` (a framework's weights, under the names of ``edgekit.models``) and
    ``graph`` (an ONNX file's own graph at opset 18: one float32 NCHW input, scores out) is set.

    Attributes:
        path: the file that was read (for a TensorFlow checkpoint its ``.index``).
        sha256: of that file's bytes (for TensorFlow followed by its data files').
        family: ``torchvision``, ``megvii``, ``mmpretrain``, ``paddle``, ``tensorflow`` or ``onnx``.
        weights: float32 tensors, strict for ``models.build(architecture, weights)``.
        normalization: what the network expects of pixels.
        image: how the source framework resizes and crops for evaluation.
        labels: class names, where the file carries them.
        classes: number of scores that come out.
        quantized: the ONNX graph already computes in integers (QDQ or QOperator); take its numbers as they are.
        notes: what a person should know about how the file was read, one sentence each.
    """

    path: Path
    sha256: str
    family: str
    architecture: Architecture | None = None
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    graph: ir.Model | None = field(default=None, repr=False)
    normalization: Normalization = IMAGENET
    image: ImageContract = field(default_factory=ImageContract)
    labels: tuple[str, ...] | None = None
    classes: int = 0
    quantized: bool = False
    notes: tuple[str, ...] = ()
