"""The TFLite operators that edgekit writes: their versions, options and weight layouts.

Versions and releases follow TensorFlow's ``op_version.cc`` and ``runtime_version.cc``: the lowest version whose
kernel accepts these types, and the first release that has it.
"""

from __future__ import annotations

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from edgekit.emit.flatbuffer import OperatorVersion

_OP = schema.BuiltinOperator
_OPTIONS = schema.BuiltinOptions

NONE = schema.ActivationFunctionType.NONE
RELU = schema.ActivationFunctionType.RELU
RELU_N1_TO_1 = schema.ActivationFunctionType.RELU_N1_TO_1
RELU6 = schema.ActivationFunctionType.RELU6
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID

# name: (code, float (version, release), int8 (version, release))
_VERSIONS: dict[str, tuple[int, tuple[int, tuple[int, int, int]], tuple[int, tuple[int, int, int]]]] = {
    "CONV_2D": (_OP.CONV_2D, (1, (1, 5, 0)), (3, (1, 14, 0))),
    "CONV_2D grouped": (_OP.CONV_2D, (6, (2, 9, 0)), (6, (2, 9, 0))),
    "DEPTHWISE_CONV_2D": (_OP.DEPTHWISE_CONV_2D, (1, (1, 5, 0)), (3, (1, 14, 0))),
    "MAX_POOL_2D": (_OP.MAX_POOL_2D, (1, (1, 5, 0)), (2, (1, 14, 0))),
    "AVERAGE_POOL_2D": (_OP.AVERAGE_POOL_2D, (1, (1, 5, 0)), (2, (1, 14, 0))),
    "MEAN": (_OP.MEAN, (1, (1, 6, 0)), (2, (1, 14, 0))),
    "CONCATENATION": (_OP.CONCATENATION, (1, (1, 5, 0)), (2, (1, 14, 0))),
    "SLICE": (_OP.SLICE, (1, (1, 14, 0)), (2, (1, 14, 0))),
    "STRIDED_SLICE": (_OP.STRIDED_SLICE, (1, (1, 6, 0)), (2, (1, 14, 0))),
    "SPLIT_V": (_OP.SPLIT_V, (1, (1, 13, 1)), (2, (2, 3, 0))),
    "PAD": (_OP.PAD, (1, (1, 5, 0)), (2, (1, 14, 0))),
    "PADV2": (_OP.PADV2, (1, (1, 9, 0)), (2, (1, 14, 0))),
    "ADD": (_OP.ADD, (1, (1, 5, 0)), (2, (1, 14, 0))),
    "SUB": (_OP.SUB, (1, (1, 6, 0)), (2, (1, 14, 0))),
    "MUL": (_OP.MUL, (1, (1, 5, 0)), (2, (1, 14, 0))),
    "RELU": (_OP.RELU, (1, (1, 5, 0)), (2, (1, 14, 0))),
    "RELU6": (_OP.RELU6, (1, (1, 5, 0)), (2, (1, 14, 0))),
    "RELU_N1_TO_1": (_OP.RELU_N1_TO_1, (1, (1, 5, 0)), (1, (1, 5, 0))),
    "LOGISTIC": (_OP.LOGISTIC, (1, (1, 14, 0)), (2, (1, 14, 0))),
    "HARD_SWISH": (_OP.HARD_SWISH, (1, (1, 15, 0)), (1, (1, 15, 0))),
    "SOFTMAX": (_OP.SOFTMAX, (1, (1, 5, 0)), (2, (1, 14, 0))),
    "FULLY_CONNECTED": (_OP.FULLY_CONNECTED, (1, (1, 5, 0)), (4, (1, 14, 0))),
    "RESHAPE": (_OP.RESHAPE, (1, (1, 5, 0)), (1, (1, 5, 0))),
    "REVERSE_V2": (_OP.REVERSE_V2, (1, (1, 14, 0)), (1, (1, 14, 0))),
    "QUANTIZE": (_OP.QUANTIZE, (1, (1, 14, 0)), (2, (1, 15, 0))),
    "DEQUANTIZE": (_OP.DEQUANTIZE, (1, (1, 13, 1)), (2, (1, 14, 0))),
    "DEQUANTIZE float16": (_OP.DEQUANTIZE, (3, (2, 1, 0)), (3, (2, 1, 0))),
}


