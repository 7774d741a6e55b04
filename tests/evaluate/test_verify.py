"""``verify`` says yes to a bundle that answers as recorded, and names what is wrong with one that does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import bundle, engines
from edgekit.bundle import Expected, Golden
from edgekit.bundle.golden import isa_family
from edgekit.bundle.tolerance import LEAST_OTHER_STEPS, Tolerance, derive, steps
from edgekit.errors import BundleError, EngineError, VerifyFailed
from edgekit.evaluate.sample import take
from edgekit.evaluate.verify import check_engine, judge, verify
from edgekit.evaluate.verify_report import EngineCheck, Sample

HERE = tuple(name for name in ("litert", "onnxruntime") if name in engines.installed())
pytestmark = pytest.mark.skipif(not HERE, reason="no inference engine is installed")


def test_a_whole_bundle_is_proven_on_every_engine(tmp_path: Path, tinybundle: ModuleType) -> None:
    made = tinybundle.write(tmp_path / "b", *HERE)
    report = verify(made.path)
    assert report.passed, report.text()
    assert {check.engine for check in report.engines} >= set(HERE)
    for check in report.engines:
        assert (check.goldens, check.same_top1, check.worst, check.tolerance) == (4, 4, 0.0, 1.0)
    report.require()
    data = json.loads(json.dumps(report.to_dict()))
    assert (data["passed"], data["sha256"], data["problems"]) == (True, made.sha256, [])
    assert report.text().endswith("proven")
    assert EngineCheck.from_dict(data["engines"][0]) == report.engines[0]


@pytest.mark.parametrize("name", ["model.tflite", "labels.txt", "golden.npz"])
def test_a_flipped_byte_is_refused_by_name_before_any_engine_runs(
    tmp_path: Path, tinybundle: ModuleType, name: str
) -> None:
    path = tinybundle.write(tmp_path / "b", *HERE).path
    content = bytearray((path / name).read_bytes())
    content[-3] ^= 4
    (path / name).write_bytes(content)
    report = verify(path)
    assert not report.passed
    assert report.engines == ()
    assert name in report.problems[0]
    assert report.text().endswith("REFUSED")
    with pytest.raises(VerifyFailed, match=name) as caught:
        report.require()
    assert caught.value.exit_code == 1


def test_a_changed_preprocessing_field_is_refused_by_name(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tinybundle.write(tmp_path / "b", *HERE).path
    data = json.loads((path / "manifest.json").read_text())
    data["image"]["interpolation"] = "area"
    (path / "manifest.json").write_text(json.dumps(data, indent=2))
    report = verify(path)
    assert not report.passed
    assert "image.interpolation" in report.problems[0]


def test_another_engine_version_is_refused_by_name(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tinybundle.write(tmp_path / "b", *HERE, engines={HERE[0]: "1.0.0"}).path
    report = verify(path, engines=HERE[:1])
    (problem,) = report.problems
    assert problem.startswith(f"{HERE[0]}: version {engines.installed()[HERE[0]]} is installed")
    assert problem.endswith("proven with 1.0.0")


def test_answers_that_are_not_the_recorded_ones_are_refused(tmp_path: Path, tinybundle: ModuleType) -> None:
    parts = tinybundle.parts(*HERE)
    wrong = tuple(replace(item, raw=item.raw[::-1]) for item in parts.golden.expected)
    made = bundle.write(tmp_path / "b", replace(parts, golden=replace(parts.golden, expected=wrong)))
    report = verify(made.path, engines=HERE[:1])
    assert not report.passed
    assert any("steps from the recorded answer" in problem for problem in report.problems)


def test_goldens_of_another_family_are_compared_with_the_wider_tolerance(
    tmp_path: Path, tinybundle: ModuleType
) -> None:
    made = tinybundle.write(tmp_path / "b", *HERE, golden_notes={"tolerance": {"same_family": 1, "other_family": 7}})
    here, there = (verify(made.path, family=family).engines[0] for family in (isa_family(), "sparc"))
    assert (here.tolerance, there.tolerance) == (1, 7)
    assert there.compared_with == f"{HERE[0]} on {isa_family()}"


def test_a_bundle_without_recorded_answers_is_refused(tmp_path: Path, tinybundle: ModuleType) -> None:
    path = tinybundle.write(tmp_path / "b").path
    report = verify(path, engines=HERE[:1])
    assert report.problems == (f"{HERE[0]}: the bundle holds no answers to compare with",)


def test_an_engine_without_recorded_answers_is_compared_with_anothers(tmp_path: Path, tinybundle: ModuleType) -> None:
    if len(HERE) < 2:
        pytest.skip("needs two engines")
    notes = {"tolerance": {"other_family": 8}}  # what the tiny model's few layers need
    path = tinybundle.write(tmp_path / "b", HERE[0], golden_notes=notes).path
    (check,) = verify(path, engines=[HERE[1]]).engines
    assert check.compared_with == f"{HERE[0]} on {isa_family()}"
    assert check.passed, check.problems


def test_an_engine_that_is_asked_for_and_missing_is_refused(
    tmp_path: Path, tinybundle: ModuleType, monkeypatch: Any
) -> None:
    path = tinybundle.write(tmp_path / "b", *HERE).path
    monkeypatch.setattr(engines.EngineKind, "installed_version", lambda kind: None)
    assert "tflite-runtime" in verify(path, engines=["tflite-runtime"]).problems[0]
    with pytest.raises(EngineError, match="no inference engine for it is installed"):
        verify(path)


def test_a_model_that_an_engine_does_not_take_is_a_verdict(tmp_path: Path, tinybundle: ModuleType) -> None:
    parts = tinybundle.parts(*HERE)
    models = tuple((entry, content[: len(content) // 2]) for entry, content in parts.models)
    made = bundle.write(tmp_path / "b", replace(parts, models=models))
    report = verify(made.path, engines=HERE)
    assert not report.passed
    assert len(report.problems) == len(HERE)
    assert all("cannot load it" in problem for problem in report.problems)


def test_no_bundle_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        verify(tmp_path / "absent")


def test_labels_inside_the_tflite_file_must_be_the_bundles(tmp_path: Path, tinybundle: ModuleType) -> None:
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("labels.txt", "red\ngreen\nblue\ngrey\nother")
    parts = tinybundle.parts("litert" if "litert" in HERE else HERE[0])
    (onnx, tflite) = parts.models
    models = (onnx, (tflite[0], tflite[1] + out.getvalue()))
    made = bundle.write(tmp_path / "b", replace(parts, models=models))
    report = verify(made.path, engines=[])
    assert "model.tflite: its own labels.txt is not the bundle's labels" in report.problems


def test_quick_check_runs_the_first_goldens_on_an_open_engine(tmp_path: Path, tinybundle: ModuleType) -> None:
    made = tinybundle.write(tmp_path / "b", *HERE, engines={HERE[0]: "1.0.0"})
    engine = engines.open(made.path, HERE[0])
    check = check_engine(made, engine, count=3)
    assert check.passed  # the version is full verify's business
    assert check.goldens == 3


BUDGETED = {"threads": 2, "cpu": {"isa": "aarch64"}, "budget": {"latency_ms": 10, "memory_mb": 100}}


class TestBudget:
    """Latency and memory are judged on the target's own kind of machine only."""

    def run(self, path: Path, tinybundle: ModuleType, family: str, sample: Sample) -> Any:
        asked = []

        def take(bundle: Path, engine: str, threads: int) -> Sample:
            asked.append((engine, threads))
            return sample

        made = tinybundle.write(path / "b", *HERE, target=BUDGETED)
        report = verify(made.path, engines=HERE[:1], sample=take, family=family)
        assert asked == [(HERE[0], 2)]
        return report

    def test_over_budget_on_the_target(self, tmp_path: Path, tinybundle: ModuleType) -> None:
        report = self.run(tmp_path, tinybundle, "aarch64+dotprod", Sample(9, 12.5, 130, 2))
        assert report.problems == (
            f"{HERE[0]}: 95 % of inferences take up to 12.5 ms; the budget is 10 ms",
            f"{HERE[0]}: needs 130 MB of memory; the budget is 100 MB",
        )

    def test_the_same_figures_on_a_desk(self, tmp_path: Path, tinybundle: ModuleType) -> None:
        report = self.run(tmp_path, tinybundle, "x86_64", Sample(9, 12.5, 130, 2))
        assert report.passed
        assert report.engines[0].to_dict()["sample"]["judged"] is False

    def test_a_real_sample(self, tmp_path: Path, tinybundle: ModuleType) -> None:
        made = tinybundle.write(tmp_path / "b", *HERE)
        sample = take(made.path, HERE[0], 1)
        assert 0 < sample.p50_ms <= sample.p95_ms
        assert 20 < sample.peak_mb < 1000


