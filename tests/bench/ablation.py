"""What each quantization method is worth on a real checkpoint: one row per method switched off, and off together.

    python tests/bench/ablation.py CHECKPOINT --calibration DIR --photos DIR [DIR…] [--images 256] [--limit N]

Prints a Markdown table of agreement with float (percent of the pictures with the same top-1) and of the scores'
signal-to-noise ratio (dB), measured in ONNX Runtime on the QDQ graph. No labels are needed.
`edgekit build --ablate` measures those rows that matter to one build, in both formats.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgekit import checkpoints, graph
from edgekit.contracts import ImageContract
from edgekit.evaluate.pictures import picture_files
from edgekit.graph.batch import dynamic_batch
from edgekit.preprocess import Preprocessor, decode
from edgekit.quantize import QuantizedGraph, Scheme, calibrate, quantize
from edgekit.quantize.ablation import full_table


def load(folders: list[Path], image: ImageContract, limit: int) -> NDArray[np.uint8]:
    """At most ``limit`` pictures of the folders, spread evenly, preprocessed: uint8 ``[N, H, W, 3]``."""
    files = [file for folder in folders for file in sorted(picture_files(folder))]
    chosen = [files[int(i)] for i in np.linspace(0, len(files) - 1, min(limit, len(files))).round()]
    pixels = np.empty((len(chosen), image.height, image.width, 3), np.uint8)
    preprocess = Preprocessor(image)
    for target, file in zip(pixels, chosen, strict=True):
        preprocess(decode(file), target)
    return pixels


def scores(model: ir.Model, images: NDArray[np.uint8], threads: int) -> NDArray[Any]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    data = ir.to_proto(dynamic_batch(model)).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    batches = [session.run(None, {"image": images[i : i + 16]})[0] for i in range(0, len(images), 16)]
    return np.concatenate(batches)


def real_scores(made: QuantizedGraph, images: NDArray[np.uint8], threads: int) -> NDArray[np.float32]:
    raw = scores(made.model, images, threads)
    return raw if made.output is None else made.output.dequantize(raw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--images", type=int, default=256, help="calibration pictures")
    parser.add_argument("--limit", type=int, default=2000, help="pictures to compare on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", nargs="*", help="only rows whose name contains one of these")
    arguments = parser.parse_args()
    checkpoint = checkpoints.load(arguments.checkpoint)
    lowered = graph.lower(graph.export(checkpoint), checkpoint.normalization, checkpoint.image).model
    calibration = load([arguments.calibration], checkpoint.image, arguments.images)
    photos = load(arguments.photos, checkpoint.image, arguments.limit)
    real = scores(lowered, photos, arguments.threads)
    out = sys.stdout
    out.write("| methods | agreement % | SQNR dB |\n| --- | --- | --- |\n")
    for name, scheme in full_table(Scheme()).items():
        if arguments.rows and not any(part in name for part in arguments.rows):
            continue
        ranges = calibrate(lowered, calibration, scheme, threads=arguments.threads)
        given = calibration if scheme.needs_images else None
        made = quantize(lowered, ranges, scheme, given, threads=arguments.threads)
        got = real_scores(made, photos, arguments.threads)
        agreement = 100 * float((got.argmax(1) == real.argmax(1)).mean())
        noise = 10 * np.log10(np.square(real).sum() / np.square(got - real).sum())
        out.write(f"| {name} | {agreement:.2f} | {noise:.2f} |\n")
        out.flush()


if __name__ == "__main__":
    main()
