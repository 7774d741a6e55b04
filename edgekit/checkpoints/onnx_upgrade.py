"""Rewrites an ONNX model of any opset, 1 to 24, to opset 18.

onnx's own version converter starts where shapes are already known; the model zoo's ShuffleNets start at 3 without.
``onnx_rules`` has one rule for each operator whose form changed. What a plain convolutional classifier does not use is
left as it is, for onnx's checker to judge.

Above 18 the forms that matter here differ only in attributes that allow more; their neutral values are dropped.
"""

from __future__ import annotations

import onnx
from onnx import ModelProto, NodeProto, helper

from edgekit.checkpoints.onnx_nodes import Upgrade, drop, follow_rank
from edgekit.checkpoints.onnx_rules import RULES
from edgekit.errors import CheckpointError

OPSET = 18
NEWEST = 24


def upgrade(model: ModelProto) -> ModelProto:
    """The same network at opset 18.

    Args:
        model: any opset from 1 to 24, checked for sizes before; it is left as it was.

    Raises:
        CheckpointError: a training graph, or an operator whose old meaning has no place in opset 18.
    """
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    if not 1 <= opset <= NEWEST:
        raise CheckpointError(f"opset {opset} is not known here", hint=f"export it again with opset {OPSET}")
    made = ModelProto()
    made.CopyFrom(model)
    context = Upgrade(made, opset)
    nodes: list[NodeProto] = []
    for node in made.graph.node:
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        drop(node, "consumed_inputs")
        try:
            replacement = rule(node, context) if rule else [node]
            for new in replacement:
                follow_rank(new, context)
        except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise CheckpointError(f"{node.op_type} {node.name!r} of opset {opset} is malformed: {error}") from error
        nodes.extend(replacement)
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    others = [entry for entry in model.opset_import if entry.domain not in ("", "ai.onnx")]
    del made.opset_import[:]
    made.opset_import.extend([helper.make_opsetid("", OPSET), *others])
    # From version 4 on an initializer need not be an input as well, and at 8 opset 18 was current.
    made.ir_version = max(8, min(model.ir_version, onnx.IR_VERSION))
    return made
