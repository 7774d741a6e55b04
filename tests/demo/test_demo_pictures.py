"""Pictograms, scenes, data sets and the printed sheet."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from edgekit import demo
from edgekit.demo import pictograms, render
from edgekit.demo.dataset import CALIBRATION_COUNT, held_out
from edgekit.demo.sheet import sheet
from edgekit.errors import InputError, UsageError


@pytest.mark.parametrize("name", pictograms.NAMES)
def test_a_pictogram_fills_its_square_and_is_the_same_at_any_size(name: str) -> None:
    large, small = pictograms.draw(name, 256), pictograms.draw(name, 64)
    rows, columns = np.nonzero(large > 127)
    assert max(np.ptp(rows), np.ptp(columns)) > 0.85 * 256
    assert not large[[0, -1]].all(axis=1).any()  # nothing is cut by the square's edge
    shrunk = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(shrunk - small).mean() < 6


def test_no_two_pictograms_look_alike() -> None:
    """Intersection over union of the ink, also mirrored: far from 1 for every pair."""
    inks = [pictograms.draw(name, 96) > 127 for name in pictograms.NAMES]
    for i, a in enumerate(inks):
        for b in inks[i + 1 :]:
            for c in (b, b[:, ::-1]):
                assert (a & c).sum() / (a | c).sum() < 0.75


def test_labels_are_sorted_and_in_step_with_the_file() -> None:
    assert sorted(render.LABELS) == list(render.LABELS)
    assert len(render.LABELS) == len(pictograms.NAMES) + 1 == 13
    assert tuple(demo.labels().read_text().split()) == render.LABELS


@pytest.mark.parametrize("label", render.LABELS)
def test_scenes_follow_their_seed(label: str) -> None:
    first, again, other = (render.scene(label, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first.shape == (256, 341, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert render.scene(label, np.random.default_rng(5), height=120, width=90).shape == (120, 90, 3)


def test_pose_projects_as_a_pinhole() -> None:
    """From the front a page is a square of its own side; tilted back, its far edge is the shorter one."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    flat = render.Pose((50, 40), 20).project(corners)
    assert np.allclose(flat, [[40, 30], [60, 30], [60, 50], [40, 50]])
    tilted = render.Pose((50, 40), 20, pitch=0.5).project(corners)
    top, bottom = (np.linalg.norm(a - b) for a, b in ((tilted[0], tilted[1]), (tilted[2], tilted[3])))
    assert top > 20 > bottom
    turned = render.Pose((50, 40), 20, roll=np.pi / 2).project(corners)
    assert np.allclose(turned, np.roll(flat, -1, axis=0))


def test_held_out_set_is_balanced_and_repeatable(tmp_path: Path) -> None:
    folder = demo.heldout(tmp_path / "a", 26, seed=9)
    files = sorted(folder.rglob("*.jpg"))
    assert {p.parent.name for p in files} == set(render.LABELS)
    assert all(len(list((folder / label).iterdir())) == 2 for label in render.LABELS)
    again = demo.heldout(tmp_path / "b", 26, seed=9)
    assert [p.read_bytes() for p in files] == [p.read_bytes() for p in sorted(again.rglob("*.jpg"))]
    other = demo.heldout(tmp_path / "c", 13, seed=10)
    assert (other / "key/00007.jpg").read_bytes() != (folder / "key/00007.jpg").read_bytes()


def test_held_out_set_never_mixes_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        held_out(tmp_path, 13)
    with pytest.raises(UsageError, match="not an empty folder"):
        held_out(tmp_path / "notes.txt", 13)
    with pytest.raises(UsageError, match="0 pictures"):
        held_out(tmp_path / "new", 0)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_calibration_set_is_the_one_in_its_manifest() -> None:
    folder = demo.calibration()
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
    images = manifest["images"]
    assert len(images) == CALIBRATION_COUNT
    assert {entry["file"] for entry in images} == {p.name for p in folder.glob("*.jpg")}
    assert {entry["label"] for entry in images} == set(render.LABELS)
    for entry in images:
        assert hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
    assert len({entry["sha256"] for entry in images}) == len(images)


def test_sheet_is_a4_in_png(tmp_path: Path) -> None:
    with Image.open(sheet(tmp_path / "sheet.png")) as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert np.allclose(np.array(image.size) / 300 * 25.4, (210, 297), atol=0.1)
        paper = np.asarray(image)
    ink = (paper < 128).mean()
    assert 0.03 < ink < 0.3
    assert paper[:60].min() == paper[:, :60].min() == 255  # the margin that printers cannot reach


def test_sheet_is_a_well_formed_pdf(tmp_path: Path) -> None:
    data = sheet(tmp_path / "sheet.pdf").read_bytes()
    assert data.startswith(b"%PDF-1.4")
    xref = int(re.search(rb"startxref\n(\d+)\n%%EOF\n$", data)[1])
    offsets = re.findall(rb"(\d{10}) 00000 n ", data[xref:])
    for number, offset in enumerate(offsets, start=1):
        assert data[int(offset) :].startswith(b"%d 0 obj" % number)
    image = data[int(offsets[4]) :]
    rows, columns = (int(re.search(rb"/%s (\d+)" % key, image)[1]) for key in (b"Height", b"Width"))
    length = int(re.search(rb"/Length (\d+)", image)[1])
    start = image.index(b"stream\n") + 7
    assert len(zlib.decompress(image[start : start + length])) == rows * columns
    assert b"/MediaBox [0 0 595.28 841.89]" in data


def test_sheet_says_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png or \.pdf"):
        sheet(tmp_path / "sheet.docx")
    with pytest.raises(InputError, match="no folder"):
        sheet(tmp_path / "none" / "sheet.png")
    assert not list(tmp_path.iterdir())


def test_the_device_gets_no_torch() -> None:
    code = (
        "import edgekit.demo.clip, edgekit.demo.sheet, edgekit.demo.dataset, sys; "
        "assert not {'torch', 'onnx', 'onnx_ir', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
