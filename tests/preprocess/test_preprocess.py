"""Frames to model input: PIL's own answer, torchvision's geometry, every kind of frame, no allocation."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgekit.contracts import ImageContract
from edgekit.errors import ImageError
from edgekit.preprocess import Preprocessor, crop_offset, resized_size

INTERPOLATIONS = ["antialias", "area", "linear"]


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Octaves of colour noise, each half as strong as the next coarser one: the spectrum of a photograph."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 128.0)
    for octave in range(8):
        cells = 2**octave + 1
        noise = rng.normal(0, 60 / 1.6**octave, (cells, cells, 3))
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def torchvision_on_pil(frame: np.ndarray, contract: ImageContract) -> np.ndarray:
    """Resize(contract.resize) + CenterCrop on a PIL image, with torchvision's rounding spelt out."""
    height, width = frame.shape[:2]
    short, long = sorted((height, width))
    longer = int(contract.resize * long / short)
    size = (contract.resize, longer) if width <= height else (longer, contract.resize)
    resized = np.asarray(Image.fromarray(frame[..., ::-1]).resize(size, Image.Resampling.BILINEAR))
    top = round((resized.shape[0] - contract.height) / 2.0)
    left = round((resized.shape[1] - contract.width) / 2.0)
    return resized[top : top + contract.height, left : left + contract.width]


# (height, width) → torchvision's resized (height, width) and the crop's (top, left); worked out by hand.
GEOMETRY = [
    ((480, 640), (256, 341), (16, 58)),  # 341.33 is cut; 58.5 goes to the even 58
    ((640, 480), (341, 256), (58, 16)),
    ((375, 500), (256, 341), (16, 58)),
    ((360, 640), (256, 455), (16, 116)),  # 455.1; 115.5 goes to the even 116
    ((100, 100), (256, 256), (16, 16)),
    ((1, 1), (256, 256), (16, 16)),
    ((1080, 1920), (256, 455), (16, 116)),
    ((257, 259), (256, 257), (16, 16)),  # 257.99 is cut; 16.5 goes to the even 16
]


@pytest.mark.parametrize(("size", "resized", "offset"), GEOMETRY)
def test_geometry_is_torchvisions(size: tuple[int, int], resized: tuple[int, int], offset: tuple[int, int]) -> None:
    assert resized_size(*size, 256) == resized
    assert (crop_offset(resized[0], 224), crop_offset(resized[1], 224)) == offset


@pytest.mark.parametrize(
    "size", [(480, 640), (640, 480), (333, 481), (1000, 1023), (720, 1280), (80, 100), (256, 341), (3, 2)]
)
def test_antialias_is_pils_picture(size: tuple[int, int]) -> None:
    frame = photo(*size)
    got = Preprocessor(ImageContract()).image(frame).astype(int)
    difference = np.abs(got - torchvision_on_pil(frame, ImageContract()))
    # Both round to 8 bits twice; single precision decides a rare tie the other way.
    assert difference.max() <= 2
    assert difference.mean() < 0.05


@pytest.mark.parametrize("size", [(1080, 1920), (1600, 2049)])
def test_large_frames_are_averaged_in_blocks_first_and_stay_close_to_pil(size: tuple[int, int]) -> None:
    frame = photo(*size)
    difference = np.abs(
        Preprocessor(ImageContract()).image(frame).astype(int) - torchvision_on_pil(frame, ImageContract())
    )
    assert difference.max() <= 12
    assert difference.mean() < 0.6


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    crop=st.tuples(st.integers(1, 160), st.integers(1, 160)),
    extra=st.integers(0, 60),
)
def test_any_size_and_contract_matches_pil(height: int, width: int, crop: tuple[int, int], extra: int) -> None:
    contract = ImageContract(height=crop[0], width=crop[1], resize=max(crop) + extra)
    if max(height, width) > 40 * min(height, width):
        return  # the other side would become tens of thousands of pixels long in the reference
    frame = photo(height, width, height * 701 + width)
    difference = np.abs(Preprocessor(contract).image(frame).astype(int) - torchvision_on_pil(frame, contract))
    # From 4 times on, blocks are averaged first: exact for smooth pictures only.
    assert difference.max() <= (2 if min(height, width) < 4 * contract.resize else 25)


