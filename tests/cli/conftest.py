"""The command line as a user meets it: a process of its own, its output, its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def edgekit() -> Callable[..., Ended]:
    """Runs ``edgekit`` with the given words; no command may take longer than ``timeout_s``."""

    def run(
        *words: object, cwd: Path | None = None, timeout_s: float = 600, env: dict[str, str] | None = None
    ) -> Ended:
        done = subprocess.run(
            [sys.executable, "-m", "edgekit", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=cwd or ROOT,
            timeout=timeout_s,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def demo_build(edgekit: Callable[..., Ended], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The demo built for a Raspberry Pi 4, once for all tests: (bundle, what ``build --json`` printed)."""
    pytest.importorskip("torch")
    output = tmp_path_factory.mktemp("build")
    done = edgekit("build", "--target", "rpi4", "--output", output, "--json")
    assert done.code == 0, done.err
    return output / "rpi4", done.json


@pytest.fixture(scope="session")
def demo_bundle(demo_build: tuple[Path, Any]) -> Path:
    return demo_build[0]


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ShuffleNet V2 with few channels and random weights, in torchvision's naming."""
    torch = pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pth"
    torch.manual_seed(0)
    torch.save(_torchvision_state(torch, (8, 16, 32, 64, 96), 5), path)
    return path


def _torchvision_state(torch: Any, channels: tuple[int, ...], classes: int) -> dict[str, Any]:
    state: dict[str, Any] = {}

    def conv(name: str, out: int, per_group: int, kernel: int) -> None:
        state[f"{name}.weight"] = torch.randn(out, per_group, kernel, kernel) * (2 / (per_group * kernel**2)) ** 0.5

    def norm(name: str, c: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(c) + 0.5, torch.randn(c) * 0.1
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.randn(c) * 0.1, torch.rand(c) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(1)

    stem, *stages, head = channels
    conv("conv1.0", stem, 3, 3)
    norm("conv1.1", stem)
    before = stem
    for stage, (width, repeats) in enumerate(zip(stages, (4, 8, 4), strict=True), start=2):
        half = width // 2
        for unit in range(repeats):
            base = f"stage{stage}.{unit}"
            if unit == 0:
                conv(f"{base}.branch1.0", before, 1, 3)
                norm(f"{base}.branch1.1", before)
                conv(f"{base}.branch1.2", half, before, 1)
                norm(f"{base}.branch1.3", half)
            conv(f"{base}.branch2.0", half, before if unit == 0 else half, 1)
            norm(f"{base}.branch2.1", half)
            conv(f"{base}.branch2.3", half, 1, 3)
            norm(f"{base}.branch2.4", half)
            conv(f"{base}.branch2.5", half, half, 1)
            norm(f"{base}.branch2.6", half)
        before = width
    conv("conv5.0", head, before, 1)
    norm("conv5.1", head)
    state["fc.weight"], state["fc.bias"] = torch.randn(classes, head) * 0.1, torch.randn(classes) * 0.1
    return state


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small pictures of coloured noise."""
    import cv2
    import numpy as np

    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(1)
    for index in range(12):
        small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index:02d}.png"), cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC))
    return folder
