"""Which cameras this machine has."""

from __future__ import annotations

import importlib
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera: what to type after ``--camera`` (``source``), its device file, its name and its lasting path."""

    source: str
    path: str
    name: str
    by_id: str | None = None
    kind: str = "v4l2"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def list_cameras(
    *, sys_root: Path = Path("/sys"), dev_root: Path = Path("/dev"), csi: Any = None
) -> tuple[Camera, ...]:
    """Video4Linux cameras that capture, then Raspberry Pi CSI cameras where picamera2 is installed.

    Opens no device. A USB camera has several ``/dev/video`` files; those that only carry metadata (index > 0) are
    left out, and so are the codecs and image processors of a Raspberry Pi.

    Args:
        sys_root, dev_root: where to look, for tests.
        csi: a stand-in for the ``picamera2`` module.
    """
    lasting = _by_id(dev_root)
    found: list[Camera] = []
    folders = (sys_root / "class" / "video4linux").glob("video*")
    for folder in sorted(folders, key=lambda item: (len(item.name), item.name)):
        name = _text(folder / "name")
        if not name or _text(folder / "index") not in ("", "0") or name.startswith(_NOT_CAMERAS):
            continue
        number = folder.name.removeprefix("video")
        found.append(Camera(number, str(dev_root / folder.name), name, lasting.get(folder.name)))
    return (*found, *_csi_cameras(csi))


# What a Raspberry Pi's own video devices are called: decoders, encoders, image processors, raw sensor receivers.
_NOT_CAMERAS = ("bcm2835-codec", "bcm2835-isp", "rpivid", "rpi-hevc", "pispbe", "unicam", "rp1-cfe")


def find_by_name(text: str, cameras: tuple[Camera, ...] | None = None) -> Camera | None:
    """The camera whose name is ``text``, else the only one whose name holds it; case does not matter."""
    wanted = text.casefold()
    known = [camera for camera in (list_cameras() if cameras is None else cameras) if camera.kind == "v4l2"]
    for camera in known:
        if camera.name.casefold() == wanted:
            return camera
    partly = [camera for camera in known if wanted in camera.name.casefold()]
    return partly[0] if len(partly) == 1 else None


def _by_id(dev_root: Path) -> dict[str, str]:
    """Device name → its path under ``/dev/v4l/by-id``, which stays when the order of plugging changes."""
    links: dict[str, str] = {}
    for folder in ("by-path", "by-id"):  # by-id wins: it also survives another socket
        for link in sorted((dev_root / "v4l" / folder).glob("*")):
            if link.is_symlink():
                links[link.readlink().name] = str(link)
    return links


def _csi_cameras(csi: Any) -> tuple[Camera, ...]:
    if csi is None:
        if not sys.platform.startswith("linux"):
            return ()
        try:
            csi = importlib.import_module("picamera2")
        except ImportError:
            return ()
    cameras: list[Camera] = []
    for info in csi.Picamera2.global_camera_info():
        if "usb" in str(info.get("Id", "")).lower():  # libcamera lists USB cameras too; those are above
            continue
        number = int(info.get("Num", len(cameras)))
        cameras.append(Camera(f"csi:{number}", str(info.get("Id", "")), str(info.get("Model", "camera")), kind="csi"))
    return tuple(cameras)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
