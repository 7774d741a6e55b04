"""From an architecture and its weights to a torch module."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgekit.checkpoints.source import Architecture
from edgekit.errors import CheckpointError
from edgekit.models.shufflenet_v1 import ShuffleNetV1
from edgekit.models.shufflenet_v2 import ShuffleNetV2

MODULES: dict[int, type[ShuffleNetV1] | type[ShuffleNetV2]] = {1: ShuffleNetV1, 2: ShuffleNetV2}


def empty(architecture: Architecture) -> nn.Module:
    """The network with its parameters' shapes but no memory behind them (torch's ``meta`` device)."""
    with torch.device("meta"):
        return MODULES[architecture.version](architecture).eval()


def build(architecture: Architecture, weights: Mapping[str, Tensor]) -> nn.Module:
    """The reference network in evaluation mode.

    Args:
        architecture: what to build.
        weights: float32 tensors under the names of ``edgekit.models``; ``num_batches_tracked`` may be left out.

    Returns:
        A module from float32 ``[N, 3, H, W]``, normalized, to logits float32 ``[N, classes]``; any H and W of at least
        32. It owns its tensors.

    Raises:
        CheckpointError: a tensor is missing, too many or of another shape.
    """
    module = empty(architecture)
    state = {name: tensor.detach().clone() for name, tensor in weights.items()}
    for name, tensor in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.zeros((), dtype=tensor.dtype))
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"the weights do not fit the architecture: {error}") from error
    return module.requires_grad_(False).eval()
