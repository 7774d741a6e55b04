"""A decoded picture of any size becomes the model's input: uint8 RGB ``[height, width, 3]``.

Everything that looks at a picture (calibration, ``eval``, ``run``, the Python API) goes through :class:`Preprocessor`,
so a model meets the same pixels everywhere. The geometry is torchvision's ``Resize(n)`` + ``CenterCrop``: the short
side becomes ``resize`` pixels, the long one ``int(resize * long / short)``, and the crop starts at
``round((size - crop) / 2)``, halves to even. Only the pixels that the crop needs are read from the frame, and colours
are reordered on the small result. docs/preprocessing.md has the measured distance of each interpolation from PIL.
"""

from __future__ import annotations

import glob
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from edgekit.contracts import ImageContract, Interpolation
from edgekit.errors import ImageError
from edgekit.resample import CvResampler, Resampler, TriangleResampler

Frame = NDArray[np.uint8] | NDArray[np.uint16]
Pixels = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
# Plans hold the buffers of one frame size. A camera has one size; a folder of photos has a few common ones.
_KEPT_PLANS = 4


def resized_size(height: int, width: int, resize: int) -> tuple[int, int]:
    """(height, width) after the short side became ``resize``, rounded as torchvision rounds: towards zero."""
    if height <= width:
        return resize, int(resize * width / height)
    return int(resize * height / width), resize


def crop_offset(size: int, crop: int) -> int:
    """Where a centre crop starts, as in torchvision: ``round`` of Python, so halves go to the even number."""
    return round((size - crop) / 2.0)


class Preprocessor:
    """Writes frames into an engine's input as ``contract`` says.

    Raises:
        ImageError: the contract asks for a crop larger than the resized picture, or an unknown interpolation.
    """

    def __init__(self, contract: ImageContract) -> None:
        if not 0 < max(contract.height, contract.width) <= contract.resize:
            raise ImageError(
                f"a crop of {contract.height}x{contract.width} does not fit a short side of {contract.resize}",
                hint="image.resize must be at least image.height and image.width",
            )
        if contract.interpolation not in get_args(Interpolation):
            raise ImageError(
                f"interpolation {contract.interpolation!r} is not known",
                hint="one of " + ", ".join(get_args(Interpolation)),
            )
        self.contract = contract
        self._plans: OrderedDict[tuple[int, int, int, bool], _Plan] = OrderedDict()

    def __call__(self, frame: Frame, out: Pixels) -> None:
        """Resizes, crops and reorders ``frame`` into ``out``; allocates nothing after a size's first frame.

        Args:
            frame: uint8 or uint16 ``[H, W, 3]`` BGR, ``[H, W, 4]`` BGRA, ``[H, W, 1]`` or ``[H, W]`` gray, any H and W
                from 1. 16-bit values are divided by 257; alpha is dropped, as OpenCV and PIL's ``convert("RGB")`` do.
            out: uint8 ``[height, width, 3]``, written as RGB; usually one image of the engine's input.

        Raises:
            ImageError: the frame is empty or of another kind, or ``out`` has another shape.
        """
        key = _kind(frame)
        if out.shape != (self.contract.height, self.contract.width, 3) or out.dtype != np.uint8:
            raise ImageError(
                f"the model's input is {out.dtype} {list(out.shape)}, "
                f"the image contract says uint8 {[self.contract.height, self.contract.width, 3]}"
            )
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _Plan(self.contract, *key)
            if len(self._plans) > _KEPT_PLANS:
                self._plans.popitem(last=False)
        plan.run(frame, out)

    def image(self, frame: Frame) -> Pixels:
        """``frame`` as a new uint8 RGB array ``[height, width, 3]``; see :meth:`__call__`."""
        out = np.empty((self.contract.height, self.contract.width, 3), np.uint8)
        self(frame, out)
        return out