@pytest.mark.parametrize("interpolation", ["linear", "area"])
@pytest.mark.parametrize("size", [(480, 640), (333, 481), (720, 1280), (80, 100), (999, 1001)])
def test_opencv_modes_equal_resizing_the_whole_frame(interpolation: str, size: tuple[int, int]) -> None:
    frame, (height, width) = photo(*size), resized_size(*size, 256)
    flag = cv2.INTER_AREA if interpolation == "area" and min(size) > 256 else cv2.INTER_LINEAR
    whole = cv2.resize(frame, (width, height), interpolation=flag)
    top, left = crop_offset(height, 224), crop_offset(width, 224)
    expected = whole[top : top + 224, left : left + 224, ::-1].astype(int)
    got = Preprocessor(ImageContract(interpolation=interpolation)).image(frame)
    assert np.abs(got - expected).max() <= 1


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_only_the_needed_part_of_a_frame_is_read(interpolation: str) -> None:
    frame = photo(480, 640)
    preprocess = Preprocessor(ImageContract(interpolation=interpolation))
    before = preprocess.image(frame)
    frame[:, :30] = 0
    frame[:24] = 255
    assert np.array_equal(preprocess.image(frame), before)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_kinds_of_frames(interpolation: str) -> None:
    preprocess = Preprocessor(ImageContract(interpolation=interpolation))
    frame = photo(300, 400)
    expected = preprocess.image(frame)
    gray = frame[..., 1].copy()
    alpha = np.dstack([frame, np.zeros((300, 400), np.uint8)])
    assert np.array_equal(preprocess.image(alpha), expected)
    assert np.array_equal(preprocess.image(frame.astype(np.uint16) * 257), expected)
    assert np.array_equal(preprocess.image(gray), preprocess.image(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)))
    assert np.array_equal(preprocess.image(gray[..., None]), preprocess.image(gray))
    assert np.array_equal(preprocess.image(gray.astype(np.uint16) * 257), preprocess.image(gray))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1), (2, 5, 3), (4320, 7680, 3)])
def test_one_pixel_and_8k(interpolation: str, shape: tuple[int, ...]) -> None:
    frame = np.full(shape, 137, np.uint8)
    assert (Preprocessor(ImageContract(interpolation=interpolation)).image(frame) == 137).all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_flipped_and_sliced_views(interpolation: str) -> None:
    frame = photo(300, 400)
    preprocess = Preprocessor(ImageContract(interpolation=interpolation))
    for view in (frame[:, ::-1], frame[::-1], frame[10:290, 7:333], frame[..., ::-1]):
        assert np.array_equal(preprocess.image(view), preprocess.image(np.ascontiguousarray(view)))


def test_writes_into_the_given_buffer_whatever_its_strides() -> None:
    preprocess, frame = Preprocessor(ImageContract()), photo(480, 640)
    expected = preprocess.image(frame)
    batch = np.zeros((3, 224, 224, 3), np.uint8)
    preprocess(frame, batch[1])
    assert np.array_equal(batch[1], expected)
    assert not batch[0].any()
    assert not batch[2].any()
    planes = np.zeros((3, 224, 224), np.uint8).transpose(1, 2, 0)
    preprocess(frame, planes)
    assert np.array_equal(planes, expected)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_nothing_is_allocated_after_the_first_frame_of_a_size(interpolation: str, dtype: type) -> None:
    preprocess, frame = Preprocessor(ImageContract(interpolation=interpolation)), photo(480, 640).astype(dtype)
    out = np.empty((224, 224, 3), np.uint8)
    preprocess(frame, out)
    tracemalloc.start()
    preprocess(frame, out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000  # views and argument tuples, no pixels (the result alone is 150,528 bytes)


def test_plans_of_many_sizes_do_not_pile_up() -> None:
    preprocess = Preprocessor(ImageContract(height=16, width=16, resize=16))
    for size in range(20, 60):
        preprocess.image(photo(size, 64))
    assert len(preprocess._plans) <= 4


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((10, 0), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros(7, np.uint8),
        None,
        "frame.jpg",
    ],
)
def test_what_is_no_frame(frame: object) -> None:
    with pytest.raises(ImageError):
        Preprocessor(ImageContract()).image(frame)


def test_wrong_buffer_and_impossible_contract() -> None:
    with pytest.raises(ImageError, match="224, 224, 3"):
        Preprocessor(ImageContract())(photo(20, 20), np.empty((224, 223, 3), np.uint8))
    with pytest.raises(ImageError, match="uint8"):
        Preprocessor(ImageContract())(photo(20, 20), np.empty((224, 224, 3), np.float32))
    with pytest.raises(ImageError, match="does not fit"):
        Preprocessor(ImageContract(resize=200))
    with pytest.raises(ImageError, match="bicubic"):
        Preprocessor(ImageContract.from_dict({**ImageContract().to_dict(), "interpolation": "bicubic"}))


def test_the_device_gets_no_torch() -> None:
    code = "import edgekit.preprocess, sys; assert not {'torch', 'onnx', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
