"""Labels files, good and bad."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import LabelsError
from edgekit.labels import Label, format_labels, numbered_labels, parse_labels, read_labels


def test_names_and_wordnet_ids(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeffn01440764 tench, Tinca tinca\r\ncat\r\nn02102040\r\nna\u00efve fish \r\n\r\n".encode())
    assert read_labels(file, classes=4) == (
        Label("n01440764", "tench, Tinca tinca"),
        Label(None, "cat"),
        Label("n02102040", "n02102040"),
        Label(None, "na\u00efve fish"),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no labels"),
        (b"\n\n", "holds no labels"),
        (b"a\n\nb\n", ":2: an empty line"),
        (b"a\nb\xff\n", ":2: is not UTF-8"),
        (b"a\nb\0c\n", ":2: is not text"),
        (b"a\nb\nc\n", "holds 3 labels, and the model has 2 classes"),
    ],
)
def test_bad_files_are_refused_with_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(LabelsError, match=message):
        read_labels(tmp_path / "labels.txt", classes=2)


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="no such labels file"):
        read_labels(tmp_path / "absent.txt")
    with pytest.raises(LabelsError, match="cannot be read"):
        read_labels(tmp_path)


@pytest.mark.realdata
def test_real_imagenet_labels(shared_data: Path) -> None:
    (file,) = (shared_data).rglob("imagenet1k_synsets.txt")
    labels = read_labels(file, classes=1000)
    assert labels[0].id == "n01440764"
    assert labels[0].name.startswith("tench")
    assert len({label.id for label in labels}) == 1000


@given(st.lists(st.text(st.characters(categories=("L", "N", "P")), min_size=1), min_size=1))
def test_what_is_written_reads_back(names: list[str]) -> None:
    labels = tuple(parse_labels("\n".join(names)))
    assert parse_labels(format_labels(labels)) == labels


def test_numbered_labels() -> None:
    assert [str(label) for label in numbered_labels(2)] == ["class 0", "class 1"]
