"""Accuracy over folders of pictures: counts by hand, skipped files, and the object that ``eval --json`` prints."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest

from edgekit.config.target import Gate
from edgekit.contracts import ImageContract
from edgekit.errors import AccuracyGateFailed, CalibrationError, EngineError, ImageError, LabelsError, UsageError
from edgekit.evaluate.accuracy import Accuracy, evaluate, evaluate_files, loader, open_models, summarize
from edgekit.evaluate.compare import compare
from edgekit.evaluate.gate import judge
from edgekit.evaluate.pictures import Picture
from edgekit.labels import numbered_labels

_spec = importlib.util.spec_from_file_location("evaluate_fakes", Path(__file__).with_name("fakes.py"))
assert _spec is not None and _spec.loader is not None
fakes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fakes)

_spec = importlib.util.spec_from_file_location("evaluate_tiny", Path(__file__).with_name("tiny.py"))
assert _spec is not None and _spec.loader is not None
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

# Six pictures, three classes; the file's stem is both the pixel value and the row of each model's table.
TRUTH = [0, 0, 1, 1, 2, 2]
FLOAT = np.eye(3)[[0, 0, 1, 1, 2, 0]].astype(np.float32) * 8  # five right
ONNX = np.eye(3)[[0, 1, 1, 1, 2, 2]].astype(np.float32) * 8  # loses picture 1, gains picture 5
TFLITE = np.eye(3)[[0, 1, 1, 0, 2, 0]].astype(np.float32) * 8  # loses pictures 1 and 3


def load(path: Path) -> np.ndarray:
    if path.stem == "broken":
        raise ImageError(f"{path}: not a picture")
    return fakes.solid()(int(path.stem))


def pictures(*, broken: int = 0) -> list[Picture]:
    good = [Picture(Path(f"{i}.png"), label) for i, label in enumerate(TRUTH)]
    return [*good[:3], *[Picture(Path("broken.png"), 0)] * broken, *good[3:]]


def measured(*, broken: int = 0, labelled: bool = True) -> Accuracy:
    models = {"float": FLOAT, "onnx": ONNX, "tflite": TFLITE}
    engines = {name: fakes.TableEngine(table) for name, table in models.items()}
    steps: list[tuple[int, int]] = []
    comparison = compare(
        engines, pictures(broken=broken), load, labelled=labelled, progress=lambda a, b: steps.append((a, b))
    )
    assert steps == [(i + 1, 6 + broken) for i in range(6 + broken)]
    return summarize(comparison, list(models), dict.fromkeys(models, "fake 0"))


def test_every_figure_by_hand() -> None:
    found = measured()
    assert found.n == 6
    assert [round(m.top1, 3) for m in found.models.values()] == [83.333, 83.333, 50.0]
    assert all(m.top5 == 100 for m in found.models.values())
    assert found.drop_pp == {"onnx": 0.0, "tflite": pytest.approx(100 / 3)}
    assert found.agreement == pytest.approx({"onnx": 400 / 6, "tflite": 400 / 6, "onnx_tflite": 400 / 6})
    # Two of six pictures differ in two places by 8: noise 2 × 2 × 64 against a signal of 6 × 64.
    assert found.sqnr_db == pytest.approx(dict.fromkeys(("onnx", "tflite"), 10 * math.log10(6 / 4)))
    low, high = found.drop_ci95["onnx"]
    assert low == pytest.approx(-high) and high > 0
    low, high = found.models["float"].ci95
    assert low < 83.33 < high <= 100


def test_the_json_object_has_the_promised_keys_and_no_infinity() -> None:
    engines = {"float": fakes.TableEngine(FLOAT), "onnx": fakes.TableEngine(FLOAT)}
    found = summarize(compare(engines, pictures(), load), list(engines), {"float": "a", "onnx": "b"})
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["n"] == 6
    assert set(data["models"]) == {"float", "onnx"}
    assert set(data["models"]["onnx"]) == {"top1", "top5", "ci95"}
    assert data["drop_pp"] == {"onnx": 0.0}
    assert data["agreement"] == {"onnx": 100.0}
    assert data["sqnr_db"] == {"onnx": None}
    assert data["skipped"] == 0


def test_the_terminal_table_holds_the_same_figures() -> None:
    lines = measured(broken=1).text().splitlines()
    assert lines[0].split()[:4] == ["model", "engine", "top-1", "%"]
    assert lines[3].split()[:4] == ["tflite", "fake", "0", "50.00"] and "+33.33" in lines[3]
    assert "6 pictures, 1 unreadable skipped" in lines
    unlabelled = measured(labelled=False).text()
    assert "top-1" not in unlabelled and "66.67" in unlabelled


def test_without_a_float_model_nothing_is_compared_with_it() -> None:
    engines = {"onnx": fakes.TableEngine(ONNX), "tflite": fakes.TableEngine(TFLITE)}
    found = summarize(compare(engines, pictures(), load), list(engines), {})
    assert found.drop_pp == {} and found.sqnr_db == {}
    assert found.agreement == pytest.approx({"onnx_tflite": 400 / 6})
    assert set(found.models) == {"onnx", "tflite"}


def test_one_unreadable_picture_is_skipped_and_counted() -> None:
    found = measured(broken=1)
    assert found.n == 6
    assert found.to_dict()["skipped"] == 1
    assert found.unreadable == ("broken.png",)
    assert found.drop_pp == measured().drop_pp


def test_many_unreadable_pictures_are_refused() -> None:
    with pytest.raises(CalibrationError, match=r"2 of 8 pictures cannot be read, beginning with broken\.png"):
        measured(broken=2)
    with pytest.raises(CalibrationError, match="1 of 1"):
        compare({"onnx": fakes.TableEngine(ONNX)}, [Picture(Path("broken.png"), 0)], load)
    with pytest.raises(CalibrationError, match="no pictures"):
        compare({"onnx": fakes.TableEngine(ONNX)}, [], load)


def test_unlabelled_pictures_give_agreement_and_noise_only() -> None:
    found = measured(labelled=False)
    assert found.models == {} and found.drop_pp == {}
    assert found.agreement["tflite"] == pytest.approx(400 / 6)
    assert found.answers is not None and found.answers.truth.tolist() == [-1] * 6


def test_answers_tell_which_pictures_flipped() -> None:
    answers = measured(broken=1).answers
    assert answers is not None
    flipped = np.flatnonzero(answers.top1["float"] != answers.top1["tflite"])
    assert [answers.paths[i].name for i in flipped] == ["1.png", "3.png"]
    assert answers.scatter["onnx"].shape[1] == 2


def test_the_scatter_sample_is_bounded_and_meets_every_class() -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((256, 1000)).astype(np.float32)
    files = [Picture(Path(f"{i % 256}.png"), 0) for i in range(60)]
    engines = {"float": fakes.TableEngine(table), "onnx": fakes.TableEngine(table + 1)}
    answers = compare(engines, files, load).answers
    points = answers.scatter["onnx"]
    assert 2000 < len(points) < 3000
    assert np.allclose(points[:, 1] - points[:, 0], 1, atol=1e-6)
    # The exact sample: every 24th score of the whole set, counted across pictures.
    assert np.array_equal(points[:, 0], table[:60].ravel()[:: 60 * 1000 // 2500])


def test_a_runtime_that_fails_ends_the_evaluation() -> None:
    class Failing(fakes.TableEngine):  # type: ignore[misc, name-defined]
        def invoke(self) -> np.ndarray:
            raise EngineError("litert failed")

    with pytest.raises(EngineError, match="litert failed"):
        compare({"tflite": Failing(ONNX)}, pictures(), load)


def test_the_loader_reads_as_the_image_contract_says(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.full((30, 50, 3), (10, 20, 30), np.uint8))
    pixels = loader(ImageContract(16, 16, 20, "linear"))(tmp_path / "a.png")
    assert pixels.shape == (16, 16, 3) and pixels.dtype == np.uint8
    assert pixels[3, 3].tolist() == [30, 20, 10]
    (tmp_path / "b.png").write_bytes(b"not a picture")
    with pytest.raises(ImageError):
        loader(ImageContract(16, 16, 20, "linear"))(tmp_path / "b.png")


def test_no_models_and_an_unknown_engine() -> None:
    with pytest.raises(EngineError, match="nothing to evaluate"):
        open_models({}, None, 1)
    with pytest.raises(UsageError, match="'tensorrt' is not known"):
        open_models({}, ["tensorrt"], 1)


def test_the_gate_says_yes_and_no() -> None:
    found = measured()
    passed = judge(found, Gate(max_drop_pp=1.0, min_agreement=0.5), models=["onnx"])
    assert passed.passed and "onnx loses 0.00 pp" in passed.sentence
    passed.require()
    failed = judge(found, Gate(max_drop_pp=1.0, min_agreement=0.7, min_sqnr_db=1.0))
    assert not failed.passed
    assert [(c.model, c.name) for c in failed.judged if not c.passed] == [
        ("onnx", "agreement"),
        ("tflite", "drop_pp"),
        ("tflite", "agreement"),
    ]
    with pytest.raises(
        AccuracyGateFailed, match=r"tflite loses 33\.33 pp .* misses the gate of at most 1 pp"
    ) as caught:
        failed.require()
    assert caught.value.exit_code == 1
    json.dumps(failed.to_dict(), allow_nan=False)


def test_a_confident_gate_fails_on_too_few_pictures() -> None:
    gate = Gate(max_drop_pp=1.0, min_agreement=None)
    assert judge(measured(), gate, models=["onnx"]).passed
    assert not judge(measured(), gate, models=["onnx"], confident=True).passed


def test_a_gate_that_could_not_be_judged_is_missed() -> None:
    unlabelled = measured(labelled=False)
    result = judge(unlabelled, Gate(max_drop_pp=1.0, min_agreement=None))
    assert not result.passed and "no labelled pictures" in result.sentence
    assert judge(unlabelled, Gate(max_drop_pp=None, min_agreement=None)).passed


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Ten pictures: three of each colour, and one red picture in the folder of green ones."""
    import cv2

    bgr = {"red": (0, 0, 200), "green": (0, 200, 0), "blue": (200, 0, 0)}
    for name, colour in bgr.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(3):
            cv2.imwrite(str(tmp_path / "data" / name / f"{i}.png"), np.full((20, 30, 3), colour, np.uint8))
    cv2.imwrite(str(tmp_path / "data" / "green" / "wrong.png"), np.full((20, 30, 3), bgr["red"], np.uint8))
    return tmp_path / "data"


