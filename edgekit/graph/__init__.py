"""Float graphs: export, and lowering to a graph without channel shuffles.

    model = export(checkpoint)                                     # ONNX as the source framework computes it
    lowered = lower(model, checkpoint.normalization, checkpoint.image)   # uint8 RGB in, no shuffles, proven equal
    dynamic_batch(lowered.model)                                   # the same for any batch size N

The lowered graph has batch 1 and this vocabulary: Transpose → Cast → [Sub] at the front; Conv, Relu, Clip, HardSwish,
Sigmoid, Mul, MaxPool, AveragePool, Add; Split and Concat on the channel axis; GlobalAveragePool → Flatten → Gemm →
[Softmax] at the end.
"""

from edgekit.graph.batch import dynamic_batch
from edgekit.graph.export import export
from edgekit.graph.lower import Lowered, lower

__all__ = ["Lowered", "dynamic_batch", "export", "lower"]
