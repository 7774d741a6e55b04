"""int8 that keeps its accuracy: calibration, rounding and correction of a lowered float graph.

    from edgekit.quantize import Ranges, Scheme, calibrate, for_isa, quantize

    scheme = for_isa(Scheme(), machine="aarch64", vnni=False)
    ranges = calibrate(lowered.model, images, scheme)             # images: uint8 [N, H, W, 3] RGB
    quantized = quantize(lowered.model, ranges, scheme, images)   # quantized.model: the QDQ ir.Model
    quantized.errors                                              # what each layer loses, in dB, and why
    quantized.output.scale, quantized.output.zero_point           # of the uint8 scores

``calibrate`` streams over the images in bounded memory; ``Ranges.to_json``/``from_json``/``load`` keep the table so
that a build repeats bit for bit. ``quantize`` needs the images again while ``scheme.needs_images`` (bias correction and
second-moment rounding look at layers' inputs); with those switched off, ranges alone are enough. Neither modifies the
float graph. ``keep_float`` finds the fewest layers to leave in float when int8 alone misses a gate, and
``shield_float_layers`` keeps ONNX Runtime from rounding those. ``images`` may be any object with ``len`` and slicing
that yields uint8 batches.
"""

from edgekit.quantize.affine import Affine
from edgekit.quantize.analysis import LayerError
from edgekit.quantize.quantizer import QuantizedGraph, calibrate, quantize
from edgekit.quantize.ranges import Ranges, TensorRange
from edgekit.quantize.scheme import PLAIN, Scheme, for_isa
from edgekit.quantize.sensitivity import Suspect, keep_float, rank
from edgekit.quantize.shield import shield_float_layers

__all__ = [
    "PLAIN",
    "Affine",
    "LayerError",
    "QuantizedGraph",
    "Ranges",
    "Scheme",
    "Suspect",
    "TensorRange",
    "calibrate",
    "for_isa",
    "keep_float",
    "quantize",
    "rank",
    "shield_float_layers",
]
