"""What `edgekit targets list|show|check` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.config import load_target
from edgekit.config.show import check_text, list_rows, list_text, show_dict, show_text


def test_the_list_is_a_table_with_one_line_each() -> None:
    lines = list_text().splitlines()
    assert lines[0].split() == ["NAME", "ISA", "CORES", "RAM", "ENGINE", "WHAT"]
    (line,) = [line for line in lines if line.startswith("rpi5 ")]
    assert "4 x cortex-a76 2.4 GHz" in line and "2 GB" in line and "litert, 2 threads" in line
    assert line.endswith("Raspberry Pi 5, Raspberry Pi OS 64-bit")


def test_one_broken_profile_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("extends: rpi4\nthreads: 0\n")
    rows = {row["name"]: row for row in list_rows(tmp_path)}
    assert len(rows) == 8 and rows["rpi4"]["issues"] == []
    assert rows["bad"]["issues"] == [f"{tmp_path}/bad.yaml:2:10: threads: 0 is out of range, expected 1 to 256"]
    text = list_text(tmp_path)
    assert "broken: 1 issue(s), see below" in text and text.endswith(rows["bad"]["issues"][0])


@pytest.mark.parametrize("name", ["armv7", "rpi4", "rpi5", "host"])
def test_what_is_shown_loads_again_as_the_same_profile(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.yaml").write_text(show_text(name))
    again, first = load_target(tmp_path / f"{name}.yaml").to_dict(), show_dict(name)
    assert {**again, "extends": first["extends"]} == first


def test_shown_settings_are_explained() -> None:
    text = show_text("rpi4")
    assert "# extends arm64" in text
    assert "clock_mhz: 1800" in text and "# highest sustained clock of one core, MHz" in text


def test_check_says_all_is_well_or_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_text() == ("no issues in arm64, armv7, host, rpi-zero2w, rpi3, rpi4, rpi5", [])
    Path("a.yaml").write_text("extends: rpi4\nthreads: 0\nfoo: 1\n")
    text, issues = check_text(["a.yaml"])
    assert len(issues) == 2 and text.splitlines() == [*issues, "2 issues"]
