"""Downloads against a server on this machine that behaves as real ones do, also badly."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekit import checkpoints
from edgekit.checkpoints import catalogue, download
from edgekit.checkpoints.catalogue import Entry
from edgekit.errors import CheckpointError, StorageError

CONTENT = bytes(range(256)) * 1200


class Server(http.server.ThreadingHTTPServer):
    """Serves ``CONTENT`` at any path; the attributes say how it misbehaves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.content = CONTENT
        self.break_after: list[int] = []  # bytes after which each of the next answers ends
        self.ranges = True
        self.status: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append((self.path, wanted))
        if server.status:
            self.send_error(server.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.break_after.pop(0)] if server.break_after else body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def entry_for(server: Server, **changes: Any) -> Entry:
    pinned = hashlib.sha256(CONTENT).hexdigest()
    known = Entry("test/weights", "V2 x1.0", "MIT", "here", server.url, "weights.bin", sha256=pinned[:10])
    return replace(known, **changes)


def test_downloads_once_and_reports_progress(server: Server, cache: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = download.fetch(entry_for(server), lambda have, total: seen.append((have, total)))
    assert path == cache / "checkpoints/test/weights.bin"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert download.fetch(entry_for(server)) == path
    assert len(server.requests) == 1
    assert [p.name for p in path.parent.iterdir()] == ["weights.bin"]


def test_goes_on_where_the_connection_broke(server: Server) -> None:
    server.break_after = [100_000, 50_000]
    assert download.fetch(entry_for(server)).read_bytes() == CONTENT
    ranges = [wanted for _, wanted in server.requests]
    assert ranges[0] is None
    assert ranges[1:] == ["bytes=100000-", "bytes=150000-"]


def test_goes_on_in_another_run(server: Server, cache: Path) -> None:
    part = cache / "checkpoints/test/weights.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:4096])
    assert download.fetch(entry_for(server)).read_bytes() == CONTENT
    assert server.requests == [("/weights.bin", "bytes=4096-")]
    assert not part.exists()


def test_starts_again_where_the_server_knows_no_ranges(server: Server, cache: Path) -> None:
    server.ranges = False
    part = cache / "checkpoints/test/weights.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"old" * 100)
    assert download.fetch(entry_for(server)).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"too long"])
def test_a_whole_or_overlong_part_ends_well(server: Server, cache: Path, left: bytes) -> None:
    part = cache / "checkpoints/test/weights.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    assert download.fetch(entry_for(server)).read_bytes() == CONTENT


@pytest.mark.parametrize("pin", [{"sha256": "00" * 32}, {"sha256": None, "md5": "0" * 32}, {"bytes": 3}])
def test_refuses_other_bytes(server: Server, cache: Path, pin: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="not the published file"):
        download.fetch(entry_for(server, **pin))
    assert list((cache / "checkpoints/test").iterdir()) == []


def test_an_md5_pin_is_enough(server: Server) -> None:
    entry = entry_for(server, sha256=None, md5=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest())
    assert download.fetch(entry).read_bytes() == CONTENT


def test_a_damaged_cache_is_repaired(server: Server, cache: Path) -> None:
    path = download.fetch(entry_for(server))
    path.write_bytes(CONTENT[:-1] + b"\x01")
    assert download.fetch(entry_for(server)).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (403, 1), (503, download.ATTEMPTS)])
def test_a_refusal_names_the_place_for_the_file(server: Server, cache: Path, status: int, attempts: int) -> None:
    server.status = status
    with pytest.raises(CheckpointError, match=f"HTTP {status}") as raised:
        download.fetch(entry_for(server))
    assert str(cache / "checkpoints/test/weights.bin") in str(raised.value.hint)
    assert len(server.requests) == attempts
    assert list((cache / "checkpoints/test").iterdir()) == []


def test_offline_names_the_file_and_where_to_put_it(cache: Path) -> None:
    entry = Entry("test/weights", "", "", "", "http://127.0.0.1:9/weights.bin", "weights.bin", sha256="ab")
    with pytest.raises(CheckpointError, match="cannot be downloaded") as raised:
        download.fetch(entry)
    assert "http://127.0.0.1:9/weights.bin" in raised.value.message
    assert f"put it at {cache / 'checkpoints/test/weights.bin'}" in str(raised.value.hint)


def test_the_proxy_of_the_environment_is_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    entry = replace(entry_for(server), url="http://weights.invalid/file.bin")
    assert download.fetch(entry).read_bytes() == CONTENT
    assert server.requests[0][0] == "http://weights.invalid/file.bin"


def test_other_addresses_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(CONTENT)
    entry = Entry("test/w", "", "", "", (tmp_path / "w").as_uri(), "w", sha256=hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(CheckpointError, match="only http"):
        download.fetch(entry)


def test_an_unwritable_cache_is_a_storage_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="EDGEKIT_CACHE"):
        download.fetch(entry_for(server))


def test_two_at_once_download_once(server: Server) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(download.fetch(entry_for(server)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4
    assert found[0].read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_load_takes_a_catalogue_name(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    import framework_answers
    import torch

    shapes = framework_answers.load("torchvision_v2_custom")["shapes"]
    saved = io.BytesIO()
    torch.save({k: torch.from_numpy(framework_answers.tensor(k, tuple(s))) for k, s in shapes.items()}, saved)
    server.content = saved.getvalue()
    entry = entry_for(server, sha256=hashlib.sha256(server.content).hexdigest(), resize=232)
    monkeypatch.setattr(catalogue, "entries", lambda: (entry,))
    monkeypatch.chdir(tmp_path)
    checkpoint = checkpoints.load("test/weights")
    assert checkpoint.family == "torchvision"
    assert checkpoint.image.resize == 232  # from the catalogue: no tensor says it
    with pytest.raises(CheckpointError, match="no such name") as raised:
        checkpoints.load("test/weight")
    assert "test/weights" in str(raised.value.hint)


def test_the_catalogue_is_complete() -> None:
    listed = catalogue.entries()
    assert len({entry.name for entry in listed}) == len(listed) >= 30
    for entry in listed:
        assert entry.license
        assert entry.source.startswith("https://")
        assert entry.downloadable or entry.sha256 is entry.md5 is None
        if entry.url:
            assert entry.url.startswith("https://")
            assert len(entry.sha256 or entry.md5 or "") in (8, 10, 32, 64)
            assert entry.url.endswith(entry.file)
        if entry.sha256 and len(entry.sha256) < 64:  # torch hub's and OpenMMLab's way to pin: in the file's name
            assert entry.file.removesuffix(".pth").endswith(f"-{entry.sha256}")
    assert {entry.name.split("/")[0] for entry in listed} == {
        "torchvision", "mmpretrain", "paddle", "onnx", "megvii", "tensorflow"
    }  # fmt: skip
    shown = catalogue.text(listed)
    assert all(entry.name in shown for entry in listed)


def test_an_entry_without_a_download_says_where_to_get_it() -> None:
    with pytest.raises(CheckpointError, match="no pinned download") as raised:
        checkpoints.load("megvii/shufflenet_v1_0.5x_g3")
    assert "github.com/megvii-model" in str(raised.value.hint)
