"""Runs one operator of the lowered graph in torch: the float side of every calibration walk.

ONNX Runtime measures ranges faster, but it gives no gradients and cannot stop between two layers to change the
second one's weights. These few lines can, and agree with it to float rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from edgekit.quantize.network import Network, Op

Images = NDArray[np.uint8]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Runs torch with ``count`` threads, and gives back what was set before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pads(op: Op) -> tuple[int, int, int, int]:
    """(left, right, top, bottom), the order of ``torch.nn.functional.pad``; ONNX says top, left, bottom, right."""
    top, left, bottom, right = op.integers("pads", (0, 0, 0, 0))
    return left, right, top, bottom


def strides(op: Op) -> tuple[int, int]:
    down, across = op.integers("strides", (1, 1))
    return down, across


def convolve(
    op: Op, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, fill: float = 0.0
) -> torch.Tensor:
    """The layer ``op`` (Conv or Gemm) on ``x`` with other weights; ``fill`` is the value of padded pixels."""
    if op.kind == "Gemm":
        return F.linear(x, weight, bias)
    around = pads(op)
    if fill == 0.0 and around[0] == around[1] and around[2] == around[3]:
        return F.conv2d(x, weight, bias, strides(op), (around[2], around[0]), 1, op.group)
    if any(around):
        x = F.pad(x, around, value=fill)
    return F.conv2d(x, weight, bias, strides(op), 0, 1, op.group)


def evaluate(op: Op, inputs: Sequence[torch.Tensor], batch: int) -> list[torch.Tensor]:
    """What ``op`` computes from its activation inputs, float32 ``[batch, …]`` each (the image: uint8 NHWC)."""
    if op.kind in ("Conv", "Gemm"):
        return [convolve(op, inputs[0], torch.from_numpy(op.weight), torch.from_numpy(op.bias))]
    if op.kind == "Relu":
        return [torch.relu(inputs[0])]
    if op.kind == "Clip":
        low, high = clip_bounds(op)
        return [torch.clamp(inputs[0], low, high)]
    if op.kind == "Concat":
        operands = iter(inputs)
        parts = [
            torch.from_numpy(np.asarray(op.constants[name], dtype=np.float32)).expand(batch, -1, -1, -1)
            if name in op.constants
            else next(operands)
            for name in op.operands
        ]
        return [torch.cat(parts, op.integer("axis", 1))]
    if op.kind == "Expand":
        return [torch.from_numpy(np.asarray(op.constants["border0"], dtype=np.float32)).expand(batch, -1, -1, -1)]
    if op.kind == "Split":
        sizes = [int(size) for size in op.constants["split"]]
        return list(torch.split(inputs[0], sizes, 1))
    return [_PLAIN[op.kind](op, *inputs)]


def clip_bounds(op: Op) -> tuple[float, float]:
    """(min, max) of a Clip; infinite where it has none."""
    low = float(op.constants["min"]) if "min" in op.constants else -np.inf
    high = float(op.constants["max"]) if "max" in op.constants else np.inf
    return low, high


def _max_pool(op: Op, x: torch.Tensor) -> torch.Tensor:
    padded = F.pad(x, pads(op), value=-torch.inf) if any(pads(op)) else x
    return F.max_pool2d(padded, op.integers("kernel_shape", ()), strides(op))


def _average_pool(op: Op, x: torch.Tensor) -> torch.Tensor:
    kernel = op.integers("kernel_shape", ())
    around = pads(op)
    padded = F.pad(x, around) if any(around) else x
    mean = F.avg_pool2d(padded, kernel, strides(op))
    if any(around) and not op.integer("count_include_pad", 0):
        ones = F.pad(torch.ones_like(x[:1, :1]), around)
        mean = mean / F.avg_pool2d(ones, kernel, strides(op))
    return mean


_PLAIN: dict[str, Callable[..., torch.Tensor]] = {
    "Transpose": lambda op, x: x.permute(*op.integers("perm", (0, 3, 1, 2))),
    "Cast": lambda op, x: x.to(torch.float32) - op.gray,
    "HardSwish": lambda op, x: F.hardswish(x),
    "Sigmoid": lambda op, x: torch.sigmoid(x),
    "Mul": lambda op, x, y: x * y,
    "Add": lambda op, x, y: x + y,
    "GlobalAveragePool": lambda op, x: x.mean((2, 3), keepdim=True),
    "Flatten": lambda op, x: x.flatten(1),
    "Softmax": lambda op, x: torch.softmax(x, -1),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
}


def last_uses(network: Network) -> dict[str, set[str]]:
    """For each op's name, the values that nothing needs after it: what a walk may forget."""
    last: dict[str, str] = {}
    for op in network.ops:
        for name in (*op.outputs, *op.inputs):
            last[name] = op.name
    last.pop(network.output, None)
    forget: dict[str, set[str]] = {}
    for name, op_name in last.items():
        forget.setdefault(op_name, set()).add(name)
    return forget


def walk(network: Network, images: Images) -> Iterator[tuple[Op, list[torch.Tensor], list[torch.Tensor]]]:
    """Runs ``images`` (uint8 ``[N, H, W, 3]``) through the float graph, yielding (op, its inputs, its outputs).

    Values are dropped after their last use, so memory is that of the widest point of the network.
    """
    values = {network.input: torch.from_numpy(np.ascontiguousarray(images))}
    forget = last_uses(network)
    for op in network.ops:
        inputs = [values[name] for name in op.inputs]
        outputs = evaluate(op, inputs, len(images))
        yield op, inputs, outputs
        values.update(zip(op.outputs, outputs, strict=True))
        for name in forget.get(op.name, ()):
            values.pop(name, None)


def forward(network: Network, images: Images) -> torch.Tensor:
    """The float scores of ``images``, float32 ``[N, classes]``."""
    scores = torch.empty(0)
    with torch.no_grad():
        for op, _, outputs in walk(network, images):
            if network.output in op.outputs:
                scores = outputs[op.outputs.index(network.output)]
    return scores
