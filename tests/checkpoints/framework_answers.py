"""Weights by name and the frameworks' own answers to them.

A golden file holds what one framework's network answered once, with every tensor filled from its own name: the names
and shapes of its state dict (so that a test needs no framework to make the same checkpoint) and the scores for one
picture. To record with the network that ``NETWORKS`` builds under NAME:

    python tests/checkpoints/framework_answers.py NAME

Recording needs the framework; ``NETWORKS`` says which (torchvision 0.28; mmpretrain 1.2 with mmcv-lite 2.2 and
mmengine 0.10; Megvii's ShuffleNet-Series with its folders ShuffleNetV1 and ShuffleNetV2 on the path ``MEGVII``).
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden"
CLASSES = 12


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor's values, from its name alone; scaled so that scores stay near 1."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) >= 2:
        return (random.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)
    if name.endswith(("running_var", "_variance")):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    if name.endswith("weight"):
        return random.uniform(0.5, 1.2, shape).astype(np.float32)
    return (random.standard_normal(shape) * 0.1).astype(np.float32)


def picture() -> np.ndarray:
    """float32 [1, 3, 224, 224], smooth with noise, spread about 1."""
    random = np.random.default_rng(224)
    y, x = np.mgrid[:224, :224] / 224
    waves = np.stack([np.sin(7 * x + c) + np.cos(5 * y * (c + 1)) for c in range(3)])
    return (waves + 0.3 * random.standard_normal(waves.shape)).astype(np.float32)[None]


def load(name: str) -> dict[str, Any]:
    """A golden file: ``shapes`` (name → shape) and ``scores`` (float32 [1, CLASSES])."""
    found = json.loads(gzip.decompress((GOLDEN / f"{name}.json.gz").read_bytes()))
    return {"shapes": found["shapes"], "scores": np.array(found["scores"], np.float32)}


def record(name: str, network: Any) -> None:
    import torch

    state = network.state_dict()
    shapes = {key: list(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}
    state.update({key: torch.from_numpy(tensor(key, tuple(shape))) for key, shape in shapes.items()})
    network.load_state_dict(state)
    with torch.no_grad():
        scores = network.double().eval()(torch.from_numpy(picture()).double())
    text = json.dumps({"shapes": shapes, "scores": scores.tolist()}).encode()
    (GOLDEN / f"{name}.json.gz").write_bytes(gzip.compress(text, mtime=0))
    print(name, scores.norm().item())


def _torchvision(channels: list[int]) -> Any:
    import torch

    real = torch.library.register_fake  # torch's CPU build lacks torchvision's compiled operators; none is needed
    torch.library.register_fake = lambda name, *a, **k: (
        (lambda f: f) if str(name).startswith("torchvision::") else real(name, *a, **k)
    )
    module = importlib.import_module("torchvision.models.shufflenetv2")
    return module.ShuffleNetV2([4, 8, 4], channels, num_classes=CLASSES)


def _megvii(version: int, **options: Any) -> Any:
    sys.path.insert(0, str(Path(os.environ["MEGVII"]) / f"ShuffleNetV{version}"))
    return getattr(importlib.import_module("network"), f"ShuffleNetV{version}")(n_class=CLASSES, **options)


def _mmpretrain(version: int, channels: int, **options: Any) -> Any:
    from torch import nn

    backbone = importlib.import_module(f"mmpretrain.models.backbones.shufflenet_v{version}")

    class Classifier(nn.Module):  # mmpretrain's ImageClassifier, GlobalAveragePooling and LinearClsHead in one
        def __init__(self) -> None:
            super().__init__()
            self.backbone = getattr(backbone, f"ShuffleNetV{version}")(**options)
            self.head = nn.Module()
            self.head.fc = nn.Linear(channels, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.head.fc(self.backbone(x)[-1].mean((2, 3)))

    return Classifier()


NETWORKS: dict[str, Any] = {
    "torchvision_v2_x0_5": lambda: _torchvision([24, 48, 96, 192, 1024]),
    "torchvision_v2_x1_0": lambda: _torchvision([24, 116, 232, 464, 1024]),
    "torchvision_v2_x1_5": lambda: _torchvision([24, 176, 352, 704, 1024]),
    "torchvision_v2_x2_0": lambda: _torchvision([24, 244, 488, 976, 2048]),
    "torchvision_v2_custom": lambda: _torchvision([16, 20, 44, 90, 300]),
    **{f"megvii_v1_{w}_g{g}": lambda w=w, g=g: _megvii(1, model_size=w, group=g)
       for w in ("0.5x", "1.0x", "1.5x", "2.0x") for g in (3, 8)},
    **{f"megvii_v2_{w}": lambda w=w: _megvii(2, model_size=w) for w in ("0.5x", "1.0x", "1.5x", "2.0x")},
    **{f"mmpretrain_v1_g{g}": lambda g=g, c=c: _mmpretrain(1, c, groups=g)
       for g, c in ((1, 576), (2, 800), (3, 960), (4, 1088), (8, 1536))},
    "mmpretrain_v1_x0_5_g3": lambda: _mmpretrain(1, 480, groups=3, widen_factor=0.5),
    **{f"mmpretrain_v2_x{w}": lambda w=w, c=c: _mmpretrain(2, c, widen_factor=w)
       for w, c in ((0.5, 1024), (1.0, 1024), (1.5, 1024), (2.0, 2048))},
}  # fmt: skip

if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        record(wanted, NETWORKS[wanted]())
