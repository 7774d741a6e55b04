"""Lets the tests of the camera loop import their helpers, ``rt_*.py``, from beside them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
