"""Still pictures from a folder (with its subfolders), a glob, or one file: every one, in the order of their paths."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from edgekit.errors import CameraError, ImageError
from edgekit.runtime.frames import Image
from edgekit.runtime.sources.base import CorruptFrameError, Shot

_LOOK_AGAIN_S = 0.3


class PictureSource:
    """Pictures on disk.

    Args:
        where: a folder, a glob or a file.
        follow: at the end, wait for pictures that were not there before, instead of ending.
    """

    def __init__(self, where: str, *, follow: bool = False) -> None:
        self._where = where
        self._follow = follow
        self._stopped = threading.Event()
        self._seen: set[Path] = set()
        self._paths: Iterator[Path] = iter(())

    def open(self) -> str:
        found = self._new()
        if not found and not self._follow:
            raise CameraError(f"{self._where}: holds no pictures", hint="JPEG, PNG, WebP, BMP and TIFF are looked for")
        self._paths = iter(found)
        return f"{len(found)} picture{'' if len(found) == 1 else 's'}"

    def read(self, buffer: Image | None) -> Shot | None:
        from edgekit.preprocess import decode

        path = self._next()
        if path is None:
            return None
        try:
            image = decode(path)
        except ImageError as error:
            raise CorruptFrameError(error.message) from error
        return Shot(image, time.monotonic())

    def skip(self) -> bool:
        return self._next() is not None

    def interrupt(self) -> None:
        self._stopped.set()

    def close(self) -> None: ...

    def _next(self) -> Path | None:
        path = next(self._paths, None)
        while path is None and self._follow and not self._stopped.wait(_LOOK_AGAIN_S):
            self._paths = iter(self._new())
            path = next(self._paths, None)
        return path

    def _new(self) -> list[Path]:
        from edgekit.preprocess import iter_images

        try:
            found = [path for path in iter_images(self._where) if path not in self._seen]
        except ImageError as error:
            if self._follow:
                return []
            raise CameraError(error.message, hint=error.hint) from error
        if self._follow:
            # A file that is still being copied grows: it is left for the next look.
            now = time.time()
            found = [path for path in found if _age(path, now) > _LOOK_AGAIN_S]
            self._seen.update(found)
        return found


def _age(path: Path, now: float) -> float:
    try:
        return now - path.stat().st_mtime
    except OSError:
        return 0.0
