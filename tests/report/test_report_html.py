"""report.html: every section from a full record, none from an empty one, and hostile text that stays text."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.config.target import Gate
from edgekit.evaluate.accuracy import Accuracy
from edgekit.evaluate.gate import judge as judge_gate
from edgekit.report import render
from edgekit.report.flips import confusions, flips, thumbnail
from edgekit.report.markup import Html, tag, text
from edgekit.report.verdict import judge

_spec = importlib.util.spec_from_file_location("report_records", Path(__file__).with_name("records.py"))
assert _spec is not None and _spec.loader is not None
records = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(records)

LABELS = tuple(f"class {i}" for i in range(5))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = []
    for i in range(60):
        made.append(tmp_path / f"{i:03d}.png")
        cv2.imwrite(str(made[-1]), np.full((40, 60, 3), 4 * i, np.uint8))
    return made


class Reader(HTMLParser):
    """Collects ids, visible text, and anything that could reach outside; fails on tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert not self._open, self._open

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.append(name)
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [value for key, value in attributes if key in ("src", "href", "action", "data") and value]
        assert not any(key.startswith("on") for key in found), found
        if name not in ("meta", "img", "br", "hr", "col"):
            self._open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_full_record_shows_every_section(files: list[Path]) -> None:
    page = Reader(render(records.full(files, LABELS)))
    sections = ["built", "accuracy", "changed", "kept", "layers", "ranges", "speed", "cost", "operators", "stages"]
    assert page.ids == sections
    assert [link for link in page.links if link.startswith("#")] == [f"#{name}" for name in sections]
    for said in (
        "one outlier channel: range 124 where the median is 20",
        "stage2.3.branch2.0",
        "QLinearConv",
        "ncnn",
        "the shuffle after stage 3",
        "2 pictures are duplicates",
        "cd" * 32,
        "conv1, stage2.0.branch1.0",
        "+0.120 ms (1.08 ×)",
        "+0.001 ms (1.00 ×), within noise",
        "all 3 layers together",
        "What keep_float: auto tried",
        "without bias correction",
        "needs NumPy 1",
    ):
        assert said in page.text, said


def test_the_page_needs_nothing_from_outside(files: list[Path]) -> None:
    html = render(records.full(files, LABELS))
    page = Reader(html)
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in page.links)
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import|https?://", html)
    assert "content=\"default-src 'none'; img-src data:;" in unescape(html)


def test_what_was_not_measured_is_absent() -> None:
    page = Reader(render(records.minimal()))
    assert page.ids == ["built"]
    for word in ("Accuracy", "Parity", "dB", "nan", "None", "faster", "smaller"):
        assert word not in page.text.replace("neither accuracy nor speed was measured", ""), word
    assert "neither accuracy nor speed was measured" in page.text


def test_each_section_alone_leaves_out_the_others(files: list[Path]) -> None:
    full = records.full(files, LABELS)
    for name, anchor in {
        "layers": "layers", "histograms": "ranges", "ops": "operators", "cost": "cost", "stages": "stages",
        "speed": "speed", "parity": "accuracy", "accuracy": "accuracy",
    }.items():  # fmt: skip
        page = Reader(render(replace(records.minimal(), **{name: getattr(full, name)})))
        expected = {"built", anchor} | ({"changed"} if name == "accuracy" else set())
        assert set(page.ids) == expected, name


