"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real checkpoints, photos and recorded framework answers, kept beside the project."""
    data = ROOT.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip("the real checkpoints and photos (../shared/data) are not on this machine")
    return data
