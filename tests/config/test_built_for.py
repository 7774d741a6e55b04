"""Camera defaults from a bundle's manifest, whatever state that is in."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.config import load_target
from edgekit.config.built import camera_defaults


def test_the_profile_as_built_gives_the_defaults(tmp_path: Path) -> None:
    target = load_target("rpi-zero2w")
    (tmp_path / "manifest.json").write_text(json.dumps({"target": target.to_dict()}))
    assert camera_defaults(tmp_path) == dataclasses.asdict(target.camera)
    assert camera_defaults(tmp_path)["fps"] == 10


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", "{}", '{"target": null}', '{"target": {"camera": 3}}', '{"target": {"camera": {"width": "640"}}}', "\0"],
)
def test_an_odd_manifest_says_nothing(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    assert camera_defaults(tmp_path) == {}


def test_no_manifest_says_nothing(tmp_path: Path) -> None:
    assert camera_defaults(tmp_path) == {}


def test_facts_of_the_machine_need_no_yaml(project_root: Path) -> None:
    code = "import sys, edgekit.config.machine, edgekit.config.built; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=project_root, check=False).returncode == 0
