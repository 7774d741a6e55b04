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
    """The labels file of the order, else the checkpoint's own, else the calibration set's class folders, else numbers.

    Class folders are taken only where there is exactly one per class, in sorted order: that is the order that training
    on such a folder gives.

    Raises:
        LabelsError: the file cannot be used, or has another number of labels than the network has classes.
    """
    if order.labels is not None:
        return read_labels(order.labels, classes=checkpoint.classes)
    if checkpoint.labels is not None:
        where = f"{checkpoint.path}: its labels"
        return parse_labels("\n".join(checkpoint.labels), where=where, classes=checkpoint.classes)
    folder = order.calibration
    if folder is not None and folder.is_dir():
        names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if len(names) == checkpoint.classes:
            return parse_labels("\n".join(names), where=str(folder))
    return numbered_labels(checkpoint.classes)
