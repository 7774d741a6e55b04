"""ShuffleNet V2 (Ma et al., 2018, arXiv:1807.11164) with what the families do differently as options.

Input: float32 ``[N, 3, H, W]``, normalized as the family expects. Output: logits, float32 ``[N, classes]``.
Tensor names are torchvision's: ``conv1``, ``stage{2,3,4}.{unit}.branch{1,2}``, ``conv5``, ``fc``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgekit.checkpoints.source import Architecture
from edgekit.models.layers import activation, channel_shuffle, conv, max_pool


class DownUnit(nn.Module):
    """A stage's first unit: both branches see all the input and halve its height and width.

    ``branch1`` (depthwise 3×3, 1×1) comes first in the concat, ``branch2`` (1×1, depthwise 3×3, 1×1) second.
    """

    def __init__(self, spec: Architecture, inputs: int, mid: int, projection: int, outputs: int) -> None:
        super().__init__()
        self.spec = spec

        def norm(channels: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(channels, eps=spec.epsilon)

        self.branch1 = nn.Sequential(
            conv(inputs, inputs, 3, 2, groups=inputs, padding=spec.padding),
            norm(inputs),
            conv(inputs, projection, 1),
            norm(projection),
            activation(spec.activation),
        )
        self.branch2 = nn.Sequential(
            conv(inputs, mid, 1),
            norm(mid),
            activation(spec.activation),
            conv(mid, mid, 3, 2, groups=mid, padding=spec.padding),
            norm(mid),
            conv(mid, outputs - projection, 1),
            norm(outputs - projection),
            activation(spec.activation),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = torch.cat((self.branch1(x), self.branch2(x)), dim=1)
        return channel_shuffle(out, 2, self.spec.shuffle) if self.spec.shuffle_at == "unit_end" else out


class Unit(nn.Module):
    """Every other unit: one half of the channels passes untouched, the other goes through ``branch2``."""

    def __init__(self, spec: Architecture, channels: int, mid: int) -> None:
        super().__init__()
        self.spec = spec
        half = channels // 2
        self.branch2 = nn.Sequential(
            conv(half, mid, 1),
            nn.BatchNorm2d(mid, eps=spec.epsilon),
            activation(spec.activation),
            conv(mid, mid, 3, groups=mid),
            nn.BatchNorm2d(mid, eps=spec.epsilon),
            conv(mid, half, 1),
            nn.BatchNorm2d(half, eps=spec.epsilon),
            activation(spec.activation),
        )

    def forward(self, x: Tensor) -> Tensor:
        spec = self.spec
        if spec.shuffle_at == "unit_start":
            x = channel_shuffle(x, 2, spec.shuffle)
        first, second = x.chunk(2, dim=1)
        if spec.untouched_half == "first":
            out = torch.cat((first, self.branch2(second)), dim=1)
        else:
            out = torch.cat((self.branch2(first), second), dim=1)
        return channel_shuffle(out, 2, spec.shuffle) if spec.shuffle_at == "unit_end" else out


class ShuffleNetV2(nn.Module):
    """The whole network; ``spec.version`` must be 2 and every entry of ``spec.stage_channels`` even."""

    def __init__(self, spec: Architecture) -> None:
        super().__init__()
        if spec.head_channels is None:
            raise ValueError("ShuffleNet V2 needs head_channels")
        self.conv1 = nn.Sequential(
            conv(3, spec.stem_channels, 3, 2, padding=spec.padding),
            nn.BatchNorm2d(spec.stem_channels, eps=spec.epsilon),
            activation(spec.activation),
        )
        self.maxpool = max_pool(spec.padding)
        channels = spec.stem_channels
        self.stages: list[str] = []
        for index, outputs in enumerate(spec.stage_channels):
            down = DownUnit(spec, channels, spec.first_mid_channels[index], spec.projection_channels[index], outputs)
            units = [Unit(spec, outputs, spec.mid_channels[index]) for _ in range(spec.repeats[index] - 1)]
            self.stages.append(f"stage{index + 2}")
            self.add_module(self.stages[-1], nn.Sequential(down, *units))
            channels = outputs
        self.conv5 = nn.Sequential(
            conv(channels, spec.head_channels, 1),
            nn.BatchNorm2d(spec.head_channels, eps=spec.epsilon),
            activation(spec.activation),
        )
        self.fc = nn.Linear(spec.head_channels, spec.classes, bias=spec.classifier_bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(x))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        scores: Tensor = self.fc(self.conv5(x).mean((2, 3)))  # global average pooling
        return scores
