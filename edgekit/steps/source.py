"""What goes into a build: the checkpoint, its labels, and the calibration pictures as the model will see them."""

from __future__ import annotations

from dataclasses import replace

from edgekit import checkpoints
from edgekit.checkpoints import Checkpoint
from edgekit.labels import Label, numbered_labels, parse_labels, read_labels
from edgekit.steps.order import Order


def read_checkpoint(order: Order) -> Checkpoint:
    """Reads the checkpoint and lays the target's input overrides over its own image contract.

    Raises:
        CheckpointError: see :func:`edgekit.checkpoints.load`.
    """
    checkpoint = checkpoints.load(order.checkpoint)
    return replace(checkpoint, image=order.target.input.image(checkpoint.image))


def read_class_labels(order: Order, checkpoint: Checkpoint) -> tuple[Label, ...]:
    """The labels file of the order, else the checkpoint's own, else ``class 0``, ``class 1``, …

    Raises:
        LabelsError: the file cannot be used, or has another number of labels than the network has classes.
    """
    if order.labels is not None:
        return read_labels(order.labels, classes=checkpoint.classes)
    if checkpoint.labels is not None:
        where = f"{checkpoint.path}: its labels"
        return parse_labels("\n".join(checkpoint.labels), where=where, classes=checkpoint.classes)
    return numbered_labels(checkpoint.classes)
