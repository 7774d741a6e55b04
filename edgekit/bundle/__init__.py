"""The bundle: the directory in which a build and a device meet. Nothing else passes between the two.

Build side::

    bundle.check_output(Path("build/rpi4"))                      # before the long work: may this path be replaced?
    indices = golden.choose(float_scores, labels, count=32)      # which images become goldens
    g = Golden(inputs, labels, (Expected("litert", isa_family(), raw), ...), float_scores[indices])
    made = bundle.write(Path("build/rpi4"), Parts(..., golden=g, golden_notes={"tolerance": derive(g).to_dict()},
                        engines=proven_engines(target, {"litert": "2.3.0", ...})))   # whole or not at all

Device side::

    b = bundle.read(Path("build/rpi4"))                          # every hash checked
    b.manifest.image, b.labels, b.golden(), b.file("model.tflite"), b.sha256
"""

from __future__ import annotations

from edgekit.bundle.golden import Expected, Golden, choose, isa_family
from edgekit.bundle.manifest import SCHEMA, FileEntry, Manifest, ModelEntry, Quantization
from edgekit.bundle.read import Bundle, read
from edgekit.bundle.tolerance import Tolerance, derive
from edgekit.bundle.write import Parts, add, check_output, proven_engines, write

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
    "Tolerance",
    "add",
    "check_output",
    "choose",
    "derive",
    "isa_family",
    "proven_engines",
    "read",
    "write",
]
