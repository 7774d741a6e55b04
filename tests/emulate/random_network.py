"""A network that nobody published weights of: V1 with 8 groups, random, with the statistics that pictures give it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from edgekit import checkpoints, models
from edgekit.quantize import calibration_set

STEM, STAGES, GROUPS, CLASSES, REPEATS = 16, (192, 384, 768), 8, 1000, (4, 8, 4)  # V1 x0.5 g=8, as Megvii names it


def shapes() -> dict[str, tuple[int, ...]]:
    """Megvii's tensor names and the shapes of V1 x0.5 with 8 groups."""
    found: dict[str, tuple[int, ...]] = {"first_conv.0.weight": (STEM, 3, 3, 3), **_norm("first_conv.1", STEM)}
    unit, inputs = 0, STEM
    for stage, outputs in enumerate(STAGES):
        mid = outputs // 4
        for repeat in range(REPEATS[stage]):
            own = f"features.{unit}"
            groups = 1 if unit == 0 else GROUPS
            made = outputs - inputs if repeat == 0 else outputs
            found[f"{own}.branch_main_1.0.weight"] = (mid, inputs // groups, 1, 1)
            found |= _norm(f"{own}.branch_main_1.1", mid)
            found[f"{own}.branch_main_1.3.weight"] = (mid, 1, 3, 3)
            found |= _norm(f"{own}.branch_main_1.4", mid)
            found[f"{own}.branch_main_2.0.weight"] = (made, mid // GROUPS, 1, 1)
            found |= _norm(f"{own}.branch_main_2.1", made)
            unit, inputs = unit + 1, outputs
    return {**found, "classifier.0.weight": (CLASSES, STAGES[-1])}


def write(path: Path, pictures: Path, count: int = 32, seed: int = 0) -> Path:
    """Saves the network as a checkpoint; its batch norms hold the statistics of ``count`` of a folder's pictures."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {f"module.{name}": _tensor(name, shape, generator) for name, shape in shapes().items()}
    torch.save({"state_dict": tensors}, path)
    loaded = checkpoints.load(path)
    assert loaded.architecture is not None and loaded.architecture.groups == GROUPS
    network = models.build(loaded.architecture, loaded.weights)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a plain average over all that it sees
        norm.reset_running_stats()
        norm.train()
    batch = calibration_set.load(pictures, loaded.image, count, seed=seed).pixels[..., ::-1]  # Megvii takes BGR, 0-255
    with torch.inference_mode():
        network(torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2), dtype=np.float32)))
    # The file's tensor of the same random values is the same tensor, whatever its name there.
    fresh = network.state_dict()
    for name, tensor in loaded.weights.items():
        if name.endswith(("running_mean", "running_var")):
            (theirs,) = (key for key, own in tensors.items() if own.shape == tensor.shape and torch.equal(own, tensor))
            tensors[theirs] = fresh[name].clone()
    torch.save({"state_dict": tensors}, path)
    return path


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def _tensor(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(shape, generator=generator)
    if len(shape) == 1:
        return noise * 0.2 + (0 if name.endswith("bias") else 1) if not name.endswith("var") else noise.abs() + 0.5
    return noise * math.sqrt(2 / math.prod(shape[1:]))
