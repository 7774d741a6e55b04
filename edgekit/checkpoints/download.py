"""Brings a published file into the cache: pinned, resumable, through the environment's proxies.

Only the standard library: ``urllib`` follows ``https_proxy``, ``http_proxy`` and ``no_proxy``.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import logging
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edgekit import __version__
from edgekit.checkpoints.catalogue import Entry
from edgekit.checkpoints.limits import MAX_FILE_BYTES
from edgekit.errors import CheckpointError, StorageError

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
ATTEMPTS = 4
_CHUNK = 1 << 16

NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all


def cache_folder() -> Path:
    """``EDGEKIT_CACHE``, else ``edgekit`` in the user's cache folder."""
    if named := os.environ.get("EDGEKIT_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "edgekit"


def place_of(entry: Entry) -> Path:
    """Where the entry's file lies in the cache, whether it is there or not."""
    return cache_folder() / "checkpoints" / entry.name.partition("/")[0] / entry.file


def fetch(entry: Entry, progress: Progress | None = None) -> Path:
    """The entry's file, downloaded if the cache does not have it.

    A download that broke off goes on where it stopped, also in another run. The file appears under its name only whole
    and with the pinned hash.

    Raises:
        CheckpointError: it cannot be downloaded, is not reachable, or its bytes are not the published ones.
        StorageError: the cache cannot be written.
    """
    if not entry.downloadable or entry.url is None:
        raise CheckpointError(
            f"{entry.name}: its source publishes no pinned download",
            hint=f"get the file from {entry.source} and give its path",
        )
    place = place_of(entry)
    if place.is_file() and _matches(place, entry):
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(place.name + ".part")
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two builds at once share one download
            if place.is_file() and _matches(place, entry):
                part.unlink(missing_ok=True)
                return place
            try:
                _download(entry, entry.url, file, place, progress)
            except CheckpointError:
                if file.seek(0, os.SEEK_END) == 0:
                    part.unlink()
                raise
            file.flush()
            os.fsync(file.fileno())
            if not _matches(part, entry):
                part.unlink()
                raise CheckpointError(
                    f"{entry.name}: what {entry.url} gave is not the published file (its hash differs); it was deleted",
                    hint="try again; if it stays so, a proxy changes the download or the source replaced the file",
                )
            part.replace(place)
    except OSError as error:
        raise StorageError(
            f"{place}: the cache cannot be written ({error.strerror})", hint="free space, or set EDGEKIT_CACHE"
        ) from error
    return place


def _download(entry: Entry, url: str, file: BinaryIO, place: Path, progress: Progress | None) -> None:
    """Appends to ``file`` what it lacks. Each attempt that brought something earns another."""
    failures = 0
    while True:
        have = file.seek(0, os.SEEK_END)
        try:
            if _attempt(url, file, have, progress):
                return
        except urllib.error.HTTPError as error:
            if error.code == 416 and have:  # nothing behind what is there: complete, or longer than the real file
                if _matches(Path(file.name), entry):
                    return
                file.truncate(0)
            elif error.code < 500:
                raise _unreachable(entry, url, place, f"HTTP {error.code} {error.reason}") from error
            reason = f"HTTP {error.code}"
        except NETWORK_ERRORS as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        else:
            reason = "the connection ended early"
        failures = 1 if file.seek(0, os.SEEK_END) > have else failures + 1
        log.info("%s: %s, attempt %d of %d", url, reason, failures, ATTEMPTS)
        if failures >= ATTEMPTS:
            raise _unreachable(entry, url, place, reason)


def _attempt(url: str, file: BinaryIO, have: int, progress: Progress | None) -> bool:
    """One request from byte ``have`` on; whether the file is complete now."""
    if not url.startswith(("https://", "http://")):
        raise CheckpointError(f"{url}: only http and https are followed")
    request = urllib.request.Request(url, headers={"User-Agent": f"edgekit/{__version__}"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
    # urlopen keeps the proxies of its first call; an opener of one's own reads the environment as it is now.
    with urllib.request.build_opener().open(request, timeout=TIMEOUT_S) as response:
        if have and (response.status != 206 or not _continues(response.headers.get("Content-Range", ""), have)):
            file.truncate(0)  # the server sends the whole file again
            have = 0
        announced = response.headers.get("Content-Length")
        total = have + int(announced) if announced and announced.isdigit() else None
        if (total or 0) > MAX_FILE_BYTES:
            raise CheckpointError(f"{url}: {total} bytes are more than any ShuffleNet checkpoint has")
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            have += len(chunk)
            if have > MAX_FILE_BYTES:
                raise CheckpointError(f"{url}: the download does not end")
            if progress:
                progress(have, total)
    return total is None or have >= total


def _continues(content_range: str, have: int) -> bool:
    return content_range.startswith(f"bytes {have}-")


def _matches(path: Path, entry: Entry) -> bool:
    """Whether the file's bytes are the pinned ones; every pin that the entry has must hold."""
    if entry.bytes is not None and path.stat().st_size != entry.bytes:
        return False
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if entry.sha256 is not None and not sha256.startswith(entry.sha256):
        return False
    if entry.md5 is None:
        return entry.sha256 is not None
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == entry.md5


def _unreachable(entry: Entry, url: str, place: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{entry.name}: {url} cannot be downloaded ({reason})",
        hint=f"without a network, download it on another machine and put it at {place}",
    )
