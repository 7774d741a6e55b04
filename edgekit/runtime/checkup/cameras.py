"""Cameras: which there are, who may use them and who does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from edgekit.runtime.cameras import Camera, list_cameras
from edgekit.runtime.checkup.finding import Finding
from edgekit.runtime.checkup.probe import explain
from edgekit.runtime.checkup.world import World

_CSI_RECEIVERS = ("unicam", "rp1-cfe")  # kernel drivers of the Raspberry Pi's camera connector


def check(world: World) -> Iterator[Finding]:
    """One finding per camera, or one that says there is none; then the group and the CSI connector."""
    cameras = list_cameras(sys_root=world.root / "sys", dev_root=world.root / "dev", csi=_NoCsi())
    for camera in cameras:
        yield _camera(world, camera)
    modules = list(_csi(world))
    yield from modules
    if not cameras and not any(finding.check == "camera" for finding in modules):
        yield Finding(
            "camera",
            "note",
            "no camera found",
            "plug one in, then `edgekit cameras`; files, streams and `--camera demo` work without",
        )
    if world.user != "root" and "video" not in world.groups and (cameras or _has_group(world)):
        yield Finding(
            "permissions",
            "warning" if not cameras or any(not world.may_use(Path(c.path)) for c in cameras) else "note",
            f"user {world.user} is not in the group video, which owns cameras",
            f"sudo usermod -aG video {world.user}, then log out and in",
            {"groups": sorted(world.groups)},
        )


class _NoCsi:
    """Keeps picamera2 out of this process; :func:`_csi` asks it in a child."""

    class Picamera2:
        @staticmethod
        def global_camera_info() -> list[dict[str, object]]:
            return []


def _camera(world: World, camera: Camera) -> Finding:
    facts = camera.to_dict()
    name = f"{camera.name} ({camera.path if camera.kind == 'v4l2' else camera.source})"
    if camera.kind != "v4l2":
        return Finding("camera", "ok", name, facts=facts)
    path = Path(camera.path)
    if not path.exists():
        says = f"{name}: the kernel knows it, and its device file is missing"
        return Finding("camera", "problem", says, f"in a container: run it with --device {camera.path}", facts)
    if not world.may_use(path):
        says = f"{name}: user {world.user} may not open it"
        return Finding("camera", "problem", says, f"sudo usermod -aG video {world.user}, then log out and in", facts)
    holders = _holders(world.root, path)
    if holders:
        who = ", ".join(f"{program} (process {number})" for number, program in holders)
        says = f"{name}: in use by {who}; a camera serves one program at a time"
        mend = f"kill {holders[0][0]}, or use another camera"
        return Finding("camera", "warning", says, mend, {**facts, "used_by": [number for number, _ in holders]})
    return Finding("camera", "ok", f"{name}: --camera {camera.by_id or camera.source}", facts=facts)


def _holders(root: Path, device: Path) -> list[tuple[int, str]]:
    """(process id, program) of whoever has the device open, as far as this user may look."""
    wanted = "/" + str(device.relative_to(root)) if device.is_relative_to(root) else str(device)
    found = []
    for process in sorted((root / "proc").glob("[0-9]*"), key=lambda folder: int(folder.name)):
        try:
            links = [str(link.readlink()) for link in (process / "fd").iterdir() if link.is_symlink()]
        except OSError:
            continue
        if wanted in links:
            try:
                program = (process / "comm").read_text("utf-8", "replace").strip()
            except OSError:
                program = "a program"
            found.append((int(process.name), program))
    return found


# Run in a child: picamera2 brings libcamera and NumPy with it. Of libcamera's list, USB cameras are known already.
_LIST_CSI = """
import json
from picamera2 import Picamera2
found = [info for info in Picamera2.global_camera_info() if "usb" not in str(info.get("Id", "")).lower()]
print(json.dumps([[info.get("Num", 0), str(info.get("Model", "camera"))] for info in found]))
"""


def _csi(world: World) -> Iterator[Finding]:
    """Camera modules on the Raspberry Pi's own connector, which OpenCV cannot reach."""
    names = [world.machine.text(f"sys/class/video4linux/{folder.name}/name") for folder in _video(world)]
    active = any(name.startswith(_CSI_RECEIVERS) for name in names)
    if not active and not world.installed("picamera2"):
        return
    outcome = world.try_code(_LIST_CSI)
    if outcome.ok:
        modules = json.loads(outcome.output.splitlines()[-1])
        for number, model in modules:
            yield Finding("camera", "ok", f"{model}: --camera csi:{number}", facts={"kind": "csi", "name": model})
        if active and not modules:
            says = "the camera connector is active, and libcamera finds no camera module on it"
            yield Finding("csi", "warning", says, "rpicam-hello --list-cameras; check the ribbon cable")
    elif active:
        mend = "sudo apt install python3-picamera2"
        if world.in_virtualenv:
            mend += ", and make the environment with `python3 -m venv --system-site-packages`"
        reason = "is not importable here"
        if "No module named 'picamera2'" not in outcome.errors:
            reason = f"does not work here: {explain(outcome, 'importing picamera2').says}"
        says = f"the camera connector is active, and picamera2, which alone can read it, {reason}"
        yield Finding("csi", "warning", says, mend)


def _video(world: World) -> list[Path]:
    return sorted((world.root / "sys/class/video4linux").glob("video*"))


def _has_group(world: World) -> bool:
    return any(line.startswith("video:") for line in world.machine.text("etc/group").splitlines()) and bool(
        _video(world)
    )