def test_a_real_bundle_in_a_real_engine(tmp_path: Path, colours: Path) -> None:
    pytest.importorskip("onnxruntime")
    built = tiny.write_bundle(tmp_path / "bundle")
    found = evaluate(built, colours)
    assert found.n == 10
    assert {name: model.top1 for name, model in found.models.items()} == {"float": 90.0, "onnx": 90.0}
    assert found.agreement == {"onnx": 100.0} and found.drop_pp == {"onnx": 0.0}
    assert found.engines["onnx"].startswith("onnxruntime ")
    assert evaluate(built, colours, limit=5).n == 5


def test_a_device_without_the_float_model(tmp_path: Path, colours: Path) -> None:
    pytest.importorskip("onnxruntime")
    found = evaluate(tiny.write_bundle(tmp_path / "bundle", with_float=False), colours)
    assert set(found.models) == {"onnx"} and found.agreement == {}


def test_labels_given_must_be_as_many_as_the_models(tmp_path: Path, colours: Path) -> None:
    built = tiny.write_bundle(tmp_path / "bundle")
    with pytest.raises(LabelsError, match="2 labels for a model of 3"):
        evaluate(built, colours, labels=numbered_labels(2))
    with pytest.raises(EngineError, match="nothing to evaluate"):
        evaluate(built, colours, engines=["litert"])


def test_model_files_outside_a_bundle_and_pictures_without_labels(tmp_path: Path, colours: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = tiny.write_onnx(tmp_path / "m.onnx")
    found = evaluate_files({"float": model, "onnx": model}, colours, None, ImageContract(8, 8, 8, "linear"))
    assert found.n == 10 and found.models == {} and found.agreement == {"onnx": 100.0}
    assert judge(found, Gate(max_drop_pp=None, min_agreement=0.99)).passed
