"""A batch-1 graph → the same graph for any batch size N.

Everything in a lowered or quantized graph works on each picture alone and no operator names the batch, so only the
declared shapes change.
"""

from __future__ import annotations

import onnx_ir as ir


def dynamic_batch(model: ir.Model) -> ir.Model:
    """A copy of ``model`` whose input, output and activations have the symbolic batch ``N``."""
    model = model.clone()
    constants = set(model.graph.initializers.values())
    fixed = {v for node in model.graph for v in node.outputs if all(i in constants for i in node.inputs)}
    for value in [model.graph.inputs[0], *(v for node in model.graph for v in node.outputs)]:
        if value.shape is not None and len(value.shape) > 1 and value not in fixed and value.shape[0] == 1:
            value.shape = ir.Shape(["N", *list(value.shape)[1:]])
    return model
