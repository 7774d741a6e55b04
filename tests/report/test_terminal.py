"""The terminal's sections: the same figures as the page's, and nothing that was not measured."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

from edgekit.report import figures, terminal

_spec = importlib.util.spec_from_file_location("report_records", Path(__file__).with_name("records.py"))
assert _spec is not None and _spec.loader is not None
records = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(records)

FILES = [Path(f"{i}.png") for i in range(60)]
LABELS = tuple(f"class {i}" for i in range(5))


def test_every_section_of_a_full_record() -> None:
    said = terminal.text(records.full(FILES, LABELS))
    lines = said.splitlines()
    assert lines[0].startswith("int8 loses") and lines[1].startswith("  Passes its accuracy gate")
    titles = [
        "Accuracy",
        "Parity",
        "Kept in float",
        "What each method is worth, the worse of both formats",
        "Where int8 loses signal",
        "Speed on this machine",
        "Operators",
        "Cost",
        "Seconds",
    ]
    assert [line for line in lines[1:] if line and not line.startswith(" ")] == [*titles, "Files", "Notes"]
    assert "worst: stage2.3.branch2.0 (Conv depthwise): one outlier channel" in said
    assert "published: ncnn fp32, 1 thread: 41.6 ms" in said
    assert "auto tried nothing: 93.80 %, 18.2 dB, +0.40 pp: misses the gate" in said
    assert "model.onnx: 56 QLinearConv, 16 Concat, 16 Split" in said


def test_the_same_figures_for_programs() -> None:
    said = json.loads(json.dumps(figures.to_dict(records.full(FILES, LABELS)), allow_nan=False))
    assert said["verdict"]["headline"].startswith("int8 loses") and said["verdict"]["times_smaller"] > 3
    assert said["worst_layer"] == "stage2.3.branch2.0"
    assert len(said["layers"]) == 57 and "outlier channel" in said["layers"][3]["why"]
    assert said["ranges"][0]["clipped_percent"] > 0 and said["ranges"][0]["observer"] == "mse"
    changed = said["changed"]
    assert changed["pictures"] == sum(pair["pictures"] for pair in changed["confusions"]) > 0
    assert [row["layers"] for row in said["keep_float"]["each"]] == [["conv1", "stage2.0.branch1.0"], ["fc"]]
    assert said["ablations"][1] == {
        "method": "without bias correction",
        "drop_pp": 0.9,
        "agreement": 97.0,
        "sqnr_db": 17.5,
    }
    assert said["calibration"]["used"] == 256
    empty = figures.to_dict(records.minimal())
    assert empty["changed"] is None and empty["keep_float"] is None and empty["layers"] == []


def test_the_worst_layer_comes_first() -> None:
    said = terminal.text(replace(records.minimal(), layers=records.layers()))
    rows = [line.split()[0] for line in said.splitlines() if line.strip().startswith("stage")]
    assert rows[0] == "stage2.3.branch2.0" and len(rows) == 8


def test_nothing_is_said_of_what_was_not_measured() -> None:
    said = terminal.text(records.minimal())
    assert said.splitlines()[0] == "fp32 model built; neither accuracy nor speed was measured"
    assert len(said.splitlines()) == 2
