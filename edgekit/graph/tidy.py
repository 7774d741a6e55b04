"""Small exact rewrites that leave each layer in its plainest form.

Rules
1. Padding that no window reaches is dropped: on an even picture, a 3×3 window at stride 2 padded by 1 on all sides
   reads only the first row and column of it.
2. An average pool that counts its padding is a depthwise convolution with weights 1/k².
3. Relu of what cannot be negative is nothing.
4. A 1×1 convolution after the global pool is a fully connected layer.
Refuses (GraphError) a maximum over explicit zeros where inputs may be negative: no runtime's pooling computes that.
"""

from __future__ import annotations

import numpy as np

from edgekit.errors import GraphError
from edgekit.graph.network import Layer, Network, prune, redirect


def tidy(network: Network) -> Network:
    """Applies the module's rules to every layer, in order.

    Raises:
        GraphError: see the module.
    """
    sure = network.non_negative()
    for index, layer in enumerate(network.layers):
        source = int(layer.inputs[0][0, 0]) if layer.inputs else -1
        if layer.kind in ("conv", "maxpool", "avgpool"):
            _trim(layer, network.layers[source])
        if layer.kind == "maxpool" and any(layer.pads) and layer.pad_value == 0.0:
            if not all(sure[int(s)] for s in np.unique(layer.inputs[0][:, 0])):
                raise GraphError(f"MaxPool '{layer.name}' takes a maximum over zeros and values that may be negative")
            layer.pad_value = -np.inf
        if layer.kind == "avgpool" and layer.count_pads and any(layer.pads):
            area = layer.kernel[0] * layer.kernel[1]
            layer.kind, layer.groups = "conv", layer.channels
            layer.weight = np.full((layer.channels, 1, *layer.kernel), 1.0 / area)
            layer.bias = np.zeros(layer.channels)
        if layer.kind == "relu" and sure[source]:
            redirect(network, index, source)
        if layer.kind == "conv" and layer.groups == 1 and layer.kernel == (1, 1) and not any(layer.pads):
            sources = {network.layers[int(s)].kind for s in np.unique(layer.inputs[0][:, 0])}
            if sources <= {"gap", "gemm"}:
                layer.kind = "gemm"
                layer.weight = layer.parameters[0][:, :, 0, 0]
    return prune(network)


def _trim(layer: Layer, source: Layer) -> None:
    top, left, bottom, right = layer.pads
    reach = [
        (out - 1) * stride + kernel - size - before
        for out, stride, kernel, size, before in zip(
            (layer.height, layer.width),
            layer.strides,
            layer.kernel,
            (source.height, source.width),
            (top, left),
            strict=True,
        )
    ]
    layer.pads = (top, left, min(bottom, max(reach[0], 0)), min(right, max(reach[1], 0)))
