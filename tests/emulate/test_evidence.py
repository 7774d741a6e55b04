"""What emulated boards told stays with the bundle: in emulated.json and in the report, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgekit import bundle, emulate
from edgekit.bundle import Expected
from edgekit.cli.app import app, guarded
from edgekit.config import load_target
from edgekit.emulate import FILE, Count, CountReport, Emulated
from edgekit.errors import BundleError, DeviceError, ProofFailed
from edgekit.evaluate.verify_report import EngineCheck, VerifyReport
from edgekit.report import emulated as section
from edgekit.steps import emulated as step
from edgekit.steps import publish
from edgekit.steps.remember import remember

A72 = Count("litert", "2.3.0", "model.tflite", "cortex-a72", 20.64, 6.49, 39.47, 8, "7.2.22")
A76 = Count("litert", "2.3.0", "model.tflite", "cortex-a76", 12.5, 4.5, 39.47, 16, "10.0.13")
CHECK = EngineCheck("litert", "2.3.0", "aarch64", "litert on x86_64", 32, 2.0, 1.0, 0.01, 32, 30, 30)
PAGE = f"<html>{section.proof(None)}<p>roofline</p>{section.counts(None)}</html>"


def report(*checks: EngineCheck) -> VerifyReport:
    return VerifyReport(Path("build/rpi4"), "ab", (), checks or (CHECK,), emulated="cortex-a72")


@pytest.fixture
def built(tmp_path: Path, tinybundle: ModuleType) -> bundle.Bundle:
    target = load_target("rpi4").to_dict()
    made: bundle.Bundle = tinybundle.write(
        tmp_path / "b", target=target, extra={"report.html": ("report", PAGE.encode())}
    )
    return made


def test_ratios_of_a_count() -> None:
    assert A72.macs_per_instruction == pytest.approx(39.47 / 20.64)
    assert A72.floor == pytest.approx(39.47 / 8)
    assert A72.times_floor == pytest.approx(20.64 * 8 / 39.47)
    unknown = replace(A72, macs=None, most=None)
    assert (unknown.macs_per_instruction, unknown.floor, unknown.times_floor) == (None, None, None)


def test_a_bundle_keeps_its_name_when_it_is_measured(built: bundle.Bundle) -> None:
    evidence = Emulated().with_proof(report()).with_counts([A72])
    made = remember(built.path, evidence)
    assert made is not None and made.sha256 == built.sha256
    assert Emulated.of(bundle.read(built.path, every_file=True)) == evidence
    page = (built.path / "report.html").read_text()
    assert page == f"<html>{section.proof(evidence)}<p>roofline</p>{section.counts(evidence)}</html>"
    assert "20.6" in page and "4.18" in page and "cortex-a72" in page and "qemu 7.2.22" in page


def test_counts_end_the_remark_that_there_are_none() -> None:
    assert Emulated(remarks=("Not counted: no qemu.",)).with_counts([A72]) == Emulated(counts=(A72,))


def test_the_same_measurement_replaces_itself_and_another_core_stands_beside_it(built: bundle.Bundle) -> None:
    remember(built.path, Emulated().with_counts([A72]))
    faster = replace(A72, instructions=15.0)
    remember(built.path, Emulated.of(bundle.read(built.path)).with_counts([A76, faster]))
    assert Emulated.of(bundle.read(built.path)).counts == (faster, A76)
    page = (built.path / "report.html").read_text()
    assert "20.6" not in page and "15.0" in page and "cortex-a76" in page


@pytest.mark.parametrize("page", ["<p>older</p>", PAGE + PAGE, PAGE.replace("<!--/emulated-counts-->", ""), PAGE[::-1]])
def test_a_report_without_one_place_for_it_stays_as_it_is(tmp_path: Path, tinybundle: ModuleType, page: str) -> None:
    path = tinybundle.write(tmp_path / "b", extra={"report.html": ("report", page.encode())}).path
    assert remember(path, Emulated().with_counts([A72])) is None
    assert (path / "report.html").read_text() == page
    assert not (path / FILE).exists()


def test_a_refused_core_shows_in_the_report_with_its_reason() -> None:
    bad = replace(CHECK, problems=("litert: golden 3 is 9 steps from the recorded answer, and 2 are allowed",))
    evidence = Emulated().with_proof(report(bad))
    assert not evidence.passed
    page = section.proof(evidence)
    assert "refused" in page and "golden 3 is 9 steps" in page
    assert Emulated().with_proof(report()).passed and not Emulated().passed


@pytest.mark.parametrize("content", [b"", b"[]", b'{"proofs": 3}', b'{"proofs": [], "counts": [{}], "remarks": []}'])
def test_evidence_of_another_kind_is_refused(built: bundle.Bundle, content: bytes) -> None:
    made = bundle.add(built.path, {FILE: ("report", content)})
    with pytest.raises(BundleError, match=FILE):
        Emulated.of(made)


def test_bench_puts_its_counts_into_the_report_unless_told_otherwise(
    built: bundle.Bundle, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(emulate, "count", lambda path, **_: CountReport(path, (A72,)))
    line = ["bench", "--bundle", str(built.path), "--emulate", "--json"]
    assert main([*line, "--no-record"]) == 0
    assert not (built.path / FILE).exists()
    assert main(line) == 0
    said = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert said[0] == said[1] == {"bundle": str(built.path), "emulated": [A72.to_dict()]}
    assert "4.18" in (built.path / "report.html").read_text()


def test_counts_are_told_even_where_the_bundle_cannot_be_written(
    built: bundle.Bundle, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(emulate, "count", lambda path, **_: CountReport(path, (A72,)))
    (built.path / "stranger.txt").write_text("somebody's")
    assert main(["bench", "--bundle", str(built.path), "--emulate"]) == 0
    captured = capsys.readouterr()
    assert "20.6" in captured.out
    assert "not put into the report" in captured.err and "stranger.txt" in captured.err


def main(arguments: list[str]) -> int:
    return guarded(lambda: app(args=arguments, prog_name="edgekit", standalone_mode=True), debug=False)


@dataclass(frozen=True)
class Order:
    target: Any
    output: Path


@dataclass(frozen=True)
class Findings:
    """As much of a build as the emulated step looks at."""

    order: Order
    emulated: Emulated | None = None


@pytest.fixture
def trial(tmp_path: Path, tinybundle: ModuleType, monkeypatch: Any) -> Findings:
    target = load_target("rpi4")
    monkeypatch.setattr(
        publish, "write", lambda f, *_: tinybundle.write(f.order.output, target=f.order.target.to_dict())
    )
    monkeypatch.setattr(publish, "refusal", lambda kind, f, why: kind(why, facts={"emulated": f.emulated.to_dict()}))
    monkeypatch.setattr(step.emulate, "check_counting", lambda machine: None)
    monkeypatch.setattr(step.emulate, "count", lambda path, **_: CountReport(path, (A72,)))
    return Findings(Order(target, tmp_path / "out" / "rpi4"))


def test_a_build_that_the_core_proves_carries_its_answers_and_counts(trial: Any, monkeypatch: Any) -> None:
    def verify(path: Path, *, record: bool, say: Any) -> VerifyReport:
        assert record
        golden = bundle.read(path).golden()
        raw = np.zeros((len(golden), 3), np.int8)
        bundle.add(path, {}, golden=golden.recording(Expected("litert", "aarch64", raw)))
        return report()

    monkeypatch.setattr(step.emulate, "verify_emulated", verify)
    found, answers = step.prove(trial, None, {}, print)  # type: ignore[arg-type]
    assert found.emulated == Emulated().with_proof(report()).with_counts([A72])
    assert [(item.engine, item.family) for item in answers] == [("litert", "aarch64")]
    assert not trial.order.output.exists()


def test_a_qemu_that_cannot_count_still_proves_and_says_so(trial: Any, monkeypatch: Any) -> None:
    def refuse(machine: Any) -> None:
        raise DeviceError("emulation: qemu 10.0.2 is built without plugins")

    monkeypatch.setattr(step.emulate, "verify_emulated", lambda path, **_: report())
    monkeypatch.setattr(step.emulate, "check_counting", refuse)
    found, _ = step.prove(trial, None, {}, print)  # type: ignore[arg-type]
    assert found.emulated is not None and found.emulated.passed
    assert found.emulated.remarks == ("Not counted: qemu 10.0.2 is built without plugins.",)
    assert "Not counted" in section.counts(found.emulated)


def test_a_build_that_the_core_refuses_is_no_bundle(trial: Any, monkeypatch: Any) -> None:
    bad = replace(CHECK, problems=("litert: golden 3 is 9 steps from the recorded answer, and 2 are allowed",))
    monkeypatch.setattr(step.emulate, "verify_emulated", lambda path, **_: report(bad))
    with pytest.raises(ProofFailed, match="golden 3 is 9 steps") as caught:
        step.prove(trial, None, {}, print)  # type: ignore[arg-type]
    assert "cortex-a72" in caught.value.message and caught.value.exit_code == 1
    assert caught.value.facts["emulated"]["passed"] is False
    assert not trial.order.output.exists()


def test_a_count_is_read_back_as_it_was_told() -> None:
    for one in (A72, Count("litert", "", "m.tflite", "max", 0.0123, 0.004), replace(A72, instructions=20.6399)):
        assert Count.from_dict(json.loads(json.dumps(one.to_dict()))) == one
        assert Count.from_dict(one.to_dict()).to_dict() == one.to_dict()