CHECK = EngineCheck("litert", "2", "aarch64")


def judged(got: list[int], want: list[int], tolerance: float) -> EngineCheck:
    return judge(CHECK, np.array([got], np.uint8), Expected("litert", "x86_64", np.array([want], np.uint8)), tolerance)


@pytest.mark.parametrize(
    ("got", "want", "tolerance", "passed", "why"),
    [
        ([10, 20], [10, 20], 0, True, ""),
        ([12, 18], [10, 20], 2, True, ""),
        ([13, 20], [10, 20], 2, False, "golden 0 is 3 steps"),
        ([21, 20], [20, 21], 1, True, ""),  # a lead of one step may flip when one step is allowed
        ([22, 19], [20, 22], 3, True, ""),
        ([23, 20], [20, 23], 2, False, "is class 0, recorded was 1 with a lead of 3 steps"),
        ([20, 21], [21, 21], 1, True, ""),  # either of two equals is the best
    ],
)
def test_judgement(got: list[int], want: list[int], tolerance: float, passed: bool, why: str) -> None:
    result = judged(got, want, tolerance)
    assert result.passed is passed
    assert passed or any(why in problem for problem in result.problems)


def test_another_shape_or_dtype_is_refused() -> None:
    expected = Expected("litert", "x86_64", np.zeros((1, 3), np.int8))
    assert "int8[1, 4] instead of int8[1, 3]" in judge(CHECK, np.zeros((1, 4), np.int8), expected, 1).problems[0]
    assert "float32[1, 3] instead of int8" in judge(CHECK, np.zeros((1, 3), np.float32), expected, 1).problems[0]