HOSTILE = [
    "</title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "\u202eevil\u202c\x00\x1b[31m",
    "\ud800 lone surrogate",
    "javascript:alert(1)//",
]


def test_hostile_text_stays_text(files: list[Path], tmp_path: Path) -> None:
    full = records.full(files, HOSTILE[:5])
    evil = '<svg onload="alert(1)">'
    page_source = render(
        replace(
            full,
            source=replace(full.source, name=evil, architecture=evil, family=evil),
            notes=(evil, *HOSTILE),
            refused=tuple(HOSTILE),
            data=evil,
            settings={evil: evil},
            ops={evil: {evil: 3}},
            stages={evil: 1.0},
            tools={evil: evil},
            layers=(replace(full.layers[0], name=evil, why=evil), *full.layers[1:]),
            histograms=(replace(full.histograms[0], name=evil, observer=evil),),
            artifacts=(replace(full.artifacts[0], name=evil),),
        )
    )
    page = Reader(page_source)
    page_source.encode("utf-8")
    assert "script" not in page.tags and evil in page.text
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "\u202e" not in page_source and "\x00" not in page_source and "\x1b" not in page_source


def test_markup_escapes_everything_but_markup() -> None:
    assert tag("b", "<i>", Html("<i>"), class_='a"b') == '<b class="a&quot;b">&lt;i&gt;<i></b>'
    assert tag("img", src="x", hidden=True, alt=None) == '<img src="x" hidden>'
    assert text(3.5) == "3.5"


def test_the_verdict_in_one_line(files: list[Path]) -> None:
    found = judge(records.full(files, LABELS))
    assert re.fullmatch(r"int8 loses \d+\.\d ± \d+\.\d pp, is 2\.5 × faster, 3\.6 × smaller", found.headline)
    assert found.tone == "good" and "Passes its accuracy gate in onnx and tflite" in found.because
    assert [fact.unit for fact in found.facts] == ["pp", "%", "×", "×", "ms"]


def test_a_missed_gate_says_do_not_ship(files: list[Path]) -> None:
    full = records.full(files, LABELS)
    measured: Accuracy = full.accuracy
    failed = judge(replace(full, gate=judge_gate(measured, Gate(max_drop_pp=0.1, min_agreement=0.999))))
    assert failed.tone == "bad" and failed.headline.startswith("Do not ship: int8 loses")
    assert "misses the gate of at most 0.1 pp" in failed.because
    assert "Do not ship" in Reader(render(replace(full, gate=judge_gate(measured, Gate(max_drop_pp=0.1))))).text


def test_int8_that_is_not_faster_is_not_praised(files: list[Path]) -> None:
    full = records.full(files, LABELS)
    rows = tuple(
        replace(row, ms=tuple(9.0 for _ in row.ms)) if row.configuration.precision == "int8" else row
        for row in full.speed.rows
    )
    found = judge(replace(full, speed=replace(full.speed, rows=rows)))
    assert found.tone == "warn" and "slower" in found.headline and "no faster than float" in found.because


def test_unlabelled_pictures_and_single_clauses(files: list[Path]) -> None:
    unlabelled = records.accuracy(files, 5, labelled=False)
    full = records.full(files, LABELS)
    assert "answers as float on" in judge(replace(full, accuracy=unlabelled)).headline
    only_size = replace(records.minimal(), precision="int8", artifacts=full.artifacts, float_bytes=full.float_bytes)
    assert judge(only_size).headline == "int8 is 3.6 × smaller"
    assert judge(only_size).tone == "warn"
    assert "lost" not in Reader(render(replace(full, accuracy=unlabelled, gate=None))).text


def test_flips_are_ordered_and_counted(files: list[Path]) -> None:
    answers = records.accuracy(files, 5, noise=3.0).answers
    found = flips(answers, "tflite")
    assert found and len(found) == int(np.sum(answers.top1["float"] != answers.top1["tflite"]))
    kinds = [flip.kind for flip in found]
    assert kinds == sorted(kinds, key=["lost", "gained", "other"].index)
    assert sum(n for _, _, n in confusions(found)) == len(found)
    assert flips(answers, "absent") == ()


def test_thumbnails_are_pictures_and_a_missing_file_is_left_out(files: list[Path], tmp_path: Path) -> None:
    import base64

    uri = thumbnail(files[20])
    assert uri is not None
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert picture.shape == (148, 148, 3) and abs(int(picture[70, 70, 0]) - 80) < 4
    (tmp_path / "broken.png").write_bytes(b"x")
    assert thumbnail(tmp_path / "broken.png") is None
    full = records.full(files, LABELS)
    for file in files:
        file.unlink()
    assert "img" not in Reader(render(full)).tags


def test_infinite_and_equal_figures_are_words(files: list[Path]) -> None:
    same = records.accuracy(files, 5, noise=0.0)
    exact = replace(same, sqnr_db={"onnx": float("inf"), "tflite": 80.0})
    page = Reader(render(records.full(files, LABELS, accuracy=exact, gate=None)))
    assert "equal" in page.text and "inf" not in page.text.replace("info", "").replace("inference", "")


def test_the_same_record_gives_the_same_page(files: list[Path]) -> None:
    assert render(records.full(files, LABELS)) == render(records.full(files, LABELS))
