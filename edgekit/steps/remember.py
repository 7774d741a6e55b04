"""Emulated of emulated cores into a finished bundle and its report; needs nothing of the build side's packages."""

from __future__ import annotations

from pathlib import Path

from edgekit import bundle
from edgekit.bundle import Bundle
from edgekit.emulate import FILE, Emulated
from edgekit.report import emulated

_REPORT = "report.html"


def remember(path: Path, evidence: Emulated) -> Bundle | None:
    """Puts evidence into a finished bundle and its report, atomically; the rest of the bundle stays as it is.

    Returns:
        the bundle; None if its report has no place for it, because an older edgekit wrote it. Nothing is changed then.

    Raises:
        BundleError, VerifyFailed: no whole bundle.
        StorageError: the disk is full or cannot be written.
    """
    opened = bundle.read(path)
    if not opened.has(_REPORT):
        return None
    page = emulated.replaced(opened.file(_REPORT).read_text("utf-8"), evidence)
    if page is None:
        return None
    return bundle.add(path, {_REPORT: ("report", page.encode()), FILE: evidence.file()})