def test_a_score_that_is_no_number_is_refused() -> None:
    expected = Expected("litert", "x86_64", np.array([[0.0, 1.0]], np.float32))
    assert not judge(CHECK, np.array([[np.nan, 1.0]], np.float32), expected, 4).passed


@given(st.integers(0, 255), st.integers(0, 255))
def test_both_spellings_of_one_number_are_equally_many_steps(one: int, other: int) -> None:
    unsigned = np.array([[one, other]], np.uint8)
    signed = (unsigned.astype(np.int16) - 128).astype(np.int8)
    np.testing.assert_array_equal(steps(unsigned), steps(signed))


def golden_of(*raws: np.ndarray, fixed_point: np.ndarray | None = None) -> Golden:
    names = ("litert", "onnxruntime")
    expected = tuple(Expected(name, "x86_64+vnni", raw) for name, raw in zip(names, raws, strict=False))
    if fixed_point is not None:
        expected += (Expected("tflite-runtime", "fixed-point", fixed_point),)
    return Golden(np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1, np.int32), expected)


def test_the_tolerance_is_twice_the_spread_between_kernels_of_one_kind() -> None:
    one, other = np.array([[2, -8]], np.int8), np.array([[130, 113]], np.uint8)
    tolerance = derive(golden_of(one, other, fixed_point=one + np.int8(20)))
    assert tolerance == Tolerance(same=1, other=14, spread=7, fixed_point=27)
    assert Tolerance.from_dict(json.loads(json.dumps(tolerance.to_dict()))) == tolerance


def test_other_fixed_point_kernels_may_be_as_far_as_the_kinds_are_apart() -> None:
    assert Tolerance(1, 6, spread=3, fixed_point=13).second_kind == 20
    assert Tolerance(1, 6, spread=3, fixed_point=12.2).other_release == 13
    assert Tolerance(1, 6, spread=3, fixed_point=2).other_release == 6
    assert Tolerance(1, 6, spread=3).second_kind == 6


def test_one_engine_alone_is_measured_against_the_fixed_point_kernels() -> None:
    one = np.array([[2, -8]], np.int8)
    assert derive(golden_of(one, fixed_point=one + np.int8(5))) == Tolerance(1, 10, spread=None, fixed_point=5)


def test_kernels_that_overflow_are_not_taken_for_rounding() -> None:
    one = np.array([[2, -8]], np.int8)
    golden = golden_of(one, fixed_point=one + np.int8(5)).recording(
        Expected("onnxruntime", "x86_64", one + np.int8(80))
    )
    assert derive(golden) == Tolerance(1, 10, spread=None, fixed_point=5)


def test_engines_that_agree_leave_the_least_tolerance() -> None:
    assert derive(golden_of(np.zeros((1, 2), np.int8))).other == LEAST_OTHER_STEPS
    assert derive(golden_of(np.zeros((1, 2), np.int8), np.full((1, 2), 128, np.uint8))).other == LEAST_OTHER_STEPS


def test_float_answers_are_measured_in_255ths_of_their_range() -> None:
    one = np.array([[0.0, 25.5]], np.float32)
    assert derive(golden_of(one, one + np.float32(1.0))).spread == pytest.approx(10)


def test_an_engine_that_nobody_recorded_is_compared_with_the_kernel_that_fits_best(
    tmp_path: Path, tinybundle: ModuleType
) -> None:
    if "litert" not in HERE:
        pytest.skip("needs LiteRT")
    parts = tinybundle.parts("litert")
    (own,) = parts.golden.expected
    far = replace(own, family="sparc", raw=(own.raw.astype(np.int16) + 3).astype(np.int8))
    near = replace(own, engine="tflite-runtime", family="fixed-point")
    made = bundle.write(tmp_path / "b", replace(parts, golden=replace(parts.golden, expected=(far, near))))
    (check,) = verify(made.path, engines=["litert"]).engines
    assert (check.compared_with, check.worst, check.tolerance) == (
        "tflite-runtime on fixed-point", 0, LEAST_OTHER_STEPS,
    )  # fmt: skip


def test_an_engine_is_compared_with_itself_on_another_machine_before_others(
    tmp_path: Path, tinybundle: ModuleType
) -> None:
    """Or a difference between x86 and ARM would hide behind a kernel of another engine that happens to be nearer."""
    if "litert" not in HERE:
        pytest.skip("needs LiteRT")
    parts = tinybundle.parts("litert")
    (own,) = parts.golden.expected
    apart = replace(own, family="sparc", raw=(own.raw.astype(np.int16) + 1).astype(np.int8))
    equal = replace(own, engine="onnxruntime", family="sparc")
    made = bundle.write(tmp_path / "b", replace(parts, golden=replace(parts.golden, expected=(equal, apart))))
    (check,) = verify(made.path, engines=["litert"]).engines
    assert (check.compared_with, check.worst) == ("litert on sparc", 1)
