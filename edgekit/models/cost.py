"""What a network costs, counted layer by layer at a given input size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.checkpoints.source import Architecture
from edgekit.models.build import empty
from edgekit.models.shufflenet_v1 import Unit as ResidualUnit


@dataclass(frozen=True)
class Cost:
    """Costs of one picture.

    Attributes:
        params: trainable numbers: weights, biases, and batch norms' scale and shift.
        macs: multiply-accumulates of the convolutions and the classifier.
        flops: the figure of the published tables: ``macs``, two operations for every element that a batch norm
            scales, and the additions of residuals and average pools. It equals PaddleClas' table to four digits and
            mmpretrain's of V1.
    """

    params: int
    macs: int
    flops: int

    def to_dict(self) -> dict[str, int | float]:
        """Under the names of ``edgekit inspect``: ``flops`` are given in millions, as the tables do."""
        return {"params": self.params, "macs": self.macs, "mflops": round(self.flops / 1e6, 2)}


def cost(architecture: Architecture, height: int, width: int) -> Cost:
    """Counts a network on a picture of ``height`` × ``width`` pixels, without computing or allocating it."""
    network = empty(architecture)
    macs = flops = 0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal macs, flops
        if isinstance(module, nn.Conv2d):
            macs += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            macs += module.weight.numel()
        elif isinstance(module, nn.BatchNorm2d):
            flops += 2 * output.numel()
        elif isinstance(module, nn.AvgPool2d):
            flops += output.numel() * 9
        elif isinstance(module, ResidualUnit) and module.pool is None:
            flops += output.numel()

    def count_global_pool(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal flops
        flops += output.numel()

    for module in network.modules():
        module.register_forward_hook(count)
    last = "conv5" if architecture.version == 2 else f"stage{1 + len(architecture.repeats)}"
    network.get_submodule(last).register_forward_hook(count_global_pool)
    network(torch.empty(1, 3, height, width, device="meta"))
    return Cost(sum(parameter.numel() for parameter in network.parameters()), macs, macs + flops)
