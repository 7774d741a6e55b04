"""The systemd unit: what is in it, and that systemd takes it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import BundleError, UsageError
from edgekit.runtime import service
from edgekit.runtime.service import Unit, plan
from edgekit.runtime.unit import MARK, quote

HAS_ANALYZE = shutil.which("systemd-analyze") is not None
needs_analyze = pytest.mark.skipif(not HAS_ANALYZE, reason="systemd-analyze (package systemd) is not on this machine")


def unit(**changes: Any) -> Unit:
    given: dict[str, Any] = {"program": Path(sys.executable), "bundle": Path("/srv/build/rpi4"), "user": "root"}
    return Unit(**{**given, **changes})


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "build" / "rpi4"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def settings(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_notifies_and_is_watched() -> None:
    got = settings(unit(watchdog_s=45).text())
    assert got["Type"] == ["notify"] and got["NotifyAccess"] == ["main"] and got["WatchdogSec"] == ["45"]
    assert got["ExecStart"] == [f"{sys.executable} run --bundle /srv/build/rpi4 --camera 0"]
    assert got["Restart"] == ["on-failure"] and got["RestartPreventExitStatus"] == ["1 2"]
    assert got["StartLimitIntervalSec"] == ["0"] and got["WantedBy"] == ["multi-user.target"]
    assert got["StateDirectory"] == ["edgekit"] and got["WorkingDirectory"] == ["%S/edgekit"]


def test_a_network_camera_waits_for_the_network() -> None:
    assert "network-online.target" in unit(camera="rtsp://10.0.0.2/cam").text()
    assert "network-online.target" not in unit(camera="/dev/video0").text()


def test_writable_folders_and_groups() -> None:
    got = settings(unit(writable=(Path("/var/log/edge kit"), Path("/data")), groups=()).text())
    assert got["ReadWritePaths"] == ['"-/var/log/edge kit" -/data']
    assert "SupplementaryGroups" not in got


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("plain-word_1.x:/@,+=", "plain-word_1.x:/@,+="),
        ("two words", '"two words"'),
        ("", '""'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("it's", '"it\'s"'),
        ("a;b", '"a;b"'),
        ("ü", '"ü"'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(word: str, quoted: str) -> None:
    assert quote(word) == quoted


@given(st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), max_size=30))
def test_quoting_can_be_undone(word: str) -> None:
    """By the rules of systemd.syntax(7), written out here on their own."""
    quoted = quote(word)
    if quoted.startswith('"'):
        assert quoted.endswith('"')
        quoted = re.sub(r"\\(.)", r"\1", quoted[1:-1])
    assert quoted.replace("%%", "%").replace("$$", "$") == word


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../evil"},
        {"name": "a b"},
        {"user": "root\nExecStartPre=/bin/sh"},
        {"bundle": Path("build/rpi4")},
        {"program": Path("edgekit")},
        {"writable": (Path("log"),)},
        {"watchdog_s": 0},
        {"watchdog_s": float("nan")},
    ],
)
def test_what_cannot_go_into_a_unit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        unit(**changes)


def test_no_argument_can_add_a_line() -> None:
    with pytest.raises(UsageError, match="control characters"):
        unit(camera="0\nExecStartPre=/bin/rm").text()


def test_a_plan_is_absolute_and_checked(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUDO_USER", raising=False)
    (tmp_path / "clip.mp4").touch()
    made = plan(bundle="build/rpi4", camera="./clip.mp4", program="bin/edgekit", writable=["log"], user="root")
    assert made.bundle == bundle and made.camera == str(tmp_path / "clip.mp4")
    assert made.program == tmp_path / "bin/edgekit" and made.writable == (tmp_path / "log",)
    with pytest.raises(BundleError, match="not a bundle"):
        plan(bundle="nowhere", program="x")
    with pytest.raises(UsageError, match="does not exist on this machine"):
        plan(bundle="build/rpi4", user="nobody-by-this-name", program="x")
    with pytest.raises(UsageError, match="standard input"):
        plan(bundle="build/rpi4", camera="-", program="x", user="root")


def test_whoever_called_sudo_runs_the_service(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "daemon")
    assert plan(bundle=bundle, program="/x").user == "daemon"


@pytest.mark.parametrize(
    ("arguments", "watchdog_s"),
    [
        ([], 30),
        (["--max-fps", "10"], 30),
        (["--max-fps", "0.05"], 60),
        (["--max-fps=0.01", "--top-k", "3"], 300),
        (["--every", "100"], 60),
        (["--every", "ten"], 30),
        (["--max-fps", "0"], 30),
        (["--max-fps"], 30),
    ],
)
def test_rare_answers_lengthen_the_watchdog(bundle: Path, arguments: list[str], watchdog_s: float) -> None:
    assert plan(bundle=bundle, program="/x", user="root", arguments=arguments).watchdog_s == pytest.approx(watchdog_s)
    assert plan(bundle=bundle, program="/x", user="root", arguments=arguments, watchdog_s=7).watchdog_s == 7


VARIANTS = {
    "first camera": {},
    "network camera": {"camera": "rtsp://user:p%40ss$word@10.0.0.2:554/stream?channel=1&sub=0"},
    "csi": {"camera": "csi:0"},
    "odd paths": {
        "bundle": Path("/srv/edge kit/ünder/100%/$x/rpi4"),
        "writable": (Path("/var/log/a b"), Path("/tmp")),
        "arguments": ("--telemetry", "/var/log/a b/x.jsonl", "--top-k", "3"),
    },
}


@needs_analyze
@pytest.mark.parametrize("changes", VARIANTS.values(), ids=list(VARIANTS))
def test_systemd_accepts_the_unit(changes: dict[str, Any]) -> None:
    assert service.verify(unit(**changes)) == []


@needs_analyze
def test_systemd_would_complain_of_a_bad_one() -> None:
    """So that an empty answer above means something."""
    problems = service.verify(unit(program=Path("/nonexistent/edgekit")))
    assert problems and "/nonexistent/edgekit" in problems[0]


@needs_analyze
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    """systemd's own score, 0 (nothing allowed) to 10; it gives a unit without any of this 9.6, UNSAFE."""
    path = tmp_path / "edgekit.service"
    path.write_text(unit(user="daemon").text())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)], capture_output=True, text=True
    )
    match = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert match, done.stdout + done.stderr
    assert float(match[1]) <= 2.5


