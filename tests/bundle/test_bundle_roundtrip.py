"""What a build writes is what a device reads, and nothing else is believed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import bundle
from edgekit.bundle import Expected, Golden, golden
from edgekit.bundle.manifest import Manifest, safe_name
from edgekit.contracts import ImageContract
from edgekit.errors import BundleError, LabelsError, VerifyFailed


def test_a_bundle_reads_back_as_it_was_written(tmp_path: Path, tinybundle: ModuleType) -> None:
    made = tinybundle.write(tmp_path / "build" / "host", accuracy={"drop_pp": 0.1})
    read = bundle.read(made.path)
    assert read == made
    assert read.labels == tinybundle.LABELS
    assert read.manifest.image == ImageContract(16, 16, 16, "antialias")
    assert read.manifest.model("onnx").output.zero_point == 120
    assert read.manifest.accuracy == {"drop_pp": 0.1}
    assert read.sha256 == made.manifest.sha256 and len(read.sha256) == 64
    assert read.file("model.tflite").read_bytes() == tinybundle.TFLITE.read_bytes()
    assert not read.has("float.onnx")
    with pytest.raises(BundleError, match=r"holds no float\.onnx"):
        read.file("float.onnx")
    np.testing.assert_array_equal(read.golden().inputs, tinybundle.images())


def test_the_manifest_names_every_file_with_its_hash_and_size(tmp_path: Path, tinybundle: ModuleType) -> None:
    made = tinybundle.write(tmp_path / "b")
    entries = json.loads((made.path / "manifest.json").read_text())["files"]
    on_disk = {file.name for file in made.path.iterdir()} - {"manifest.json"}
    assert {entry["name"] for entry in entries} == on_disk
    for entry in entries:
        content = (made.path / entry["name"]).read_bytes()
        assert (entry["size"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_same_parts_give_the_same_bytes(tmp_path: Path, tinybundle: ModuleType) -> None:
    one, other = tinybundle.write(tmp_path / "one"), tinybundle.write(tmp_path / "other")
    assert one.sha256 == other.sha256
    for file in one.path.iterdir():
        assert file.read_bytes() == (other.path / file.name).read_bytes(), file.name


def test_a_bundle_is_named_by_all_but_its_report(tmp_path: Path, tinybundle: ModuleType) -> None:
    """The report tells how long things took; everything else of the same build is the same."""
    one = tinybundle.write(tmp_path / "one", extra={"report.html": ("report", b"3 seconds")})
    other = tinybundle.write(tmp_path / "other", extra={"report.html": ("report", b"4 seconds")})
    assert one.sha256 == other.sha256
    assert one.manifest.files != other.manifest.files
    further = tinybundle.write(tmp_path / "further", extra={"ranges.json": ("other", b"{}")})
    changed = tinybundle.write(tmp_path / "changed", notes={"output": "logits"})
    assert len({one.sha256, further.sha256, changed.sha256}) == 3


def test_a_key_of_a_newer_edgekit_counts_in_the_name(tmp_path: Path, tinybundle: ModuleType) -> None:
    made = tinybundle.write(tmp_path / "b")
    path = made.path / "manifest.json"
    data = json.loads(path.read_text())
    data["newer"] = "fact"
    data["digests"]["newer"] = hashlib.sha256(b'"fact"').hexdigest()[:16]
    path.write_text(json.dumps(data))
    assert bundle.read(made.path).sha256 != made.sha256


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite", "labels.txt", "golden.npz", "report.html"])
def test_one_flipped_byte_is_found_and_the_file_named(tmp_path: Path, tinybundle: ModuleType, name: str) -> None:
    path = tinybundle.write(tmp_path / "b").path
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(VerifyFailed, match=name) as caught:
        bundle.read(path)
    assert caught.value.exit_code == 1
    assert "sha256" in caught.value.message


def test_a_missing_a_longer_and_a_linked_file_are_found_together(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tinybundle.write(tmp_path / "b").path
    (path / "model.onnx").unlink()
    with (path / "model.tflite").open("ab") as stream:
        stream.write(b"\0")
    shutil.move(path / "labels.txt", tmp_path / "labels.txt")
    (path / "labels.txt").symlink_to(tmp_path / "labels.txt")
    with pytest.raises(VerifyFailed) as caught:
        bundle.read(path)
    assert len(caught.value.message.splitlines()) == 3
    for said in ("model.onnx: is missing", "model.tflite: is 2009 bytes long", "labels.txt: is a link"):
        assert said in caught.value.message


def test_labels_swapped_for_others_are_found(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tinybundle.write(tmp_path / "b").path
    lines = (path / "labels.txt").read_text().splitlines()
    (path / "labels.txt").write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
    with pytest.raises(VerifyFailed, match=r"labels\.txt: is not the file of the manifest"):
        bundle.read(path)


def edit(path: Path, change: object) -> None:
    file = path / "manifest.json"
    data = json.loads(file.read_text())
    assert callable(change)
    change(data)
    file.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d["image"].update(resize=232), r"image\.resize"),
        (lambda d: d["image"].update(interpolation="linear"), r"image\.interpolation"),
        (lambda d: d["image"].update(color="bgr"), r"image\.color"),
        (lambda d: d["target"].update(threads=8), r"target\.threads"),
        (lambda d: d["engines"].update(litert="9.9"), r"engines\.litert"),
        (lambda d: d["models"][0]["output"].update(scale=1.0), "models"),
        (lambda d: d.update(classes=4), "classes"),
        (lambda d: d.update(surprise=1), "surprise"),
    ],
)
def test_a_changed_manifest_is_found_and_the_key_named(
    tmp_path: Path, tinybundle: ModuleType, change: object, named: str
) -> None:
    path = tinybundle.write(tmp_path / "b").path
    edit(path, change)
    with pytest.raises(VerifyFailed, match=rf"manifest\.json: changed after the build: {named}"):
        bundle.read(path, check=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("schema"), "'schema' is missing"),
        (lambda d: d.update(schema=99), "has schema 99, and this edgekit reads up to 1"),
        (lambda d: d.update(schema=True), "'schema' is not a whole number"),
        (lambda d: d.pop("digests"), "'digests' is missing"),
        (lambda d: d.update(digests=3), "'digests' is not a mapping"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(
    tmp_path: Path, tinybundle: ModuleType, change: object, message: str
) -> None:
    path = tinybundle.write(tmp_path / "b").path
    edit(path, change)
    with pytest.raises(BundleError, match=message):
        bundle.read(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"schema": "1"}'])
def test_a_manifest_that_is_no_manifest(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        bundle.read(tmp_path)


def test_what_is_not_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, said in (("absent", "no such bundle"), ("file", "is a file"), ("empty", "holds no manifest.json")):
        with pytest.raises(BundleError, match=said):
            bundle.read(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../b", "a//b", "", ".", "a\\b", "c:x", "manifest.json", "x/"]
)
def test_a_name_that_leaves_the_bundle_is_refused_on_both_sides(
    tmp_path: Path, tinybundle: ModuleType, name: str
) -> None:
    with pytest.raises(BundleError, match="cannot hold a file called"):
        tinybundle.write(tmp_path / "b", extra={name: ("other", b"")})
    assert not (tmp_path / "b").exists()
    made = tinybundle.write(tmp_path / "b")
    with pytest.raises(BundleError, match="cannot hold a file called"):
        Manifest.from_bytes(resealed(made.path, name), "manifest.json")


def resealed(path: Path, name: str) -> bytes:
    """The manifest with a hostile file name and digests to match, as an attacker would write it."""
    from edgekit.bundle.manifest import _digest

    data = json.loads((path / "manifest.json").read_text())
    data["files"][0]["name"] = name
    data["digests"]["files"] = _digest(data["files"])
    return json.dumps(data).encode()


def test_names_in_folders_are_allowed(tmp_path: Path, tinybundle: ModuleType) -> None:
    assert safe_name("stages/1-float.onnx") == "stages/1-float.onnx"
    made = tinybundle.write(tmp_path / "b", extra={"stages/1-float.onnx": ("stage", b"x")})
    assert made.file("stages/1-float.onnx").read_bytes() == b"x"


def test_labels_must_fit_the_model(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tinybundle.write(tmp_path / "b").path
    (path / "labels.txt").write_text("only one\n")
    with pytest.raises(LabelsError, match="holds 1 labels, and the model has 5 classes"):
        bundle.read(path, check=False)


def test_goldens_read_back_with_every_recorded_answer() -> None:
    inputs = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    made = Golden(inputs, np.array([1, -1], np.int32), (Expected("litert", "aarch64", np.ones((2, 3), np.int8)),))
    made = made.recording(Expected("litert", "x86_64+vnni", np.zeros((2, 3), np.int8)))
    content = golden.to_bytes(made)
    assert content == golden.to_bytes(made)
    read = golden.from_bytes(content, "golden.npz")
    assert [item.key for item in read.expected] == ["expected.litert.aarch64", "expected.litert.x86_64+vnni"]
    assert [item.raw.max() for item in read.of("litert", "tflite-runtime")] == [1, 0]
    assert read.of("onnxruntime") == ()
    with np.load(io.BytesIO(content)) as plain:  # any other tool can read it too
        np.testing.assert_array_equal(plain["inputs"], inputs)
    assert {info.date_time for info in zipfile.ZipFile(io.BytesIO(content)).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_recording_again_replaces_the_same_engine_and_family() -> None:
    made = Golden(np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.int32), ())
    one = Expected("litert", "aarch64", np.ones((1, 2), np.int8))
    two = Expected("litert", "aarch64", np.full((1, 2), 2, np.int8))
    assert made.recording(one).recording(two).expected == (two,)


def npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 no archive",
        npz(inputs=np.zeros((1, 4, 4, 3), np.uint8)),
        npz(inputs=np.zeros((1, 4, 4, 3), np.float32), labels=np.zeros(1, np.int32)),
        npz(inputs=np.zeros((2, 4, 4, 3), np.uint8), labels=np.zeros(1, np.int32)),
        npz(inputs=np.zeros((1, 4, 4, 3), np.uint8), labels=np.array([os.getcwd], object)),
    ],
)
def test_goldens_that_cannot_be_used_are_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"golden\.npz"):
        golden.from_bytes(content, "golden.npz")


@pytest.mark.parametrize(
    ("machine", "features", "family"),
    [
        ("aarch64", {"asimd"}, "aarch64"),
        ("aarch64", {"asimd", "asimddp"}, "aarch64+dotprod"),
        ("arm64", {"asimddp"}, "aarch64+dotprod"),
        ("armv7l", {"neon", "asimddp"}, "armv7l"),
        ("x86_64", {"avx2"}, "x86_64"),
        ("AMD64", {"avx2", "avx_vnni"}, "x86_64+vnni"),
        ("riscv64", set(), "riscv64"),
    ],
)
def test_instruction_set_families(machine: str, features: set[str], family: str) -> None:
    assert golden.isa_family(machine, frozenset(features)) == family


class TestChoose:
    def test_every_class_and_both_ends_of_the_margins_are_covered(self) -> None:
        rng = np.random.default_rng(0)
        scores = rng.normal(size=(200, 10)).astype(np.float32)
        labels = rng.integers(0, 10, 200)
        chosen = golden.choose(scores, labels, 32)
        assert len(chosen) == len(set(chosen)) == 32
        assert set(labels[chosen]) == set(range(10))
        two = np.sort(scores, axis=1)[:, -2:]
        margins = two[:, 1] - two[:, 0]
        for group in range(10):
            members = np.flatnonzero(labels == group)
            assert members[margins[members].argmin()] in chosen  # three turns each: median, narrowest, widest
            assert members[margins[members].argmax()] in chosen

    def test_unknown_labels_are_grouped_by_the_models_own_answer(self) -> None:
        scores = np.eye(4, dtype=np.float32)[np.arange(40) % 4]
        chosen = golden.choose(scores, np.full(40, -1), 8)
        assert sorted(scores[chosen].argmax(axis=1)) == [0, 0, 1, 1, 2, 2, 3, 3]

    def test_more_classes_than_goldens(self) -> None:
        scores = np.random.default_rng(1).normal(size=(500, 100)).astype(np.float32)
        chosen = golden.choose(scores, np.arange(500) % 100, 32)
        assert len(set((np.arange(500) % 100)[chosen])) == 32

    @given(st.integers(0, 60), st.integers(2, 7), st.integers(1, 40), st.integers(0, 9))
    def test_as_many_as_there_are_each_once_and_always_the_same(
        self, images: int, classes: int, count: int, seed: int
    ) -> None:
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=(images, classes)).astype(np.float32)
        labels = rng.integers(-1, classes, images)
        chosen = golden.choose(scores, labels, count)
        groups = len(set(np.where(labels >= 0, labels, scores.argmax(axis=1)) if images else ()))
        assert len(chosen) == min(images, count)
        assert groups <= count or len(chosen) == count
        assert len(set(chosen.tolist())) == len(chosen)
        np.testing.assert_array_equal(chosen, golden.choose(scores, labels, count))
