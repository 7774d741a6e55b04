"""Which class a folder means, and what is said when that cannot be told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgekit.errors import CalibrationError
from edgekit.evaluate.pictures import evenly, labelled, picture_files
from edgekit.labels import Label, numbered_labels, parse_labels

SYNSETS = parse_labels(
    "n01440764 tench, Tinca tinca\nn01443537 goldfish\nn02012849 crane\nn03126707 crane\nn01484850 great white shark"
)


def folder(root: Path, *names: str, pictures: int = 2) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(pictures):
            cv2.imwrite(str(root / name / f"{i}.png"), np.full((4, 4, 3), 7, np.uint8))
    return root


@pytest.mark.parametrize("name", ["n01440764", "tench", "Tench", "tinca_tinca", "n01440764 tench, Tinca tinca", "0"])
def test_every_spelling_of_a_class(tmp_path: Path, name: str) -> None:
    found = labelled(folder(tmp_path, name), SYNSETS)
    assert found.classes == {name: 0}
    assert [picture.label for picture in found.pictures] == [0, 0]


def test_fewer_folders_than_classes_and_other_files_beside_them(tmp_path: Path) -> None:
    folder(tmp_path, "n01484850", "n01443537", ".thumbnails")
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "n01443537" / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    found = labelled(tmp_path, SYNSETS)
    assert [(p.path.parent.name, p.label) for p in found.pictures] == [("n01443537", 1)] * 2 + [("n01484850", 4)] * 2


def test_a_name_of_two_classes_is_refused_naming_both(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"'crane' is class 2 or 3") as caught:
        labelled(folder(tmp_path, "crane", "tench"), SYNSETS)
    assert "WordNet id" in str(caught.value.hint)


def test_digits_as_labels_win_over_indices_where_all_folders_are_labels(tmp_path: Path) -> None:
    labels = [Label(None, str(digit)) for digit in (1, 2, 3)]
    assert labelled(folder(tmp_path, "1", "2", "3"), labels).classes == {"1": 0, "2": 1, "3": 2}


def test_digits_that_may_be_labels_or_indices_are_refused(tmp_path: Path) -> None:
    labels = [Label(None, str(digit)) for digit in (1, 2, 3)]
    with pytest.raises(CalibrationError, match="'1' is class 0 or 1"):
        labelled(folder(tmp_path, "0", "1"), labels)


def test_placeholder_labels_take_the_sorted_order_of_as_many_folders(tmp_path: Path) -> None:
    found = labelled(folder(tmp_path, "n03", "n01", "n02"), numbered_labels(3))
    assert found.classes == {"n01": 0, "n02": 1, "n03": 2}
    assert found.note is not None and "sorted" in found.note


def test_real_labels_never_take_the_sorted_order(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="'chat', 'chien'"):
        labelled(folder(tmp_path, "chat", "chien"), [Label(None, "cat"), Label(None, "dog")])


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (("goldfisch",), "perhaps 'goldfisch' is 'n01443537 goldfish' (class 1)"),
        (("train", "val"), "parts of a data set"),
        (("zebra",), "index (0-4) or WordNet id"),
        (("5",), "index (0-4)"),
    ],
)
def test_unknown_folders_say_what_to_try(tmp_path: Path, names: tuple[str, ...], hint: str) -> None:
    with pytest.raises(CalibrationError, match="name no class") as caught:
        labelled(folder(tmp_path, *names), SYNSETS)
    assert hint in str(caught.value.hint)


def test_wordnet_folders_against_labels_without_ids(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError) as caught:
        labelled(folder(tmp_path, "n01440764"), [Label(None, "cat"), Label(None, "dog")])
    assert "--labels" in str(caught.value.hint)


def test_a_long_list_of_unknown_folders_is_cut(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="and 2 more"):
        labelled(folder(tmp_path, *(f"zz{i}" for i in range(7)), pictures=1), SYNSETS)


def test_missing_empty_and_flat_folders(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no such folder"):
        labelled(tmp_path / "absent", SYNSETS)
    with pytest.raises(CalibrationError, match="no pictures"):
        labelled(tmp_path, SYNSETS)
    cv2.imwrite(str(tmp_path / "flat.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(CalibrationError, match="no class folders"):
        labelled(tmp_path, SYNSETS)


def test_a_limit_keeps_every_class(tmp_path: Path) -> None:
    found = labelled(folder(tmp_path, "n01440764", "n01443537", "n01484850", pictures=10), SYNSETS)
    chosen = evenly(found.pictures, 9)
    assert sorted(p.label for p in chosen) == [0, 0, 0, 1, 1, 1, 4, 4, 4]
    assert evenly(found.pictures, None) == evenly(found.pictures, 99) == found.pictures
    with pytest.raises(CalibrationError):
        evenly(found.pictures, 0)


def test_pictures_are_found_below_and_in_order(tmp_path: Path) -> None:
    folder(tmp_path, "b", "a/deep")
    assert [p.relative_to(tmp_path).as_posix() for p in picture_files(tmp_path)] == [
        "a/deep/0.png",
        "a/deep/1.png",
        "b/0.png",
        "b/1.png",
    ]
