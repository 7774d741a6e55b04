"""The float graph of any framework → the graph that edgekit quantizes and emits. Reads as the list of its rewrites."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from edgekit.contracts import ImageContract, Normalization
from edgekit.graph.align import align
from edgekit.graph.fold_affine import fold_affine
from edgekit.graph.front import fold_normalization
from edgekit.graph.network import Network, prune
from edgekit.graph.rebuild import rebuild
from edgekit.graph.tidy import tidy
from edgekit.graph.trace import trace


@dataclass(frozen=True)
class Lowered:
    """A shuffle-free float graph.

    ``model`` has one input: ``image`` uint8 ``[1, H, W, 3]`` RGB, or ``input`` float32 ``[1, 3, H, W]`` where
    normalization was left to the caller; and one output ``scores`` float32 ``[1, classes]``.
    """

    model: ir.Model
    classes: int
    output: Literal["logits", "probabilities"]
    before: dict[str, int]  # operators of the source graph, by count
    after: dict[str, int]
    dropped_softmax: bool = False
    notes: tuple[str, ...] = ()


def lower(
    model: ir.Model,
    normalization: Normalization | None,
    image: ImageContract,
    *,
    softmax: Literal["keep", "drop"] = "drop",
) -> Lowered:
    """Rewrites ``model`` without channel shuffles, batch norms or padding operators; exact in real numbers.

    Args:
        model: float32 NCHW picture in, scores out; left as it was.
        normalization: what the network expects of pixels, folded into its first convolution; None keeps the network's
            own float input.
        image: the picture's size where the graph leaves it open.
        softmax: whether a softmax at the end stays; scores without it are logits, which keep more in 8 bits.

    Raises:
        GraphError: the graph holds something that cannot be lowered; the message names the node.
    """
    network = trace(model, image.height, image.width)
    network = prune(network)
    network, output, dropped = _softmax(network, keep=softmax == "keep")
    network = fold_affine(network)
    if normalization is not None:
        network = fold_normalization(network, normalization)
        network = fold_affine(network)
    network = tidy(network)
    network = align(network)
    lowered = rebuild(network, pixels=normalization is not None)
    return Lowered(
        model=lowered,
        classes=len(network.output),
        output=output,
        before=census(model),
        after=census(lowered),
        dropped_softmax=dropped,
        notes=tuple(network.notes),
    )


def _softmax(network: Network, *, keep: bool) -> tuple[Network, Literal["logits", "probabilities"], bool]:
    """The network without a softmax at its end if that may go, what its scores then are, and whether it went."""
    index = int(network.output[0, 0])
    layer = network.layers[index]
    if layer.kind != "softmax":
        return network, "logits", False
    if keep or np.any(network.output[:, 0] != index):
        return network, "probabilities", False
    network.output = layer.inputs[0][network.output[:, 1]]
    network.notes.append("the softmax at the end was dropped: scores are logits")
    return prune(network), "logits", True


def census(model: ir.Model) -> dict[str, int]:
    """Operators of a graph by count, most frequent first."""
    return dict(Counter(node.op_type for node in model.graph).most_common())
