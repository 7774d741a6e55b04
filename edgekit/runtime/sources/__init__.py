"""From what a person types after ``--camera`` to something that gives pictures.

A new kind of source is one module with a ``Source`` in it and one line in :func:`specify`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from edgekit.errors import CameraError
from edgekit.runtime.options import CameraOptions, OnEnd, Resilience
from edgekit.runtime.sources.base import CorruptFrameError, Shot, Source, SourceSpec
from edgekit.runtime.sources.urls import redact

__all__ = ["CorruptFrameError", "Shot", "Source", "SourceSpec", "redact", "specify"]

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.I)
_GLOB = re.compile(r"[*?\[]")
# By suffix, without importing OpenCV: the same set as edgekit.preprocess.IMAGE_SUFFIXES, held together by a test.
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
# A URL that ends so is a recording: every frame of it counts, and its end is an end.
_VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm"})


def specify(camera: CameraOptions, resilience: Resilience, on_end: OnEnd = "exit") -> SourceSpec:
    """Says what kind of source ``camera`` names, and how to open it. Opens nothing; looks at the file system only.

    Raises:
        CameraError: there is no such file, folder or camera.
    """
    text = camera.source
    if text == "demo":
        from edgekit.runtime.sources.demo import DemoSource

        return _recorded(camera, "demo", DemoSource)
    if text == "-":
        from edgekit.runtime.sources.pipe import PipeSource

        return _spec(camera, "standard input", False, lambda: PipeSource(camera))
    if text == "csi" or re.fullmatch(r"csi:\d+", text):
        from edgekit.runtime.sources.csi import CsiSource

        number = int(text.partition(":")[2] or 0)
        return _spec(camera, text, True, lambda: CsiSource(camera, number, resilience.stall_timeout_s))
    if text.isdecimal() or text.startswith("/dev/"):
        return _device(camera, text, resilience)
    if scheme := _SCHEME.match(text):
        return _url(camera, text, scheme[1].lower(), resilience, on_end)
    if " ! " in text:
        from edgekit.runtime.sources.gstreamer import GStreamerSource

        return _spec(camera, _shorten(redact(text)), True, lambda: GStreamerSource(text, resilience))
    return _path(camera, text, resilience, on_end)


def _spec(camera: CameraOptions, name: str, live: bool, make: Callable[[], Source]) -> SourceSpec:
    return SourceSpec(name, live, make, newest=camera.live)


def _recorded(
    camera: CameraOptions, name: str, make: Callable[[], Source], fingerprint: Callable[[], object] | None = None
) -> SourceSpec:
    if not camera.live:
        return SourceSpec(name, False, make, recorded=True, fingerprint=fingerprint)
    from edgekit.runtime.sources.paced import PacedSource

    return SourceSpec(name, False, lambda: PacedSource(make(), camera.fps), fingerprint=fingerprint, newest=True)


def _device(camera: CameraOptions, text: str, resilience: Resilience) -> SourceSpec:
    from edgekit.runtime.sources.device import DeviceSource

    name = f"camera {text}" if text.isdecimal() else text
    return _spec(camera, name, True, lambda: DeviceSource(camera, text, resilience))


def _url(camera: CameraOptions, text: str, scheme: str, resilience: Resilience, on_end: OnEnd) -> SourceSpec:
    if scheme == "file":
        return _path(camera, text[len("file://") :], resilience, on_end)
    from edgekit.runtime.sources.stream import StreamSource

    if " " in text:
        raise CameraError(f"{redact(text)}: a URL holds no spaces", hint="write %20 in place of each")
    try:
        host = urlsplit(text).hostname
    except ValueError as error:
        raise CameraError(f"{redact(text)}: not a URL: {redact(str(error))}") from None
    try:
        _ = urlsplit(text).port
    except ValueError:
        raise CameraError(f"{redact(text)}: the port is not a number from 0 to 65535") from None
    if not host:
        raise CameraError(f"{redact(text)}: a URL without a host", hint=f"{scheme}://host/path")
    if PurePosixPath(urlsplit(text).path).suffix.lower() in _VIDEO_SUFFIXES:
        return _recorded(camera, redact(text), lambda: StreamSource(text, resilience, live=False))
    if scheme in ("http", "https"):
        from edgekit.runtime.sources.web import WebSource

        return _spec(camera, redact(text), True, lambda: WebSource(text, camera, resilience))
    return _spec(camera, redact(text), True, lambda: StreamSource(text, resilience))


def _path(camera: CameraOptions, text: str, resilience: Resilience, on_end: OnEnd) -> SourceSpec:
    path = Path(text).expanduser()
    globbed = bool(_GLOB.search(text)) and not path.exists()
    if path.is_dir() or globbed or (path.suffix.lower() in IMAGE_SUFFIXES and path.exists()):
        from edgekit.runtime.sources.pictures import PictureSource

        follow = on_end == "wait"
        return _recorded(camera, text, lambda: PictureSource(text, follow=follow))
    if path.exists():
        from edgekit.runtime.sources.video import VideoSource

        return _recorded(camera, text, lambda: VideoSource(path), lambda: _stat(path))
    from edgekit.runtime.cameras import find_by_name

    if found := find_by_name(text):
        from edgekit.runtime.sources.device import DeviceSource

        # Looked up again at every opening: a camera that was unplugged may come back under another number.
        return _spec(camera, found.name, True, lambda: DeviceSource(camera, text, resilience))
    raise CameraError(
        f"{text}: no such file, folder or camera", hint="`edgekit cameras` lists cameras; demo needs none"
    )


def _stat(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _shorten(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
