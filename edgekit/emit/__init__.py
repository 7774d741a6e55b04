"""Model files: one lowered or quantized graph in, the bytes of a file out. Nothing here touches the disk.

    from edgekit import emit

    meta = emit.ModelMeta(name="ShuffleNet V2 x1.0", labels=("cat", "dog"), image=checkpoint.image)
    content = emit.onnx(quantized.model, meta, "int8")      # uint8 [N, H, W, 3] in, uint8 scores out
    content = emit.tflite(quantized.model, meta, "int8")    # uint8 [1, H, W, 3] in, int8 scores out: the same - 128
    emit.onnx(lowered.model, meta, "fp32"), emit.tflite(lowered.model, meta, "fp16")  # float32 scores out
    emit.census(content)                                    # {"Conv": 56, …} of either format

Both files stand alone: they open in plain ONNX Runtime and plain LiteRT, take any batch (``resize_tensor_input`` in
TFLite), and carry ``edgekit.output_scale``, ``edgekit.output_zero_point``, ``edgekit.labels``, ``edgekit.image`` and
``edgekit.precision`` as text. The same graph gives the same bytes.
"""

from __future__ import annotations

import onnx_ir as ir

from edgekit.emit import onnx_model, tflite_model
from edgekit.emit.census import census
from edgekit.emit.meta import ModelMeta, Precision

__all__ = ["ModelMeta", "Precision", "census", "onnx", "tflite"]


def onnx(model: ir.Model, meta: ModelMeta, precision: Precision) -> bytes:
    """An ONNX file: opset 18, dynamic batch N, ``metadata_props`` from ``meta``.

    Args:
        model: a lowered float graph (``fp32``, ``fp16``) or a QDQ graph (``int8``), with batch 1 or N. Left as it was.
        meta: what the file says about itself.
        precision: ``fp16`` stores weights as float16 and computes in float32.

    Returns:
        the file. Input uint8 ``[N, H, W, 3]`` RGB (a graph with a float input keeps it: float32 ``[N, 3, H, W]``);
        output ``scores`` float32, or uint8 for ``int8``, ``[N, classes]``.
    """
    return onnx_model.write(model, meta, precision)


def tflite(model: ir.Model, meta: ModelMeta, precision: Precision) -> bytes:
    """A TFLite file, channels last, with one signature ``serving_default``.

    Args:
        model: a lowered float graph (``fp32``, ``fp16``) or a QDQ graph (``int8``), with batch 1 or N. Left as it was.
        meta: what the file says about itself; labels also go into a ``labels.txt`` zipped behind the model.
        precision: ``fp16`` stores weights as float16 and asks XNNPACK to compute in half precision where the core can.

    Returns:
        the file. Input uint8 ``[1, H, W, 3]`` RGB (a graph with a float input: float32 ``[1, H, W, 3]``), resizable
        in its first dimension; output ``scores`` float32, or int8 for ``int8``, ``[1, classes]``. int8 numbers are
        those of the graph's uint8 minus 128, with the same scale.

    Raises:
        GraphError: a node outside the vocabulary, or one that TFLite cannot express; the message names it.
    """
    return tflite_model.write(model, meta, precision)
