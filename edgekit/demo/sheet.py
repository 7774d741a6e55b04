"""The page to print: all pictograms with their names on A4, to hold before a camera whole or cut into cards."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgekit.demo import pictograms
from edgekit.demo.render import CELL
from edgekit.errors import InputError, StorageError, UsageError

DPI = 300
_PAGE_MM = (210.0, 297.0)  # ISO 216 A4
_COLUMNS, _ROWS = 3, 4
_CELL_MM = 65.0
_TITLE = "edgekit demo: hold one pictogram in the middle of the camera's picture, or cut the cards out"


def _px(mm: float) -> int:
    return round(mm / 25.4 * DPI)


def page() -> NDArray[np.uint8]:
    """The page as it is printed, uint8 gray ``[H, W]``: 3508×2480 pixels at 300 dots per inch."""
    paper = np.full((_px(_PAGE_MM[1]), _px(_PAGE_MM[0])), 255, np.uint8)
    left, top = _px((_PAGE_MM[0] - _COLUMNS * _CELL_MM) / 2), _px(_PAGE_MM[1] - _ROWS * _CELL_MM) - _px(9)
    cell, side = _px(_CELL_MM), round(_px(_CELL_MM) / CELL)
    _text(paper, _TITLE, (paper.shape[1] // 2, top - _px(6)), _px(3))
    for index, name in enumerate(pictograms.NAMES):
        row, column = divmod(index, _COLUMNS)
        x, y = left + column * cell, top + row * cell
        cv2.rectangle(paper, (x, y), (x + cell, y + cell), 225, 2)  # where to cut
        inset = (cell - side) // 2
        paper[y + inset : y + inset + side, x + inset : x + inset + side] = 255 - pictograms.draw(name, side)
        _text(paper, name, (x + cell // 2, y + inset + side + round(0.21 * side)), round(0.11 * side))
    return paper


def _text(paper: NDArray[np.uint8], words: str, centre_base: tuple[int, int], height: int) -> None:
    """One line, ``height`` pixels high, centred on x; y is its baseline."""
    face, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(height / 12))
    (_, natural), _ = cv2.getTextSize("H", face, 10, thickness)
    scale = 10 * height / natural
    (width, _), _ = cv2.getTextSize(words, face, scale, thickness)
    origin = (round(centre_base[0] - width / 2), centre_base[1])
    cv2.putText(paper, words, origin, face, scale, 0, thickness, cv2.LINE_AA)


def sheet(path: str | Path) -> Path:
    """Writes the page as ``.png`` or ``.pdf`` (by the name's end), A4 at 300 dpi; prints at its true size.

    Raises:
        UsageError: another kind of file is asked for.
        StorageError: it cannot be written.
    """
    path = Path(path)
    writers = {".png": _png, ".pdf": _pdf}
    if path.suffix.lower() not in writers:
        raise UsageError(f"{path}: a sheet is written as .png or .pdf", hint="edgekit demo sheet pictograms.pdf")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    data = writers[path.suffix.lower()](page())
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def _png(paper: NDArray[np.uint8]) -> bytes:
    data = bytes(cv2.imencode(".png", paper)[1])
    # OpenCV does not say how large a pixel is; the pHYs chunk (PNG specification, 11.3.4.3) does, right after IHDR.
    per_metre = round(DPI / 0.0254)
    body = b"pHYs" + struct.pack(">IIB", per_metre, per_metre, 1)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    after_header = 8 + 4 + 4 + 13 + 4
    return data[:after_header] + chunk + data[after_header:]


def _pdf(paper: NDArray[np.uint8]) -> bytes:
    """A one-page PDF 1.4 with the page as a compressed gray image (ISO 32000-1, 7.5 and 8.9)."""
    width, height = (mm / 25.4 * 72 for mm in _PAGE_MM)  # in points
    rows, columns = paper.shape
    pixels = zlib.compress(paper.tobytes(), 9)
    drawing = f"q {width:.2f} 0 0 {height:.2f} 0 0 cm /Page Do Q".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.2f} {height:.2f}] /Contents 4 0 R "
        "/Resources << /XObject << /Page 5 0 R >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(drawing), drawing),
        b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 "
        b"/Filter /FlateDecode /Length %d >>\nstream\n%b\nendstream" % (columns, rows, len(pixels), pixels),
    ]
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    count = len(objects) + 1
    return (
        data
        + b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (
            count,
            table,
            count,
            len(data),
        )
    )
