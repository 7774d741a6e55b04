"""Second moments of what a layer reads."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

from edgekit.quantize.interpreter import pads, strides
from edgekit.quantize.network import Op

# Output positions looked at per layer. Neighbouring pixels say nearly the same; this many in all are plenty for the
# largest layer (about a thousand inputs) and keep a layer's moments to a fraction of a second.
POSITIONS = 20_000


def measure(op: Op, inputs: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Centred second moments of the patches that the layer multiplies with its weights: float64 ``[G, I, I]``.

    Args:
        op: Conv or Gemm; G is its groups and I the inputs of one output (``I/g × kh × kw``).
        inputs: what the layer reads, real numbers, float32 ``[N, C, H, W]`` or ``[N, C]``.
        height, width: of the layer's output; a regular grid of its positions is looked at.
    """
    x = inputs[None] if op.kind == "Gemm" else _patches(op, inputs, height, width)
    # The mean is taken off in float64's accuracy before multiplying in float32: that of pixels is large.
    x = x - x.mean(1, keepdim=True, dtype=torch.float64).to(torch.float32)
    return (x.transpose(1, 2) @ x).to(torch.float64) / x.shape[1]


def _patches(op: Op, inputs: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """``[G, positions, I]``."""
    batch, channels = inputs.shape[:2]
    step = grid_step(batch, height, width)
    # Start in the middle of the first cell, so that borders get the share that they have.
    rows = torch.arange(step // 2, height, step)
    columns = torch.arange(step // 2, width, step)
    around = pads(op)
    padded = F.pad(inputs, around) if any(around) else inputs
    down, across = strides(op)
    kernel_height, kernel_width = op.weight.shape[2:]
    taps = [
        padded[:, :, (rows * down + i)[:, None], (columns * across + j)[None, :]]
        for i in range(kernel_height)
        for j in range(kernel_width)
    ]
    each = channels // op.group * len(taps)
    patches = torch.stack(taps, 2)  # [N, C, kh*kw, rows, columns]
    return patches.reshape(batch, op.group, each, -1).permute(1, 0, 3, 2).reshape(op.group, -1, each)


def grid_step(batch: int, height: int, width: int) -> int:
    """The grid's step that leaves about :data:`POSITIONS` output positions over the batch."""
    step = 1
    while batch * -(-height // (step + 1)) * -(-width // (step + 1)) >= POSITIONS:
        step += 1
    return step
