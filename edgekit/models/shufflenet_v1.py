"""ShuffleNet V1 (Zhang et al., 2017, arXiv:1707.01083) with what the families do differently as options.

Input: float32 ``[N, 3, H, W]``, normalized (or not) as the family expects. Output: logits, float32 ``[N, classes]``.
Tensor names: ``conv1``, ``stage{2,3,4}.{unit}.{compress,depthwise,expand}``, ``fc``; ``.0`` is a convolution, ``.1``
its batch norm.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from edgekit.checkpoints.source import Architecture
from edgekit.models.layers import activation, channel_shuffle, conv, max_pool


class Unit(nn.Module):
    """1×1 grouped, shuffle, depthwise 3×3, 1×1 grouped; added to its input, or (stride 2) beside its average pool.

    The shuffle stands after the depthwise convolution, as in every published implementation; on its atoms that is the
    same as before it. The activation of a stride-2 unit comes before the concat: the pooled branch is not clipped
    (it is never negative with ReLU).
    """

    def __init__(self, spec: Architecture, inputs: int, mid: int, outputs: int, stride: int, compress: int) -> None:
        super().__init__()
        self.spec, self.stride = spec, stride
        convolved = outputs - inputs if stride == 2 else outputs
        self.compress = nn.Sequential(
            conv(inputs, mid, 1, groups=compress),
            nn.BatchNorm2d(mid, eps=spec.epsilon),
            activation(spec.activation),
        )
        self.depthwise = nn.Sequential(
            conv(mid, mid, 3, stride, groups=mid, padding=spec.padding), nn.BatchNorm2d(mid, eps=spec.epsilon)
        )
        self.expand = nn.Sequential(
            conv(mid, convolved, 1, groups=spec.groups), nn.BatchNorm2d(convolved, eps=spec.epsilon)
        )
        self.activation = activation(spec.activation)
        # Counting the border's zeros in the mean is torch's default, and what these networks were trained with.
        self.pool = nn.AvgPool2d(kernel_size=3, stride=2, padding=1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.compress(x))
        if self.spec.groups > 1:
            y = channel_shuffle(y, self.spec.groups, self.spec.shuffle)
        y = self.expand(y)
        if self.pool is None:
            return cast(Tensor, self.activation(x + y))
        return torch.cat((self.pool(x), self.activation(y)), dim=1)


class ShuffleNetV1(nn.Module):
    """The whole network; ``spec.version`` must be 1."""

    def __init__(self, spec: Architecture) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            conv(3, spec.stem_channels, 3, 2, padding=spec.padding),
            nn.BatchNorm2d(spec.stem_channels, eps=spec.epsilon),
            activation(spec.activation),
        )
        self.maxpool = max_pool(spec.padding)
        channels = spec.stem_channels
        self.stages: list[str] = []
        for index, outputs in enumerate(spec.stage_channels):
            compress = spec.groups if index else 1  # the first reduction has too few channels to group
            units = [Unit(spec, channels, spec.first_mid_channels[index], outputs, 2, compress)]
            mid = spec.mid_channels[index]
            units += [Unit(spec, outputs, mid, outputs, 1, spec.groups) for _ in range(spec.repeats[index] - 1)]
            self.stages.append(f"stage{index + 2}")
            self.add_module(self.stages[-1], nn.Sequential(*units))
            channels = outputs
        self.fc = nn.Linear(channels, spec.classes, bias=spec.classifier_bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return cast(Tensor, self.fc(x.mean((2, 3))))  # global average pooling
