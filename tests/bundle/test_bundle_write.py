"""A bundle appears whole or not at all: kill -9, a full disk, two writers, and directories that are somebody else's."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgekit import bundle
from edgekit.bundle import atomic
from edgekit.errors import BundleError, StorageError, VerifyFailed


def names(path: Path) -> set[str]:
    return {file.name for file in path.iterdir()}


def test_writing_replaces_the_bundle_that_is_there(tmp_path: Path, tinybundle: ModuleType) -> None:
    first = tinybundle.write(tmp_path / "b", extra={"old.txt": ("other", b"1")})
    second = tinybundle.write(tmp_path / "b")
    assert first.sha256 != second.sha256
    assert "old.txt" not in names(tmp_path / "b")
    assert names(tmp_path) == {"b"}


def test_an_empty_directory_may_be_replaced(tmp_path: Path, tinybundle: ModuleType) -> None:
    (tmp_path / "b").mkdir()
    assert tinybundle.write(tmp_path / "b").path == tmp_path / "b"


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path, tinybundle: ModuleType) -> None:
    (tmp_path / "thesis.tex").write_text("ten years")
    with pytest.raises(BundleError, match=r"holds thesis\.tex, which would be lost"):
        tinybundle.write(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "ten years"


def test_a_file_somebody_put_into_a_bundle_is_not_lost(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tinybundle.write(tmp_path / "b").path
    (path / "telemetry.jsonl").write_text("{}")
    with pytest.raises(BundleError, match=r"telemetry\.jsonl"):
        bundle.check_output(path)


def test_a_file_in_the_way_and_a_directory_that_cannot_be_written(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "b").write_text("a file")
    with pytest.raises(BundleError, match="is a file"):
        bundle.check_output(tmp_path / "b")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(StorageError, match="cannot be written"):
        bundle.check_output(tmp_path / "deep" / "er" / "b")


def test_two_files_of_one_name_are_refused(tmp_path: Path, tinybundle: ModuleType) -> None:
    with pytest.raises(BundleError, match=r"two files of the bundle are called labels\.txt"):
        tinybundle.write(tmp_path / "b", extra={"labels.txt": ("other", b"")})


def test_a_full_disk_leaves_the_old_bundle_whole(tmp_path: Path, tinybundle: ModuleType, monkeypatch: Any) -> None:
    old = tinybundle.write(tmp_path / "b")
    write_file, written = atomic._write_file, []

    def fills_up(path: Path, data: bytes) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        write_file(path, data)

    monkeypatch.setattr(atomic, "_write_file", fills_up)
    with pytest.raises(StorageError, match="the disk is full; what was there is untouched") as caught:
        tinybundle.write(tmp_path / "b", extra={})
    assert caught.value.exit_code == 3
    assert len(written) == 2
    assert bundle.read(tmp_path / "b") == old
    assert names(tmp_path) == {"b"}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_really_full_disk(tmp_path: Path, tinybundle: ModuleType) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    try:
        old = tinybundle.write(small / "b")
        with pytest.raises(StorageError, match="the disk is full"):
            tinybundle.write(small / "b", extra={"report.html": ("report", b"x" * 100_000)})
        assert bundle.read(small / "b") == old
        assert names(small) == {"b"}
    finally:
        subprocess.run(["umount", str(small)], check=True)


WRITER = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
import tinybundle
from edgekit.bundle import atomic
from pathlib import Path
stop_at = sys.argv[3]
original = atomic._swap if stop_at == "swap" else atomic._write_file
count = 0
def hang(*arguments):
    global count
    count += 1
    if stop_at == "swap" or count == 4:
        print("writing", flush=True)
        time.sleep(60)
    original(*arguments)
setattr(atomic, "_swap" if stop_at == "swap" else "_write_file", hang)
tinybundle.write(Path(sys.argv[2]), extra={"new.txt": ("other", b"2")})
"""


@pytest.mark.parametrize("stop_at", ["file", "swap"])
@pytest.mark.parametrize("there_is_one", [True, False])
def test_kill_9_leaves_the_old_bundle_whole_and_the_next_build_cleans_up(
    tmp_path: Path, tinybundle: ModuleType, project_root: Path, stop_at: str, there_is_one: bool
) -> None:
    path = tmp_path / "b"
    old = tinybundle.write(path) if there_is_one else None
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(Path(tinybundle.__file__).parent), str(path), stop_at],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(project_root)},
    )
    assert process.stdout is not None and process.stdout.readline() == b"writing\n"
    # A second writer must not take the first one's work for rubbish while that is alive.
    assert len(names(tmp_path) - {"b"}) == 1
    atomic._remove_stale(path)
    assert len(names(tmp_path) - {"b"}) == 1
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()
    assert (bundle.read(path) == old) if there_is_one else not path.exists()
    assert len(names(tmp_path) - {"b"}) == 1
    tinybundle.write(path)
    assert names(tmp_path) == {"b"}


def test_a_reader_always_finds_a_whole_bundle(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tmp_path / "b"
    parts = [tinybundle.parts(extra={"n.txt": ("other", str(n).encode())}) for n in range(2)]
    known = {bundle.write(path, part).sha256 for part in parts}
    stop, seen, failures = threading.Event(), set(), []

    def read() -> None:
        while not stop.is_set():
            try:
                seen.add(bundle.read(path, check=False).sha256)
            except Exception as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        for part in parts:
            bundle.write(path, part)
    stop.set()
    reader.join()
    assert seen == known
    # manifest and labels are two files, so a reader may meet the moment between; it is told, not misled.
    assert all(isinstance(error, BundleError | VerifyFailed) or "labels" in str(error) for error in failures)


def test_without_an_exchange_the_old_bundle_moves_aside(
    tmp_path: Path, tinybundle: ModuleType, monkeypatch: Any
) -> None:
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    tinybundle.write(tmp_path / "b", extra={"old.txt": ("other", b"1")})
    tinybundle.write(tmp_path / "b")
    assert "old.txt" not in names(tmp_path / "b")
    assert names(tmp_path) == {"b"}


def test_a_bundle_left_aside_is_put_back(tmp_path: Path, tinybundle: ModuleType) -> None:
    old = tinybundle.write(tmp_path / "b")
    (tmp_path / "b").rename(tmp_path / ".b.old")  # where a stop between the two renames leaves it
    atomic._remove_stale(tmp_path / "b")
    assert bundle.read(tmp_path / "b") == old


def test_adding_a_file_makes_a_new_whole_bundle(tmp_path: Path, tinybundle: ModuleType) -> None:
    old = tinybundle.write(tmp_path / "b")
    new = bundle.add(tmp_path / "b", {"requirements.txt": ("requirements", b"numpy==2\n")}, notes={"locked": True})
    assert new.sha256 != old.sha256
    assert new.file("requirements.txt").read_text() == "numpy==2\n"
    assert new.manifest.notes["locked"] is True
    assert {e.name: e.sha256 for e in old.manifest.files}.items() <= {
        e.name: e.sha256 for e in new.manifest.files
    }.items()


def test_adding_to_a_damaged_bundle_is_refused(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tinybundle.write(tmp_path / "b").path
    (path / "model.onnx").write_bytes(b"other")
    with pytest.raises(VerifyFailed, match=r"model\.onnx"):
        bundle.add(path, {})