def test_the_mark_comes_first() -> None:
    assert unit().text().startswith(MARK)


def _calls(group: str) -> set[str]:
    """Names in one of systemd's groups of system calls, and in those that it includes."""
    done = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    names: set[str] = set()
    for line in done.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            names |= _calls(word)
        elif word and not word.startswith("#"):
            names.add(word)
    return names


# What MemoryDenyWriteExecute= does, as the kernel offers it from 6.3 on (prctl(2), PR_SET_MDWE); older ones refuse, and
# then only the system calls are looked at.
_WITHOUT_WRITABLE_CODE = """
import ctypes, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
from edgekit.cli.app import main
main(sys.argv[1:])
"""


@needs_analyze
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not on this machine")
@pytest.mark.parametrize("engine", ["litert", "onnxruntime"])
def test_a_run_lives_within_the_units_limits(
    engine: str, tinybundle: ModuleType, tmp_path: Path, project_root: Path
) -> None:
    pytest.importorskip({"litert": "ai_edge_litert", "onnxruntime": "onnxruntime"}[engine])
    tinybundle.write(tmp_path / "tiny")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(5):
        cv2.imwrite(str(pictures / f"{number}.png"), np.full((48, 64, 3), 40 * number, np.uint8))
    words = ["run", "--bundle", str(tmp_path / "tiny"), "--camera", str(pictures), "--engine", engine, "--json"]
    words += ["--no-verify", "--telemetry", str(tmp_path / "t.jsonl"), "--metrics-port", "0", "--view-port", "0"]
    made = settings(unit().text())["Environment"]
    environ = {**os.environ, **dict(pair.split("=") for line in made for pair in line.split())}
    done = subprocess.run(
        [
            "strace",
            "-f",
            "-qq",
            "-c",
            "-o",
            str(tmp_path / "calls"),
            sys.executable,
            "-c",
            _WITHOUT_WRITABLE_CODE,
            *words,
        ],
        cwd=project_root,
        env=environ,
        capture_output=True,
        text=True,
    )
    if "ptrace" in done.stderr and not done.stdout:
        pytest.skip("strace may not trace here")
    assert done.stdout.count('"frame"') == 5, done.stderr
    lines = (tmp_path / "calls").read_text().splitlines()
    used = {line.split()[-1] for line in lines[2:] if re.match(r"\s*[\d.]+\s+[\d.]+\s", line)} - {"total"}
    assert len(used) > 20
    assert used <= _calls("@system-service") - _calls("@privileged")