class _Plan:
    """Weights and buffers for one kind of frame."""

    def __init__(self, contract: ImageContract, height: int, width: int, channels: int, deep: bool) -> None:
        resized_h, resized_w = resized_size(height, width, contract.resize)
        top, left = crop_offset(resized_h, contract.height), crop_offset(resized_w, contract.width)
        rows = (height, resized_h, top, contract.height)
        columns = (width, resized_w, left, contract.width)
        self.resampler: Resampler
        if contract.interpolation == "antialias":
            self.resampler = TriangleResampler(rows, columns, channels)
        else:
            self.resampler = CvResampler(rows, columns, channels, contract.interpolation)
        window_h, window_w = self.resampler.window_shape
        self.shallow = np.empty((window_h, window_w, channels), np.uint8) if deep else None
        self.code = _TO_RGB[channels]

    def run(self, frame: Frame, out: Pixels) -> None:
        window: Any = frame[self.resampler.window]
        if self.shallow is not None:
            window = cv2.convertScaleAbs(window, self.shallow, alpha=1 / 257)
        small = self.resampler(window)
        if out.strides[1:] == (3, 1):
            cv2.cvtColor(small, self.code, out)
        else:  # OpenCV only writes to interleaved pixels
            out[...] = cv2.cvtColor(small, self.code)


def _kind(frame: Frame) -> tuple[int, int, int, bool]:
    """(height, width, channels, sixteen bits) of a frame, or ImageError."""
    shape: tuple[int, ...] = getattr(frame, "shape", ())
    channels = 1 if len(shape) == 2 else shape[2] if len(shape) == 3 else 0
    if channels not in _TO_RGB or frame.dtype not in (np.uint8, np.uint16):
        kind = f"{frame.dtype} {list(shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ImageError(
            f"a frame of kind {kind} cannot be used",
            hint="give uint8 or uint16 pixels: gray [H, W], BGR [H, W, 3] or BGRA [H, W, 4]",
        )
    if not (shape[0] and shape[1]):
        raise ImageError(f"a frame of {shape[1]}x{shape[0]} pixels has no picture in it")
    return shape[0], shape[1], channels, frame.dtype == np.uint16


def decode(path: str | Path, *, upright: bool = False) -> NDArray[np.uint8]:
    """Reads a picture as uint8 BGR ``[H, W, 3]``.

    Pixels come as they are stored: EXIF orientation is ignored, because the pipelines that train these networks
    (PIL through torchvision's ``ImageFolder``) ignore it too, and accuracy is compared with theirs. ``upright=True``
    turns a phone's picture the way its owner sees it.

    Raises:
        ImageError: the file is missing, empty, not a picture, or cut off.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not data:
        raise ImageError(f"{path}: the file is empty")
    # OpenCV fills the lost part of a cut JPEG with gray and only warns; the end marker is what tells.
    if data[:2] == b"\xff\xd8" and data.find(b"\xff\xd9", data.rfind(b"\xff\xda") + 1) < 0:
        raise ImageError(f"{path}: the JPEG is cut off", hint="copy the file again")
    flags = cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:  # e.g. more pixels than OpenCV's limit of 2^30
        raise ImageError(f"{path}: cannot be decoded ({error.err})") from error
    if picture is None or picture.size == 0:
        raise ImageError(f"{path}: not a picture that OpenCV can decode", hint="JPEG, PNG, WebP, BMP and TIFF work")
    return np.asarray(picture, np.uint8)


def iter_images(source: str | Path) -> Iterator[Path]:
    """Picture files by name's suffix, sorted by path: of a folder with its subfolders, of a glob, or one file.

    Raises:
        ImageError: there is no such file or folder, and it is not a glob that matches something.
    """
    path = Path(source)
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = [p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    else:
        matches = [Path(name) for name in glob.glob(str(source), recursive=True)]  # noqa: PTH207 (absolute globs)
        if not matches:
            raise ImageError(
                f"{source}: no such file or folder", hint="give a folder, a picture or a glob like 'a/*.jpg'"
            )
        found = [p for p in matches if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    yield from sorted(found)
