"""Health and cameras, read off a checked-in tree that looks like a Raspberry Pi 4 with two webcams."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from rt_help import wait_until

from edgekit.runtime import CameraOptions, Resilience, list_cameras
from edgekit.runtime.cameras import find_by_name
from edgekit.runtime.health import HealthMonitor, HealthReader

TREE = Path(__file__).parent / "device_tree"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TREE, tmp_path / "tree", symlinks=True))


def reader(tree: Path, **more: object) -> HealthReader:
    return HealthReader(sys_root=tree / "sys", proc_root=tree / "proc", **more)  # type: ignore[arg-type]


def test_everything_a_raspberry_pi_says() -> None:
    health = reader(TREE).read()
    assert health.temperature_c == 61.342  # of the processor, not of the hotter converter
    assert health.throttle_bits == 0x50005
    assert health.throttled
    assert health.throttle_reasons == ("under-voltage", "throttled")
    assert health.cpu_frequency_mhz == 1800.0
    assert health.memory_total_bytes == 928432 * 1024
    assert health.memory_used_bytes == (928432 - 512000) * 1024
    assert health.rss_bytes is not None and health.rss_bytes % 5120 == 0
    assert health.cpu_percent is None


def test_what_happened_since_boot_is_not_now(tree: Path) -> None:
    (tree / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text("50000\n")
    health = reader(tree).read()
    assert (health.throttled, health.throttle_reasons) == (False, ())


def test_processor_share_is_since_the_last_look(tree: Path) -> None:
    look = reader(tree)
    look.read()
    # 1,000 ticks later: 700 idle, 50 waiting for a disk.
    (tree / "proc/stat").write_text("cpu  1150 0 600 8700 550 0 0 0 0 0\n")
    assert look.read().cpu_percent == 25.0


def test_vcgencmd_where_sys_has_no_word(tree: Path) -> None:
    (tree / "sys/devices/platform/soc/soc:firmware/get_throttled").unlink()
    assert reader(tree, vcgencmd=lambda: "throttled=0x8\n").read().throttle_reasons == ("soft temperature limit",)
    asked = []

    def hangs() -> str:
        asked.append(1)
        raise subprocess.TimeoutExpired("vcgencmd", 2.0)

    look = reader(tree, vcgencmd=hangs)
    assert look.read().throttle_bits is None
    assert look.read().throttle_bits is None
    assert len(asked) == 1


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    health = reader(tmp_path, vcgencmd=lambda: "").read()
    assert health.temperature_c is None
    assert not health.throttled
    assert health.memory_total_bytes is None


@pytest.mark.parametrize("nonsense", ["", "hot", "-274000", "999999"])
def test_nonsense_of_a_sensor_is_not_a_temperature(tree: Path, nonsense: str) -> None:
    (tree / "sys/class/thermal/thermal_zone1/temp").write_text(nonsense)
    assert reader(tree).read().temperature_c == 70.1  # the other zone's


def test_the_monitor_gives_each_state_once_and_ends() -> None:
    with HealthMonitor(reader(TREE), interval_s=0.05) as monitor:
        first = wait_until(monitor.take)
        assert first.temperature_c == 61.342
        assert wait_until(monitor.take) is not first
    time.sleep(0.1)
    monitor.take()
    time.sleep(0.1)
    assert monitor.take() is None


def test_this_very_machine_can_be_read() -> None:
    health = HealthReader().read()
    assert health.rss_bytes is not None and health.rss_bytes > 1 << 20


class Csi:
    class Picamera2:
        @staticmethod
        def global_camera_info() -> list[dict[str, object]]:
            usb = "/base/scb/pcie@7d500000/pci@0,0/usb@0,0-1.1:1.0-046d:082d"
            return [{"Num": 0, "Model": "imx708", "Id": "/base/soc/i2c@1/imx708@1a"}, {"Num": 1, "Id": usb}]


def test_cameras_are_listed_without_metadata_devices_and_codecs() -> None:
    found = list_cameras(sys_root=TREE / "sys", dev_root=TREE / "dev", csi=Csi)
    assert [camera.source for camera in found] == ["0", "2", "csi:0"]
    assert found[0].by_id == str(TREE / "dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920-video-index0")
    assert found[0].to_dict()["name"] == "HD Pro Webcam C920"
    assert list_cameras(sys_root=TREE / "nothing", dev_root=TREE / "nothing", csi=None) == ()


def test_a_camera_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list_cameras(sys_root=TREE / "sys", dev_root=TREE / "dev", csi=Csi)
    exact = find_by_name("hd pro webcam c920", found)
    assert exact is not None and exact.source == "0"
    part = find_by_name("C920", found)
    assert part is not None and part.source == "0"
    assert find_by_name("cam", found) is None  # two of them
    from edgekit.runtime import cameras
    from edgekit.runtime.sources import specify

    monkeypatch.setattr(cameras, "list_cameras", lambda: found)
    spec = specify(CameraOptions("c920"), Resilience())
    assert (spec.name, spec.live) == ("HD Pro Webcam C920", True)
