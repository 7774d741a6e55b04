"""Fixtures that every test may use."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

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


@pytest.fixture(scope="session")
def tinybundle() -> ModuleType:
    """tests/support/tinybundle.py: a whole bundle around two tiny models, without the build side."""
    if "tinybundle" not in sys.modules:
        spec = importlib.util.spec_from_file_location("tinybundle", ROOT / "tests" / "support" / "tinybundle.py")
        assert spec is not None and spec.loader is not None
        sys.modules["tinybundle"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules["tinybundle"]
