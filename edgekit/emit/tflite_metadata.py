"""The metadata that TFLite tools read: a ``TFLITE_METADATA`` flatbuffer, and label files zipped behind the model.

The tables are those of TensorFlow Lite Support's ``metadata_schema.fbs`` (identifier M001), written field by field:
the package that generates them is no longer published for current Pythons.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence

import flatbuffers

from edgekit import __version__
from edgekit.emit.flatbuffer import ModelBuilder
from edgekit.emit.meta import ModelMeta

METADATA_NAME = "TFLITE_METADATA"
LABELS_FILE = "labels.txt"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
# Enumerations and union members of the schema.
_TENSOR_AXIS_LABELS = 2
_RGB = 1
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2
_NORMALIZATION_OPTIONS = 1
# Zip's earliest date: the same model gives the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)

Offset = int
Field = tuple[int, Callable[[], None]]


class _Tables:
    """Writes tables of a flatbuffer; children come before their parents."""

    def __init__(self) -> None:
        self.b = flatbuffers.Builder(1024)

    def text(self, value: str) -> Offset:
        return int(self.b.CreateString(value))

    def offsets(self, children: Sequence[Offset]) -> Offset:
        self.b.StartVector(4, len(children), 4)
        for child in reversed(children):
            self.b.PrependUOffsetTRelative(child)
        return int(self.b.EndVector())

    def floats(self, values: Sequence[float]) -> Offset:
        self.b.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.b.PrependFloat32(value)
        return int(self.b.EndVector())

    def table(self, fields: dict[int, Offset], *, bytes_: dict[int, int] | None = None, size: int = 12) -> Offset:
        """A table of ``size`` slots: ``fields`` hold offsets (0: left out), ``bytes_`` one-byte enumerations."""
        self.b.StartObject(size)
        for slot, offset in fields.items():
            if offset:
                self.b.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, value in (bytes_ or {}).items():
            self.b.PrependUint8Slot(slot, value, 0)
        return int(self.b.EndObject())

    def image_size(self, width: int, height: int) -> Offset:
        self.b.StartObject(2)
        self.b.PrependUint32Slot(0, width, 0)
        self.b.PrependUint32Slot(1, height, 0)
        return int(self.b.EndObject())


def metadata(meta: ModelMeta, size: tuple[int, int], normalization: tuple[Sequence[float], Sequence[float]]) -> bytes:
    """The metadata flatbuffer.

    Args:
        meta: names, labels, author and licence.
        size: height and width of the input picture, in pixels.
        normalization: mean and standard deviation of (pixel - mean) / std, what a caller does to 0-255 pixels.
    """
    t = _Tables()
    unit = t.table({0: t.floats(normalization[0]), 1: t.floats(normalization[1])})
    process = t.table({1: unit}, bytes_={0: _NORMALIZATION_OPTIONS})
    properties = t.table({1: t.image_size(size[1], size[0])}, bytes_={0: _RGB})
    content = t.table({1: properties}, bytes_={0: _IMAGE_PROPERTIES})
    image = t.table(
        {
            0: t.text("image"),
            1: t.text("RGB picture, rows from the top, cropped at the centre"),
            3: content,
            4: t.offsets([process]),
        }
    )
    files = 0
    if meta.labels is not None:
        name, about = t.text(LABELS_FILE), t.text("One label a line, in the order of the scores")
        files = t.offsets([t.table({0: name, 1: about}, bytes_={2: _TENSOR_AXIS_LABELS})])
    content = t.table({1: t.table({})}, bytes_={0: _FEATURE_PROPERTIES})
    scores = t.table({0: t.text("scores"), 1: t.text("One score a class"), 3: content, 6: files})
    subgraph = t.table({0: t.text("main"), 2: t.offsets([image]), 3: t.offsets([scores])})
    root = t.table(
        {
            0: t.text(meta.name),
            1: t.text(meta.description),
            2: t.text(__version__),
            3: t.offsets([subgraph]),
            4: t.text(meta.author) if meta.author else 0,
            5: t.text(meta.license) if meta.license else 0,
            7: t.text(_PARSER_VERSION),
        }
    )
    t.b.Finish(root, _IDENTIFIER)
    return bytes(t.b.Output())


def attach(
    builder: ModelBuilder, meta: ModelMeta, properties: dict[str, str], inputs: dict[str, int], outputs: dict[str, int]
) -> bytes:
    """Finishes the model with everything it says about itself; returns the file."""
    shape = builder.graph.tensors[next(iter(inputs.values()))].shape
    n = meta.normalization
    normalization = (n.mean, n.std) if n is not None else ((0.0,), (1.0,))
    builder.metadata(METADATA_NAME, metadata(meta, (shape[1], shape[2]), normalization))
    for key, value in properties.items():
        builder.metadata(key, value.encode())
    model = builder.finish(inputs, outputs)
    if meta.labels is None:
        return model
    # Readers of associated files open the whole model file as a zip.
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, _EPOCH), "\n".join(meta.labels) + "\n")
    return file.getvalue()
