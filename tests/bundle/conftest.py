"""The tiny bundle of tests/support for every test here."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_SOURCE = Path(__file__).parent.parent / "support" / "tinybundle.py"


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    if "tinybundle" not in sys.modules:
        spec = importlib.util.spec_from_file_location("tinybundle", _SOURCE)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["tinybundle"] = module
        spec.loader.exec_module(module)
    return sys.modules["tinybundle"]
