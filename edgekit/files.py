"""One file, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edgekit.errors import StorageError


def write_whole(path: Path, content: bytes) -> None:
    """Writes ``content`` beside ``path``, flushes it to the disk, and renames it into place.

    Raises:
        StorageError: the folder cannot be made or written, or the disk is full. What was at ``path`` is untouched.
    """
    path = Path(path)
    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; what a tool writes has the permissions that the user's umask gives.
        umask = os.umask(0)
        os.umask(umask)
        Path(beside).chmod(0o666 & ~umask)
        os.replace(beside, path)  # noqa: PTH105
    except OSError as error:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)
        raise StorageError(
            f"{path}: cannot be written ({os.strerror(error.errno or 0)})", hint="free space, or name another place"
        ) from error
