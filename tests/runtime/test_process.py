"""The loop as a process: signals, closed pipes, exit codes, and what it imports."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from rt_help import environment, free_port, mjpeg_server

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")


@pytest.fixture(scope="module")
def bundle(tinybundle: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("process") / "tiny"
    tinybundle.write(path, "litert")
    return Path(path)


@pytest.fixture(scope="module")
def camera() -> Iterator[str]:
    port = free_port()
    with mjpeg_server(port).listening(port):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((20, 20, 3), 40 * number, np.uint8))
    return folder


def start(bundle: Path, source: object, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgekit", "run", "--camera", str(source), "--bundle", str(bundle), *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=bundle.parent
    )


def run(bundle: Path, source: object, *more: str) -> tuple[int, list[str], str]:
    process = start(bundle, source, *more)
    out, err = process.communicate(timeout=90)
    assert "Traceback" not in err, err
    return process.returncode, out.splitlines(), err


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_one_line_a_picture_and_the_summary_last(bundle: Path, pictures: Path) -> None:
    code, lines, _ = run(bundle, pictures, "--json")
    assert code == 0
    parsed = [json.loads(line) for line in lines]
    assert [line["frame"] for line in parsed[:-1]] == [0, 1, 2, 3, 4]
    assert parsed[-1]["summary"]["frames"] == 5
    assert parsed[-1]["summary"]["engine"] == "litert"
    assert len(parsed[-1]["summary"]["bundle_sha256"]) == 64


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_the_summary(bundle: Path, camera: str, number: signal.Signals, code: int) -> None:
    process = start(bundle, camera, "--json")
    assert first_line(process).startswith('{"frame": 0')
    process.send_signal(number)
    out, err = process.communicate(timeout=60)  # generous: machines that test are busy
    assert process.returncode == code, err
    assert json.loads(out.splitlines()[-1])["summary"]["stopped_by"] == number.name
    assert "Traceback" not in err


def test_a_second_signal_ends_it_at_once(bundle: Path) -> None:
    """The first is asked of a run whose loop is stuck; the second must not wait for it."""
    script = (
        "import sys, time\n"
        "from edgekit.runtime import Stop, graceful\n"
        "with graceful(Stop()) as stop:\n"
        "    print('ready', flush=True)\n"
        "    while not stop.requested: time.sleep(0.01)\n"
        "    print('asked', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment())
    assert first_line(process) == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert first_line(process) == "asked\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM
    assert process.stdout is not None
    process.stdout.close()


def test_a_reader_that_has_seen_enough_gets_no_traceback(bundle: Path, camera: str) -> None:
    process = start(bundle, camera, "--json")
    first_line(process)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.wait(60)
    process.stderr.close()
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere.mp4", "no such file, folder or camera"),
        ("/dev/video4711", "no such camera"),
        ("http://me:hunter2@127.0.0.1:1/", "the connection is refused"),
    ],
)
def test_a_source_that_cannot_be_is_exit_code_3(bundle: Path, source: str, says: str) -> None:
    code, lines, err = run(bundle, source, "--json")
    assert (code, lines) == (3, [])
    assert says in err
    assert "hunter2" not in err


def test_a_port_in_use_is_exit_code_2(bundle: Path, pictures: Path, camera: str) -> None:
    port = camera.rsplit(":", 1)[1].strip("/")
    for flag in ("--metrics-port", "--view-port"):
        code, _, err = run(bundle, pictures, flag, port)
        assert code == 2
        assert "another program listens there" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_does_not_stop_the_answers(bundle: Path, pictures: Path) -> None:
    code, lines, err = run(bundle, pictures, "--json", "--telemetry", "/dev/full")
    assert code == 0
    assert len(lines) == 6
    assert err.count("the disk is full") == 1


def test_the_device_side_imports_nothing_that_it_does_not_need(bundle: Path, pictures: Path) -> None:
    """Every module costs a Zero 2 W time and memory before its first answer."""
    script = (
        "import sys, io\n"
        "from pathlib import Path\n"
        "from edgekit.runtime import CameraOptions, RunOptions, run\n"
        "from edgekit.runtime.sinks.json_lines import JsonLines\n"
        f"run(RunOptions(cameras=(CameraOptions({str(pictures)!r}),), bundle=Path({str(bundle)!r})),"
        " sinks=[JsonLines(io.StringIO())])\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=90, env=environment(), check=True
    )
    loaded = set(done.stdout.split())
    unwanted = {"torch", "onnx", "onnx_ir", "onnxruntime", "typer", "rich", "pydantic", "yaml", "prometheus_client",
                "http", "asyncio", "paho", "opentelemetry", "PIL"}  # fmt: skip
    assert not loaded & unwanted


@pytest.mark.slow
def test_a_cold_start_is_quick_and_small(bundle: Path, pictures: Path) -> None:
    """Processor time rather than the clock's, so that a busy machine does not fail it.

    The process tells its own peak: what the system says after it counts the test's own memory, which fork lent it.
    """
    words = ["run", "--bundle", str(bundle), "--camera", str(pictures), "--json", "--max-frames", "1"]
    script = (
        "import atexit, resource, sys\n"
        "def tell():\n"
        "    peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]\n"
        "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    print(peak, used.ru_utime + used.ru_stime, file=sys.stderr)\n"
        "atexit.register(tell)\n"
        "from edgekit.cli import main\n"
        f"main({words!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=90, env=environment(), check=True
    )
    peak_kb, cpu_s = done.stderr.splitlines()[-1].split()
    assert float(cpu_s) <= 0.9
    assert int(peak_kb) <= 120 * 1024
