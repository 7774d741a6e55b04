"""Every family's checkpoint, written as its framework writes it, gives its framework's own recorded answer."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import framework_answers as golden
import numpy as np
import pytest
import torch

from edgekit import checkpoints, models

NAMES = sorted(path.name.removesuffix(".json.gz") for path in golden.GOLDEN.glob("*.json.gz"))


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs))


def answer(checkpoint: checkpoints.Checkpoint, x: np.ndarray) -> np.ndarray:
    assert checkpoint.architecture is not None
    network = models.build(checkpoint.architecture, checkpoint.weights)
    return network(torch.from_numpy(x.astype(np.float32))).numpy()


def state_dict(name: str) -> dict[str, torch.Tensor]:
    shapes = golden.load(name)["shapes"]
    return {key: torch.from_numpy(golden.tensor(key, tuple(shape))) for key, shape in shapes.items()}


@pytest.mark.parametrize("name", NAMES)
def test_recorded_framework_answer(name: str, tmp_path: Path) -> None:
    state = state_dict(name)
    path = tmp_path / "weights.bin"
    saved: Any = {"megvii": lambda: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
                  "mmpretrain": lambda: {"meta": {"CLASSES": [f"c{i}" for i in range(12)]}, "state_dict": state},
                  "torchvision": lambda: state}[name.split("_")[0]]()  # fmt: skip
    torch.save(saved, path, _use_new_zipfile_serialization=name.startswith("torchvision"))
    checkpoint = checkpoints.load(path)
    assert checkpoint.family == name.split("_")[0]
    assert checkpoint.classes == golden.CLASSES
    assert (checkpoint.labels is not None) == (checkpoint.family == "mmpretrain")
    assert relative_error(answer(checkpoint, golden.picture()), golden.load(name)["scores"]) < 1e-5


def test_the_golden_files_cover_every_family_and_group_count() -> None:
    assert len(NAMES) == 27
    assert {f"mmpretrain_v1_g{groups}" for groups in (1, 2, 3, 4, 8)} <= set(NAMES)


def test_wrong_shuffle_would_be_noticed() -> None:
    """Guards the guard: the same weights under the other family's shuffle give another answer."""
    from dataclasses import replace

    from edgekit.checkpoints.families import megvii

    name = "megvii_v2_0.5x"
    reading = megvii.read_v2(state_dict(name), "")
    wrong = replace(reading.architecture, shuffle="interleave")
    scores = models.build(wrong, reading.weights)(torch.from_numpy(golden.picture())).numpy()
    assert relative_error(scores, golden.load(name)["scores"]) > 0.1


def test_paddle_vision_names_are_the_same_network(tmp_path: Path) -> None:
    """paddle.vision stores the layers of PaddleClas under numbers; both are torchvision's network with other names."""
    state = state_dict("torchvision_v2_x0_5")
    paddle = {_paddle_name(key): _paddle_array(key, value) for key, value in state.items()}
    path = tmp_path / "w.pdparams"
    path.write_bytes(
        pickle.dumps({**paddle, "StructuredToParameterName@@": {"_fc.weight": "linear_0.w_0"}}, protocol=4)
    )
    checkpoint = checkpoints.load(path)
    assert checkpoint.family == "paddle"
    scores = golden.load("torchvision_v2_x0_5")["scores"]
    assert relative_error(answer(checkpoint, golden.picture()), scores) < 1e-5


def _paddle_array(key: str, value: torch.Tensor) -> np.ndarray:
    return value.numpy().T if key == "fc.weight" else value.numpy()


def _paddle_name(key: str) -> str:
    key = key.replace("running_mean", "_mean").replace("running_var", "_variance")
    head, *rest = key.split(".")
    if head in ("conv1", "conv5", "fc"):
        return ".".join([{"conv1": "_conv1", "conv5": "_last_conv", "fc": "_fc"}[head], *rest])
    unit, branch, layer, value = rest
    part = {
        "branch1": ["dw_1", "dw_1", "linear_1", "linear_1"],
        "branch2": ["pw", "pw", "", "dw", "dw", "linear", "linear"],
    }
    kind = part[branch][int(layer)] + ("_2" if unit == "0" and branch == "branch2" else "")
    norm = {"branch1": "13", "branch2": "146"}[branch]
    return f"{head[5:]}_{int(unit) + 1}._conv_{kind}.{int(layer in norm)}.{value}"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "record"),
    [
        ("mm_shufflenet_v1_1x_g3.pth", "mm_shufflenet_v1_1x_g3.npz"),
        ("ppcls_shufflenetv2_x0_25.pdparams", "ppcls_shufflenetv2_x0_25.npz"),
        ("ppcls_shufflenetv2_swish.pdparams", "ppcls_shufflenetv2_swish.npz"),
    ],
)
def test_recorded_families(shared_data: Path, file: str, record: str) -> None:
    recorded = np.load(shared_data / "families" / record)
    checkpoint = checkpoints.load(shared_data / "families" / file)
    assert relative_error(answer(checkpoint, recorded["x"]), recorded["y"]) < 1e-5


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["", "model.ckpt-100", "model.ckpt-100.index", "model.ckpt-100.data-00000-of-00001"])
def test_recorded_tensorflow(shared_data: Path, name: str) -> None:
    folder = shared_data / "families/tf_v2_0.5"
    recorded = np.load(folder / "io.npz")
    checkpoint = checkpoints.load(folder / name if name else folder)
    assert checkpoint.path.name == "model.ckpt-100.index"
    contract = checkpoint.normalization
    x = ((recorded["image_uint8"] - np.array(contract.mean)) / np.array(contract.std)).transpose(0, 3, 1, 2)
    assert relative_error(answer(checkpoint, x), recorded["logits"]) < 1e-5


@pytest.mark.realdata
@pytest.mark.slow
def test_megvii_v1_recognises_photos(shared_data: Path) -> None:
    """The whole contract at once: weights, shuffle, BGR and 0–255. In RGB the same network reaches 41 %."""
    from edgekit.preprocess import Preprocessor, decode

    ids = [line.split()[0] for line in (shared_data / "labels/imagenet1k_synsets.txt").read_text().splitlines()]
    checkpoint = checkpoints.load(shared_data / "checkpoints/megvii_v1_x0.5_g3_imagenet.pth.tar")
    assert checkpoint.normalization.to_dict() == {"order": "bgr", "mean": [0.0] * 3, "std": [1.0] * 3}
    photos = sorted((shared_data / "photos/imagenet1k").glob("*/*"))
    preprocess = Preprocessor(checkpoint.image)
    right = 0
    for start in range(0, len(photos), 50):
        chunk = photos[start : start + 50]
        pixels = np.stack([preprocess.image(decode(photo)) for photo in chunk])[..., ::-1]
        scores = answer(checkpoint, np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        right += sum(ids[best] == photo.parent.name for best, photo in zip(scores.argmax(1), chunk, strict=True))
    assert 0.62 <= right / len(photos) <= 0.67
