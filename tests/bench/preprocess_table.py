"""The table of docs/preprocessing.md: how far each interpolation is from PIL, what it costs, and whom it confuses.

    python tests/bench/preprocess_table.py ../shared/data

Reference: PIL decodes and resizes (torchvision's Resize(256) + CenterCrop(224) on PIL images), the torch network
classifies. Each candidate decodes with OpenCV. Times are the least processor time of 200 frames of 640x480, in turns,
one thread; the two whole-frame resizes with the colours reordered are there as the yardstick.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from PIL import Image

from edgekit.checkpoints import load
from edgekit.contracts import ImageContract, Normalization
from edgekit.models import build
from edgekit.preprocess import Preprocessor, crop_offset, decode, iter_images, resized_size
from edgekit.resample import triangle_weights

Candidate = Callable[[np.ndarray], np.ndarray]
CONTRACT = ImageContract()


def geometry(height: int, width: int) -> tuple[int, int, slice, slice]:
    h, w = resized_size(height, width, CONTRACT.resize)
    top, left = crop_offset(h, CONTRACT.height), crop_offset(w, CONTRACT.width)
    return h, w, slice(top, top + CONTRACT.height), slice(left, left + CONTRACT.width)


def pil(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    h, w, rows, columns = geometry(rgb.height, rgb.width)
    return np.asarray(rgb.resize((w, h), Image.Resampling.BILINEAR))[rows, columns]


def own(interpolation: str) -> Candidate:
    return Preprocessor(ImageContract(interpolation=interpolation)).image


def whole(flag: int) -> Candidate:
    """The textbook way: resize everything, then crop, then reorder."""

    def run(frame: np.ndarray) -> np.ndarray:
        h, w, rows, columns = geometry(*frame.shape[:2])
        return cv2.cvtColor(cv2.resize(frame, (w, h), interpolation=flag)[rows, columns], cv2.COLOR_BGR2RGB)

    return run


def prefilter(size: int, resized: int, first: int, count: int) -> np.ndarray:
    """Five symmetric taps that, before INTER_LINEAR, come closest to PIL's triangle (least squares on weights)."""
    start, weights = triangle_weights((size, resized, first, count))
    pad = 3
    wanted, straight = np.zeros((2, count, size + 2 * pad))
    rows = np.arange(count)
    np.add.at(wanted, (rows[:, None], np.minimum(start[:, None] + np.arange(weights.shape[1]), size) + pad), weights)
    at = (first + rows + 0.5) * size / resized - 0.5 + pad
    below = np.floor(at).astype(int)
    straight[rows, below], straight[rows, below + 1] = 1 - at + below, at - below
    steps = [np.roll(straight, d, 1) + np.roll(straight, -d, 1) - 2 * straight for d in (1, 2)]
    taps, *_ = np.linalg.lstsq(np.stack([s.ravel() for s in steps], 1), (wanted - straight).ravel(), rcond=None)
    return np.array([taps[1], taps[0], 1 - 2 * taps.sum(), taps[0], taps[1]], np.float32)


class Blurred:
    """A blur fitted to the reduction, then INTER_LINEAR of the whole picture."""

    def __init__(self) -> None:
        self.taps: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        size = frame.shape[:2]
        h, w, rows, columns = geometry(*size)
        if size not in self.taps:
            across = prefilter(size[1], w, columns.start, CONTRACT.width)
            self.taps[size] = across, prefilter(size[0], h, rows.start, CONTRACT.height)
        soft = cv2.sepFilter2D(frame, -1, *self.taps[size])
        return cv2.cvtColor(cv2.resize(soft, (w, h))[rows, columns], cv2.COLOR_BGR2RGB)


def logits(model: torch.nn.Module, normalization: Normalization, images: list[np.ndarray]) -> np.ndarray:
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (normalization.mean, normalization.std))
    out = []
    with torch.no_grad():
        for start in range(0, len(images), 50):
            x = torch.from_numpy(np.stack(images[start : start + 50])).permute(0, 3, 1, 2).float()
            out.append(model(((x.flip(1) if normalization.order == "bgr" else x) - mean) / std))
    return torch.cat(out).numpy()


def milliseconds(candidates: dict[str, Candidate], frames: list[np.ndarray], rounds: int = 200) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for index in range(rounds):
        for name, run in candidates.items():
            started = time.thread_time()
            run(frames[index % len(frames)])
            times[name].append(time.thread_time() - started)
    return {name: min(values) * 1e3 for name, values in times.items()}


def main(data: Path) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    candidates: dict[str, Candidate] = {
        "antialias": own("antialias"),
        "area": own("area"),
        "linear": own("linear"),
        "fitted blur + INTER_LINEAR": Blurred(),
    }
    yardsticks = {"whole-frame INTER_AREA": whole(cv2.INTER_AREA), "whole-frame INTER_LINEAR": whole(cv2.INTER_LINEAR)}
    photos = list(iter_images(data / "photos/imagenet1k"))
    synsets = [line.split()[0] for line in (data / "labels/imagenet1k_synsets.txt").read_text().splitlines()]
    frames = [cv2.resize(decode(p), (640, 480), interpolation=cv2.INTER_AREA) for p in photos[:20]]
    print("| candidate | ms per 640x480 frame |\n| --- | --- |")
    for name, figure in milliseconds({**candidates, **yardsticks}, frames).items():
        print(f"| {name} | {figure:.2f} |")
    sets = {
        "V1 x0.5": (photos, "megvii_v1_x0.5_g3_imagenet.pth.tar", synsets),
        "V2 x1.0": (
            list(iter_images(data / "photos/imagenette/val"))[::3],
            "torchvision_v2_x1.0_imagenette10.pth",
            sorted(p.name for p in (data / "photos/imagenette/val").iterdir()),
        ),
    }
    print("\n| set | candidate | mean difference | max | top-1 flips | top-1 % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (paths, file, classes) in sets.items():
        checkpoint = load(data / "checkpoints" / file)
        assert checkpoint.architecture is not None
        model = build(checkpoint.architecture, checkpoint.weights)
        truth = np.array([classes.index(p.parent.name) for p in paths])
        reference = [pil(p) for p in paths]
        expected = logits(model, checkpoint.normalization, reference).argmax(1)
        print(f"| {name}, {len(paths)} photos | PIL | 0 | 0 | 0 | {(expected == truth).mean() * 100:.1f} |")
        for candidate, run in candidates.items():
            images = [np.ascontiguousarray(run(decode(p))) for p in paths]
            difference = [np.abs(a.astype(int) - b) for a, b in zip(images, reference, strict=True)]
            found = logits(model, checkpoint.normalization, images).argmax(1)
            print(
                f"| {name} | {candidate} | {np.mean([d.mean() for d in difference]):.3f} | "
                f"{max(int(d.max()) for d in difference)} | {(found != expected).sum()} | "
                f"{(found == truth).mean() * 100:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
