"""The values that translation into TFLite passes around."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from edgekit.emit.reading import DEQUANTIZE, Quantization, quantization_of, sole_user

# uint8 numbers of the QDQ graph minus this are TFLite's int8 numbers.
OFFSET = 128
# LiteRT's int8 LOGISTIC and SOFTMAX accept no other output.
UNIT = Quantization(np.array([1 / 256], np.float32), -OFFSET)
# Largest int8 number; also the largest weight, as weights are symmetric.
INT8_MAX = 127


@dataclass(frozen=True)
class Tuning:
    """Choices that change speed and nothing else; the defaults are what measured best (see docs/speed-log.md)."""

    stride2: Literal["grow", "pad"] = "pad"
    split: Literal["slice", "strided_slice", "split_v"] = "strided_slice"
    classifier: Literal["conv", "fc"] = "conv"
    pixels: Literal["through_float", "quantize"] = "through_float"
    pair_columns: bool = True
    half_turn: bool = True


@dataclass(frozen=True)
class Tensor:
    """One TFLite tensor: its index, and its numbers' quantization (None for float32)."""

    index: int
    shape: tuple[int, ...]
    quantization: Quantization | None

    @property
    def integer(self) -> bool:
        return self.quantization is not None


@dataclass(frozen=True)
class Step:
    """A node about to be written: whether on integers, what it makes, and the activation inside its kernel."""

    node: ir.Node
    integer: bool
    results: list[ir.Value]
    activation: int


def pixel_quantization(image: ir.Value) -> Quantization:
    """What the graph says a pixel is worth: of its DequantizeLinear, or 1 and 0 where a Cast reads it."""
    value = image
    while (node := sole_user(value)) is not None:
        if node.op_type == DEQUANTIZE:
            return quantization_of(node)
        if node.op_type != "Transpose":
            break
        value = node.outputs[0]
    return Quantization(np.ones(1, np.float32), 0)


def stored(q: Quantization) -> Quantization:
    """The graph's uint8 quantization as TFLite's int8 one."""
    return q.shifted(-OFFSET)


def nhwc(shape: list[int]) -> list[int]:
    return [shape[0], shape[2], shape[3], shape[1]] if len(shape) == 4 else shape
