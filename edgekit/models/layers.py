"""The pieces that both ShuffleNets are made of, with the families' differences as arguments.

All tensors are float32 ``[N, C, H, W]``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from edgekit.checkpoints.source import Activation, Padding, Shuffle


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME border (before, after) along one axis of ``size`` pixels.

    The output has ``ceil(size / stride)`` pixels and an odd border's extra pixel goes after: see "Notes on padding" in
    the documentation of ``tf.nn``.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    """Pads height and width for SAME; returns ``x`` itself where no border is needed."""
    top, bottom = same_padding(x.shape[2], kernel, stride)
    left, right = same_padding(x.shape[3], kernel, stride)
    return F.pad(x, (left, right, top, bottom), value=value) if top + bottom + left + right else x


class SameConv2d(nn.Conv2d):
    """A convolution whose border follows SAME: it depends on the size of the input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad_same(x, self.kernel_size[0], self.stride[0], 0.0))


class SameMaxPool2d(nn.MaxPool2d):
    """3×3 max pooling with stride 2 whose border follows SAME and never wins."""

    def __init__(self) -> None:
        super().__init__(kernel_size=3, stride=2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = super().forward(pad_same(x, 3, 2, float("-inf")))
        return pooled


def conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, padding: Padding = "symmetric"
) -> nn.Conv2d:
    """A convolution without bias; the border matters for kernels above 1×1 with stride 2 only."""
    if padding == "same" and stride > 1:
        return SameConv2d(inputs, outputs, kernel, stride, padding=0, groups=groups, bias=False)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def max_pool(padding: Padding) -> nn.MaxPool2d:
    """3×3 with stride 2, as both stems have it."""
    return SameMaxPool2d() if padding == "same" else nn.MaxPool2d(kernel_size=3, stride=2, padding=1)


def activation(kind: Activation) -> nn.Module:
    return nn.SiLU() if kind == "swish" else nn.ReLU()


def channel_shuffle(x: Tensor, groups: int, direction: Shuffle) -> Tensor:
    """Renames channels; ``direction`` is explained at ``Architecture.shuffle``."""
    _, channels, height, width = x.shape
    rows = groups if direction == "interleave" else channels // groups
    split = x.reshape(-1, rows, channels // rows, height, width)
    return torch.transpose(split, 1, 2).reshape(-1, channels, height, width)