def version(name: str, integer: bool) -> OperatorVersion:
    """An operator for float32 tensors, or for int8 ones. ``DEQUANTIZE`` counts by its input, ``QUANTIZE`` likewise."""
    code, real, quantized = _VERSIONS[name]
    number, release = quantized if integer else real
    return OperatorVersion(code, number, release)


def conv(stride: tuple[int, int], padding: int, activation: int) -> tuple[int, Any]:
    o = schema.Conv2DOptionsT()
    o.strideH, o.strideW = stride
    o.dilationHFactor = o.dilationWFactor = 1
    o.padding, o.fusedActivationFunction = padding, activation
    return _OPTIONS.Conv2DOptions, o


def depthwise(stride: tuple[int, int], padding: int, activation: int, multiplier: int) -> tuple[int, Any]:
    o = schema.DepthwiseConv2DOptionsT()
    o.strideH, o.strideW = stride
    o.dilationHFactor = o.dilationWFactor = 1
    o.depthMultiplier = multiplier
    o.padding, o.fusedActivationFunction = padding, activation
    return _OPTIONS.DepthwiseConv2DOptions, o


def pool(kernel: tuple[int, int], stride: tuple[int, int], padding: int) -> tuple[int, Any]:
    o = schema.Pool2DOptionsT()
    o.filterHeight, o.filterWidth = kernel
    o.strideH, o.strideW = stride
    o.padding = padding
    return _OPTIONS.Pool2DOptions, o


def concatenation(axis: int) -> tuple[int, Any]:
    o = schema.ConcatenationOptionsT()
    o.axis = axis
    return _OPTIONS.ConcatenationOptions, o


def add(activation: int) -> tuple[int, Any]:
    o = schema.AddOptionsT()
    o.fusedActivationFunction = activation
    return _OPTIONS.AddOptions, o


def sub() -> tuple[int, Any]:
    return _OPTIONS.SubOptions, schema.SubOptionsT()


def mul() -> tuple[int, Any]:
    return _OPTIONS.MulOptions, schema.MulOptionsT()


def mean() -> tuple[int, Any]:
    o = schema.ReducerOptionsT()
    o.keepDims = True
    return _OPTIONS.ReducerOptions, o


def split_v(parts: int) -> tuple[int, Any]:
    o = schema.SplitVOptionsT()
    o.numSplits = parts
    return _OPTIONS.SplitVOptions, o


def strided_slice(mask: int) -> tuple[int, Any]:
    o = schema.StridedSliceOptionsT()
    o.beginMask = o.endMask = mask
    return _OPTIONS.StridedSliceOptions, o


def slice_() -> tuple[int, Any]:
    return _OPTIONS.SliceOptions, schema.SliceOptionsT()


def pad() -> tuple[int, Any]:
    return _OPTIONS.PadOptions, schema.PadOptionsT()


def padv2() -> tuple[int, Any]:
    return _OPTIONS.PadV2Options, schema.PadV2OptionsT()


def fully_connected() -> tuple[int, Any]:
    return _OPTIONS.FullyConnectedOptions, schema.FullyConnectedOptionsT()


def reshape(shape: list[int]) -> tuple[int, Any]:
    o = schema.ReshapeOptionsT()
    o.newShape = shape
    return _OPTIONS.ReshapeOptions, o


def softmax() -> tuple[int, Any]:
    o = schema.SoftmaxOptionsT()
    o.beta = 1.0
    return _OPTIONS.SoftmaxOptions, o


def reverse() -> tuple[int, Any]:
    return _OPTIONS.ReverseV2Options, schema.ReverseV2OptionsT()


def hard_swish() -> tuple[int, Any]:
    return _OPTIONS.HardSwishOptions, schema.HardSwishOptionsT()


def quantize() -> tuple[int, Any]:
    return _OPTIONS.QuantizeOptions, schema.QuantizeOptionsT()


def dequantize() -> tuple[int, Any]:
    return _OPTIONS.DequantizeOptions, schema.DequantizeOptionsT()
