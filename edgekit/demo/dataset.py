"""Writes rendered scenes as folders of JPEGs: a held-out set for ``eval``, and the committed calibration set."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import cv2
import numpy as np

from edgekit.demo.render import LABELS, scene
from edgekit.errors import StorageError, UsageError

# Seeds keep the sets apart; edgekit.demo.train uses others.
HELD_OUT_SEED = 77
CALIBRATION_SEED = 31
CALIBRATION_COUNT = 8 * len(LABELS)
_QUALITY = 80


def picture(label: str, index: int, seed: int) -> bytes:
    """Scene ``index`` of the set ``seed`` as JPEG."""
    pixels = scene(label, np.random.default_rng((seed, index)))
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])


def held_out(folder: str | Path, count: int = 50 * len(LABELS), seed: int = HELD_OUT_SEED) -> Path:
    """Writes ``count`` scenes as ``folder/label/00000.jpg``, as many of each label, for ``edgekit eval --data``.

    Returns:
        The folder.

    Raises:
        UsageError: the count is not positive, or there are already files in the folder.
        StorageError: it cannot be written.
    """
    folder = Path(folder)
    if count < 1:
        raise UsageError(f"a set of {count} pictures cannot be made", hint="ask for 1 or more")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: already there and not an empty folder", hint="name a new folder")
    try:
        for index in range(count):
            label = LABELS[index % len(LABELS)]
            (folder / label).mkdir(parents=True, exist_ok=True)
            (folder / label / f"{index:05d}.jpg").write_bytes(picture(label, index, seed))
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror})") from error
    return folder


def calibration(folder: Path) -> None:
    """Writes the calibration set and its ``manifest.yaml``: each picture's file name, SHA-256 and label."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Rendered by `python -m edgekit.demo.dataset calibration/demo`. The hashes tell whether a file is the one",
        "# that was committed: another version of OpenCV may round a pixel differently.",
        f"seed: {CALIBRATION_SEED}",
        "images:",
    ]
    for index in range(CALIBRATION_COUNT):
        label = LABELS[index % len(LABELS)]
        data, name = picture(label, index, CALIBRATION_SEED), f"{index:03d}-{label}.jpg"
        (folder / name).write_bytes(data)
        lines.append(f"  - {{file: {name}, sha256: {hashlib.sha256(data).hexdigest()}, label: {label}}}")
    (folder / "manifest.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the demo's calibration set.")
    parser.add_argument("folder", type=Path)
    calibration(parser.parse_args().folder)
