"""Bad input of every kind: one clear error, the right exit code, no traceback, nothing half-written."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BUILD = ("build", "--target", "rpi4")


def refused(done: Any, code: int, *words: str) -> None:
    assert done.code == code, (done.out, done.err)
    assert "Traceback" not in done.err and done.out == ""
    for word in words:
        assert word in done.err, done.err


def nothing_in(folder: Path) -> bool:
    return not folder.exists() or not any(folder.rglob("*"))


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"", "empty"), (b"\x80\x02}q\x00.", "state dict"), (b"hello world" * 99, "")],
    ids=["missing", "empty", "another-pickle", "text"],
)
def test_checkpoint_that_is_none(
    edgekit: Callable[..., Any], tmp_path: Path, pictures: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "net.pth"
    if content is not None:
        file.write_bytes(content)
    done = edgekit(*BUILD, "--checkpoint", file, "--calibration", pictures, "--output", tmp_path / "out")
    refused(done, 2, "net.pth", said)
    assert nothing_in(tmp_path / "out")


def test_truncated_checkpoint(
    edgekit: Callable[..., Any], tmp_path: Path, tiny_checkpoint: Path, pictures: Path
) -> None:
    file = tmp_path / "net.pth"
    file.write_bytes(tiny_checkpoint.read_bytes()[:-3000])
    done = edgekit(*BUILD, "--checkpoint", file, "--calibration", pictures, "--output", tmp_path / "out")
    refused(done, 2, "net.pth")


def test_pickle_that_would_run_code_does_not(edgekit: Callable[..., Any], tmp_path: Path, pictures: Path) -> None:
    proof = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> Any:
            return (Path.touch, (proof,))

    file = tmp_path / "net.pth"
    file.write_bytes(pickle.dumps({"state_dict": Hostile()}))
    done = edgekit(*BUILD, "--checkpoint", file, "--calibration", pictures, "--output", tmp_path / "out")
    refused(done, 2, "net.pth")
    assert not proof.exists()


def test_unknown_target_offers_the_nearest(edgekit: Callable[..., Any]) -> None:
    refused(edgekit("build", "--target", "rpi44"), 2, "rpi44", "rpi4")


def test_broken_yaml_is_told_with_its_place(edgekit: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "deploy.yaml"
    file.write_text("checkpoint: demo\ntargets: [rpi4]\ncalibraton: x\nrun:\n  top_k: many\n")
    done = edgekit(*BUILD, "--config", file)
    refused(done, 2, "deploy.yaml:3:1", "calibration", "deploy.yaml:5:")


def test_empty_calibration_folder(edgekit: Callable[..., Any], tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "none").mkdir()
    done = edgekit(
        *BUILD, "--checkpoint", tiny_checkpoint, "--calibration", tmp_path / "none", "--output", tmp_path / "o"
    )
    refused(done, 2, "no pictures")


def test_too_many_unreadable_pictures(
    edgekit: Callable[..., Any], tmp_path: Path, tiny_checkpoint: Path, pictures: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(pictures, folder)
    (folder / "zero.jpg").touch()
    (folder / "text.jpg").write_text("no picture")
    done = edgekit(*BUILD, "--checkpoint", tiny_checkpoint, "--calibration", folder, "--output", tmp_path / "o")
    refused(done, 2, "2 of 14", "cannot be used")


def test_label_count_that_does_not_match(
    edgekit: Callable[..., Any], tmp_path: Path, tiny_checkpoint: Path, pictures: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    done = edgekit(
        *BUILD,
        "--checkpoint",
        tiny_checkpoint,
        "--calibration",
        pictures,
        "--labels",
        labels,
        "--output",
        tmp_path / "o",
    )
    refused(done, 2, "labels.txt", "3", "5")


def test_output_that_is_no_bundle_is_not_replaced(
    edgekit: Callable[..., Any], tmp_path: Path, tiny_checkpoint: Path, pictures: Path
) -> None:
    mine = tmp_path / "rpi4" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    done = edgekit(*BUILD, "--checkpoint", tiny_checkpoint, "--calibration", pictures, "--output", tmp_path)
    refused(done, 2, "thesis.txt")
    assert mine.read_text() == "years of work"


@pytest.mark.parametrize(
    "words", [("frobnicate",), ("build",), ("run", "--top-k", "0"), ("eval",), ("build", "--targets", "x")]
)
def test_usage_errors_are_2(edgekit: Callable[..., Any], words: tuple[str, ...]) -> None:
    done = edgekit(*words)
    assert done.code == 2 and "Traceback" not in done.err


@pytest.mark.parametrize("name", ["nowhere", "", "README.md"])
def test_what_is_no_bundle(edgekit: Callable[..., Any], tmp_path: Path, name: str) -> None:
    where = Path("README.md") if name.endswith("md") else tmp_path / name
    for words in (("verify", where), ("run", "--bundle", where, "--camera", "demo"), ("bench", "--bundle", where)):
        refused(edgekit(*words), 2)


def test_camera_that_does_not_exist(edgekit: Callable[..., Any], demo_bundle: Path) -> None:
    done = edgekit("run", "--bundle", demo_bundle, "--camera", "/dev/video77", "--max-seconds", "20", "--json")
    refused(done, 3, "/dev/video77")


def test_text_file_as_video(edgekit: Callable[..., Any], demo_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("this is no film\n" * 50)
    refused(edgekit("run", "--bundle", demo_bundle, "--camera", tmp_path / "film.mp4", "--json"), 3, "film.mp4")


def test_one_flipped_byte_is_refused_by_run_and_verify(
    edgekit: Callable[..., Any], demo_bundle: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "rpi4"
    shutil.copytree(demo_bundle, bundle)
    model = bundle / "model.tflite"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    refused(edgekit("run", "--bundle", bundle, "--camera", "demo", "--max-frames", "1"), 1, "model.tflite")
    done = edgekit("verify", bundle)
    assert done.code == 1 and "model.tflite" in done.out + done.err


def test_gate_that_is_missed_leaves_a_report_and_no_bundle(
    edgekit: Callable[..., Any], tmp_path: Path, tiny_checkpoint: Path, pictures: Path
) -> None:
    target = tmp_path / "strict.yaml"
    target.write_text("name: strict\nextends: rpi4\ngate: {max_drop_pp: null, min_agreement: 0, min_sqnr_db: 119}\n")
    done = edgekit(
        "build",
        "--target",
        target,
        "--checkpoint",
        tiny_checkpoint,
        "--calibration",
        pictures,
        "--output",
        tmp_path / "o",
    )
    # What was measured is told all the same: it is what one has to go on.
    assert done.code == 1 and "Traceback" not in done.err and done.out.startswith("Do not ship")
    assert "SQNR" in done.err and "119" in done.err
    assert not (tmp_path / "o" / "strict").exists()
    assert "119" in (tmp_path / "o" / "strict.report.html").read_text()
