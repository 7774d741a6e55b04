"""``edgekit.Classifier`` on a whole (tiny) bundle and a real engine."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

import edgekit
from edgekit import engines
from edgekit.errors import BundleError, EdgekitError, ImageError, VerifyFailed

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")


@pytest.fixture(scope="module")
def bundle(tinybundle: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "tiny"
    tinybundle.write(path, "litert")
    return Path(path)


@pytest.fixture(scope="module")
def classifier(bundle: Path) -> edgekit.Classifier:
    return edgekit.Classifier(bundle, engine="litert", threads=1)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_the_answer_is_the_engines_through_a_softmax(
    classifier: edgekit.Classifier, tinybundle: ModuleType, bundle: Path
) -> None:
    from edgekit import bundle as bundles

    pixels = tinybundle.images(1)[0]  # of the model's own size, so nothing is resampled
    raw = tinybundle.answers("litert", pixels[None])[0].astype(np.float64)
    output = bundles.read(bundle).manifest.model("tflite").output  # type: ignore[union-attr]
    logits = (raw - output.zero_point) * output.scale
    expected = np.exp(logits - logits.max())
    expected /= expected.sum()
    answer = classifier.predict(pixels, color="rgb", top_k=5)
    assert len(answer.top) == 5
    for prediction in answer.top:
        assert prediction.score == pytest.approx(expected[prediction.index], abs=1e-5)
        assert prediction.label == classifier.labels[prediction.index]
    assert answer.index == int(expected.argmax())
    assert (answer.label, answer.score) == (answer.top[0].label, answer.top[0].score)
    assert answer.label in str(answer)


def test_every_way_to_give_a_picture_gives_the_same_answer(
    classifier: edgekit.Classifier, picture: np.ndarray, tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    path = tmp_path / "p.png"
    cv2.imwrite(str(path), picture)
    rgb = picture[:, :, ::-1]
    deep = picture.astype(np.uint16) * 257
    answers = [
        classifier.predict(picture), classifier.predict(path), classifier.predict(str(path)),
        classifier.predict(path.read_bytes()), classifier.predict(rgb, color="rgb"),
        classifier.predict(image.fromarray(np.ascontiguousarray(rgb))), classifier.predict(deep),
        classifier.predict(np.dstack([picture, picture[:, :, 0]])),
        classifier.predict(np.dstack([rgb, rgb[:, :, 0]]), color="rgb"),
    ]  # fmt: skip
    assert all(answer == answers[0] for answer in answers)


def test_gray_pictures_are_answered_as_gray(classifier: edgekit.Classifier, picture: np.ndarray) -> None:
    gray = picture[:, :, 0]
    assert classifier.predict(gray) == classifier.predict(np.dstack([gray] * 3))


@pytest.mark.parametrize(
    "bad", ["nowhere.jpg", b"", b"not a picture", None, 5, np.zeros((0, 5, 3), np.uint8), np.zeros((4, 4, 3)), [[1, 2]]]
)
def test_what_is_no_picture_is_refused(classifier: edgekit.Classifier, bad: object) -> None:
    with pytest.raises(ImageError):
        classifier.predict(bad)


def test_wrong_arguments(classifier: edgekit.Classifier, picture: np.ndarray) -> None:
    with pytest.raises(ImageError, match="top_k"):
        classifier.predict(picture, top_k=0)
    with pytest.raises(ImageError, match="hsv"):
        classifier.predict(picture, color="hsv")  # type: ignore[arg-type]


def test_a_bundle_that_is_none_or_was_changed(tinybundle: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        edgekit.Classifier(tmp_path / "nowhere")
    tinybundle.write(tmp_path / "tiny", "litert")
    file = tmp_path / "tiny" / "model.tflite"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(VerifyFailed):
        edgekit.Classifier(tmp_path / "tiny")


def test_it_closes(bundle: Path) -> None:
    with edgekit.Classifier(bundle) as classifier:
        assert classifier.engine in ("litert", "onnxruntime", "tflite-runtime")
    assert issubclass(BundleError, EdgekitError)


def test_a_bundle_for_another_processor_is_warned_of(
    tinybundle: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`edgekit run`, `edgekit verify` and `edgekit doctor` meet the same bundle on two kinds of processor."""
    from edgekit.config.machine import Machine
    from edgekit.evaluate.verify import verify
    from edgekit.runtime.model import load

    target = {**tinybundle.TARGET, "name": "desk", "cpu": {"isa": "x86_64", "dot_product": True}}
    path = tinybundle.write(tmp_path / "b", "litert", target=target).path
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("processor : 0\nflags : avx2\n")
    old = Machine(tmp_path, "x86_64", 64)
    load(path, "litert", 1, machine=old).close()
    (warning,) = [record.message for record in caplog.records if "this one has none" in record.message]
    report = verify(path, engines=["litert"], machine=old)
    assert report.passed and f"! {warning}" in report.text().splitlines()
    assert report.to_dict()["warnings"] == [warning]
    if "onnxruntime" in engines.installed():
        (said,) = verify(path, engines=["onnxruntime"], machine=old).warnings
        assert "saturate" in said and "--engine litert" in said
    caplog.clear()
    (tmp_path / "proc" / "cpuinfo").write_text("processor : 0\nflags : avx2 avx_vnni\n")
    new = Machine(tmp_path, "x86_64", 64)
    load(path, "litert", 1, machine=new).close()
    assert not caplog.records and not verify(path, engines=["litert"], machine=new).warnings
