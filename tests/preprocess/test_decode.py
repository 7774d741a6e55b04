"""Pictures from files: EXIF, broken files, folders and globs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgekit.errors import ImageError
from edgekit.preprocess import decode, iter_images


def jpeg(height: int = 48, width: int = 64) -> bytes:
    ramp = np.mgrid[0:height, 0:width].sum(0) * 2 % 256
    return bytes(cv2.imencode(".jpg", np.dstack([ramp, ramp[::-1], ramp]).astype(np.uint8))[1])


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    """A 64×32 JPEG whose EXIF says that it is to be turned by a quarter."""
    image = Image.fromarray(np.full((32, 64, 3), 90, np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "phone.jpg", exif=exif)
    return tmp_path / "phone.jpg"


def test_exif_orientation_is_ignored_as_in_training_pipelines(rotated: Path) -> None:
    assert decode(rotated).shape == (32, 64, 3)
    assert np.asarray(Image.open(rotated).convert("RGB")).shape == (32, 64, 3)
    assert decode(rotated, upright=True).shape == (64, 32, 3)


def test_pixels_are_pils_in_bgr_order(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    expected = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB"))[..., ::-1]
    assert np.abs(decode(tmp_path / "a.jpg").astype(int) - expected).max() <= 2  # two builds of libjpeg


@pytest.mark.parametrize(
    "array", [np.full((5, 6), 40, np.uint8), np.full((5, 6), 40 * 257, np.uint16), np.full((5, 6, 4), 40, np.uint8)]
)
def test_gray_alpha_and_16_bit_files_become_bgr(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "ünïcode.png"
    path.write_bytes(bytes(cv2.imencode(".png", array)[1]))
    picture = decode(path)
    assert picture.shape == (5, 6, 3)
    assert picture.dtype == np.uint8
    assert (picture == 40).all()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, I am a text", "not a picture"),
        (jpeg()[:-40], "cut off"),
        (jpeg()[:100], "cut off"),
        (bytes(cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1])[:30], "not a picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 60, "not a picture"),
    ],
)
def test_broken_files_name_themselves(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=words) as caught:
        decode(path)
    assert "broken.jpg" in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(ImageError, match="cannot be read"):
            decode(path)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(jpeg()) - 1), flip=st.integers(0, 255))
def test_cut_and_damaged_jpegs_are_refused_or_decoded_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.jpg"
    path.write_bytes(jpeg()[:cut])
    with pytest.raises(ImageError):
        decode(path)
    damaged = bytearray(jpeg())
    damaged[cut] = flip
    path.write_bytes(bytes(damaged))
    try:
        picture = decode(path)
    except ImageError:
        return
    assert picture.ndim == 3
    assert picture.size


def test_folders_globs_and_files(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/1.JPG", "a/x.png", "a/notes.txt", "c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    names = [p.relative_to(tmp_path).as_posix() for p in iter_images(tmp_path)]
    assert names == ["a/x.png", "b/1.JPG", "b/2.jpg", "c.webp"]
    assert [p.name for p in iter_images(str(tmp_path / "*" / "*.jpg"))] == ["2.jpg"]
    assert list(iter_images(tmp_path / "c.webp")) == [tmp_path / "c.webp"]
    assert list(iter_images(tmp_path / "folder.jpg")) == []
    with pytest.raises(ImageError, match="no such"):
        list(iter_images(tmp_path / "nowhere"))
    with pytest.raises(ImageError, match="no such"):
        list(iter_images(tmp_path / "*.gif"))
