"""Checkpoint → float ONNX graph, as the source framework would compute it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import onnx_ir as ir

from edgekit.checkpoints.source import Checkpoint
from edgekit.errors import GraphError

log = logging.getLogger(__name__)


def export(checkpoint: Checkpoint) -> ir.Model:
    """The checkpoint's network as an ONNX graph: float32 normalized ``[1, 3, H, W]`` in, scores ``[1, classes]`` out.

    A torch network goes through torch's own exporter; a checkpoint that is an ONNX file is returned as it was read.

    Raises:
        GraphError: the exporter refused the network.
    """
    if checkpoint.graph is not None:
        return checkpoint.graph
    if checkpoint.architecture is None:
        raise GraphError(f"{checkpoint.path}: neither an architecture nor a graph was found in it")
    import torch

    from edgekit import models

    network = models.build(checkpoint.architecture, checkpoint.weights)
    example = torch.zeros(1, 3, checkpoint.image.height, checkpoint.image.width)
    # The exporter reports its progress on stdout, which belongs to --json, and logs which packages it did without.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()) as said, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(network, (example,), dynamo=True, external_data=False, verbose=False)
    log.debug("%s", said.getvalue())
    if program is None:
        raise GraphError(f"{checkpoint.path}: torch exported nothing")
    return program.model
