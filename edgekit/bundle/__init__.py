"""The bundle: the directory in which a build and a device meet. Nothing else passes between the two.

Build side::

    bundle.check_output(Path("build/rpi4"))                      # before the long work: may this path be replaced?
    indices = golden.choose(float_scores, labels, count=32)      # which images become goldens
    made = bundle.write(Path("build/rpi4"), Parts(...))          # whole or not at all

Device side::

    b = bundle.read(Path("build/rpi4"))                          # every hash checked
    b.manifest.image, b.labels, b.golden(), b.file("model.tflite"), b.sha256
"""

from __future__ import annotations

from edgekit.bundle.golden import Expected, Golden
from edgekit.bundle.manifest import SCHEMA, FileEntry, Manifest, ModelEntry, Quantization
from edgekit.bundle.read import Bundle, read
from edgekit.bundle.write import Parts, add, check_output, write

__all__ = [
    "SCHEMA",
    "Bundle",
    "Expected",
    "FileEntry",
    "Golden",
    "Manifest",
    "ModelEntry",
    "Parts",
    "Quantization",
    "add",
    "check_output",
    "read",
    "write",
]
