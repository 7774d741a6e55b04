"""docs/devices.md is true: its files load as they are printed there."""

from __future__ import annotations

import re
from pathlib import Path

from edgekit.config import deploy_target, load_deploy


def test_the_examples_load(project_root: Path, tmp_path: Path) -> None:
    text = (project_root / "docs" / "devices.md").read_text("utf-8")
    for name, body in re.findall(r"```yaml\n# (\S+)\n(.*?)```", text, re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(body)
    deployment = load_deploy(tmp_path / "deploy.yaml")
    assert deployment.targets == ("rpi4", "kiosk")
    kiosk = deploy_target(deployment, "kiosk")
    assert (kiosk.cpu.model, kiosk.cpu.clock_mhz, kiosk.camera.fps) == ("cortex-a72", 1500, 10)
    assert (kiosk.budget.latency_ms, kiosk.gate.max_drop_pp) == (50, 0.3)
