"""Publishes a directory, whole or not at all.

The new content is written and flushed in a hidden directory beside the old one, and the two change places in one system
call (``renameat2`` with ``RENAME_EXCHANGE``); whatever stops the process, power included, the path holds one complete
directory. The hidden one is locked while its writer lives, so that the next writer can tell, and removes, what a
killed one left behind.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edgekit.errors import StorageError

log = logging.getLogger(__name__)

_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # fcntl.h


def publish(output: Path, content: Mapping[str, bytes]) -> None:
    """Puts a directory with exactly these files (relative POSIX name → bytes) at ``output``, in place of what is there.

    Raises:
        StorageError: the disk is full or cannot be written; what was at ``output`` is untouched.
    """
    output = Path(os.path.abspath(output))  # noqa: PTH100 — resolve() would follow a link and replace what it points at
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(output)
        with _workspace(output) as fresh:
            for name, data in content.items():
                _write_file(fresh / name, data)
            for directory in (fresh, *(item for item in fresh.rglob("*") if item.is_dir())):
                _sync_directory(directory)
            _swap(fresh, output)
            _sync_directory(output.parent)
    except OSError as error:
        raise _storage_error(output, error) from error


@contextmanager
def _workspace(output: Path) -> Iterator[Path]:
    """A hidden, locked directory beside ``output``, gone at the end: by then it holds the old content, or nothing."""
    fresh = output.parent / f"{_prefix(output)}{os.getpid()}-{os.urandom(4).hex()}"
    fresh.mkdir()
    lock = os.open(fresh, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        os.close(lock)


def _prefix(output: Path) -> str:
    return f".{output.name}.edgekit-"


def _remove_stale(output: Path) -> None:
    """Clears what killed writers left beside ``output``, and puts back an old directory that one had moved aside."""
    aside = _aside(output)
    if aside.is_dir():
        if output.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(output)
    for left in output.parent.glob(f"{_prefix(output)}*"):
        try:
            lock = os.open(left, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its writer is at work
        else:
            log.info("removing %s, left by a writer that was stopped", left)
            shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(lock)


def _aside(output: Path) -> Path:
    return output.parent / f".{output.name}.old"


def _write_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap(fresh: Path, output: Path) -> None:
    """Puts ``fresh`` at ``output``; what was there ends up at ``fresh``."""
    if not output.exists():
        fresh.rename(output)
        return
    if _exchange(fresh, output):
        return
    # No exchange on this file system: between these two renames the path is empty, and the next writer, finding the old
    # directory aside, puts it back.
    aside = _aside(output)
    output.rename(aside)
    fresh.rename(output)
    aside.rename(fresh)


def _exchange(one: Path, other: Path) -> bool:
    """Lets two directories change places atomically; False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _storage_error(output: Path, error: OSError) -> StorageError:
    kept = "; what was there is untouched" if output.exists() else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"{output}: the disk is full{kept}", hint="free some space, or choose another --output")
    return StorageError(f"{output}: cannot be written: {error.strerror or error}{kept}", hint="choose another --output")
