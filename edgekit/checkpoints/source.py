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


@dataclass(frozen=True)
class Architecture:
    """Everything that tells one ShuffleNet from another; the torch reference is built from this alone.

    Channel counts are those of the tensors in the file, never of a named width. ``stage_channels`` are the output
    channels of stages 2, 3 and 4; ``head_channels`` the last 1×1 convolution's (V2 only, None in V1).
    """

    version: Literal[1, 2]
    stem_channels: int
    stage_channels: tuple[int, ...]
    classes: int
    head_channels: int | None = None
    repeats: tuple[int, ...] = (4, 8, 4)
    groups: int = 1
    activation: Literal["relu", "swish"] = "relu"
    # Where the families differ; each value is explained in edgekit/models.
    variant: str = "torchvision"
    padding: Literal["symmetric", "same"] = "symmetric"
    epsilon: float = 1e-5
    classifier_bias: bool = True


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, read and checked.

    Exactly one of ``architecture`` + ``weights`` (a framework's weights, under the names of ``edgekit.models``) and
    ``graph`` (an ONNX file's own float graph: one float32 NCHW input, scores out) is set.
    """

    path: Path
    sha256: str
    family: str
    architecture: Architecture | None = None
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    graph: ir.Model | None = field(default=None, repr=False)
    normalization: Normalization = IMAGENET
    image: ImageContract = ImageContract()
    labels: tuple[str, ...] | None = None
    classes: int = 0
