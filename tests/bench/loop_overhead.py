"""CPU time the camera loop takes for a frame, against the least it could take and against the textbook's loop.

    python tests/bench/loop_overhead.py BUNDLE FLOAT.onnx [ROUNDS]

FLOAT.onnx is the same network as ``torch.onnx.export`` writes it, normalized float in. (What ``edgekit convert
… --input float`` writes will do as well, but has no shuffles any more and is faster than a textbook's.) All loops read
the same generated 640x480 clip (MJPEG, as a webcam gives it), with one engine thread:

    bare      decode, one cv2.resize into the engine's input, the engine's call: nothing else
    same      the same with the bundle's own resize and crop, antialiased as in training
    edgekit   ``run`` as it is: threads, mailbox, antialiased resize and crop, top-k, latency figures, JSON lines
    textbook  decode, cvtColor, resize, float normalise, transpose, ONNX Runtime fp32, argsort

They take turns in changing order, so that other work on the machine hits all alike. A ratio is the median of each
round's own, with a 95 % interval from resampling the rounds.
"""

from __future__ import annotations

import io
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgekit.runtime import CameraOptions, RunOptions, run
from edgekit.runtime.health import ScriptedHealth
from edgekit.runtime.model import Model, load
from edgekit.runtime.sinks.json_lines import JsonLines

FRAMES = 100


def make_clip(path: Path) -> None:
    """A moving, textured picture: flat colours would make decoding too cheap."""
    rng = np.random.default_rng(1)
    scene = cv2.GaussianBlur(rng.integers(0, 255, (700, 1000, 3), dtype=np.uint8), (0, 0), 3)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (640, 480))
    for number in range(FRAMES):
        x, y = number, number // 2
        writer.write(np.ascontiguousarray(scene[y : y + 480, x : x + 640]))
    writer.release()


def bare(clip: Path, model: Model) -> int:
    capture, frame, count = cv2.VideoCapture(str(clip)), None, 0
    target = model.engine.input[0]
    while True:
        ok, frame = capture.read(frame)
        if not ok:
            return count
        cv2.resize(frame, (target.shape[1], target.shape[0]), target)
        model.engine.invoke()
        count += 1


def same(clip: Path, model: Model) -> int:
    capture, frame, count = cv2.VideoCapture(str(clip)), None, 0
    while True:
        ok, frame = capture.read(frame)
        if not ok:
            return count
        model.prepare(frame)
        model.engine.invoke()
        count += 1


def edgekit(clip: Path, model: Model) -> int:
    options = RunOptions(cameras=(CameraOptions(str(clip)),))
    return run(options, model=model, sinks=[JsonLines(io.StringIO())], health=ScriptedHealth()).frames


def textbook(clip: Path, session: Any) -> int:
    name = session.get_inputs()[0].name
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    capture, count = cv2.VideoCapture(str(clip)), 0
    while True:
        ok, frame = capture.read()
        if not ok:
            return count
        picture = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), (224, 224))
        tensor = ((picture.astype(np.float32) / 255.0 - mean) / std).transpose(2, 0, 1)[None]
        scores = session.run(None, {name: np.ascontiguousarray(tensor)})[0]
        np.argsort(scores[0])[::-1][:5]
        count += 1


def interval(ratios: list[float]) -> tuple[float, float]:
    draw = random.Random(1)
    found = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    return found[50], found[-51]


def main() -> None:
    import onnxruntime

    bundle, float_model, rounds = Path(sys.argv[1]), sys.argv[2], int([*sys.argv, "", "7"][3] or 7)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(float_model, settings, providers=["CPUExecutionProvider"])
    model = load(bundle, threads=1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.avi"
        make_clip(clip)
        loops: dict[str, Callable[[], int]] = {
            "bare": lambda: bare(clip, model),
            "same": lambda: same(clip, model),
            "edgekit": lambda: edgekit(clip, model),
            "textbook": lambda: textbook(clip, session),
        }
        figures: dict[str, list[float]] = {name: [] for name in loops}
        for number in range(rounds + 1):
            names = list(loops)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                began = time.process_time()
                assert loops[name]() == FRAMES
                if number:  # the first round warms up
                    figures[name].append((time.process_time() - began) / FRAMES * 1e3)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    for name, value in medians.items():
        print(f"{name:9} {value:6.3f} ms of CPU a frame (best {min(figures[name]):.3f})")
    for name, bar in (("bare", " (bar: 1.25)"), ("same", ""), ("textbook", " (bar: 0.6)")):
        ratios = [mine / other for mine, other in zip(figures["edgekit"], figures[name], strict=True)]
        low, high = interval(ratios)
        print(f"edgekit / {name:8} = {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f}){bar}")


if __name__ == "__main__":
    main()
