"""What is wrong with a data set is found before anything is trained on it, and said with file and line."""

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from contract.eyes import FILL
from contract.labels import LABELS
from tests.trainer.test_evaluate import trainer
from trainer.augment import fill_band, paint_narrow
from trainer.complete import groups_beside
from trainer.dataset import read_split, survey
from trainer.judge import Exhibit


def write_set(folder: Path, rows: Mapping[str, str | None], names: list[str] | None = None) -> Path:
    """A data set of small grey images; None as rows is a file that is no image."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for name, labels in rows.items():
        image = folder / "images" / f"{name}.png"
        if labels is None:
            image.write_bytes(b"\x89PNG not really")
        else:
            cv2.imwrite(str(image), np.full((64, 64, 3), 90, np.uint8))
            (folder / "labels" / f"{name}.txt").write_text(labels)
    (folder / "all.txt").write_text("".join(f"./images/{name}.png\n" for name in rows))
    listed = names or [str(label) for label in LABELS]
    data = folder / "data.yaml"
    data.write_text(f"path: .\ntrain: all.txt\nval: all.txt\nnames: {listed}\n")
    return data


GOOD = {"a": "0 .5 .5 .2 .2\n1 .2 .2 .1 .1\n", "b": "2 .5 .5 .2 .2\n", "c": ""}


def test_a_survey_counts_faces_and_names_the_bytes(tmp_path: Path) -> None:
    data = write_set(tmp_path / "one", GOOD)
    found = survey(read_split(data, "train"))
    assert (found["images"], found["without_a_face"]) == (3, 1)
    assert found["faces"] == {"with_mask": 1, "without_mask": 1, "mask_worn_incorrectly": 1}
    assert survey(read_split(data, "train")) == found
    (tmp_path / "one" / "labels" / "b.txt").write_text("1 .5 .5 .2 .2\n")
    assert survey(read_split(data, "train"))["sha256"] != found["sha256"]


def test_the_command_writes_what_it_found(tmp_path: Path) -> None:
    data = write_set(tmp_path / "one", GOOD)
    done = trainer("dataset", "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "run" / "data.json").read_text())
    assert [(one["split"], one["images"]) for one in told] == [("train", 3), ("val", 3)]


@pytest.mark.parametrize(
    ("rows", "names", "fault"),
    [
        ({"a": "3 .5 .5 .2 .2\n"}, None, "a.txt, line 1: expected `class x y w h` (class 3)"),
        ({"a": "0.5 .5 .5 .2 .2\n"}, None, "(class 0.5)"),
        ({"a": "0 .5 .5 .2 .2\n0 .5 1.5 .2 .2\n"}, None, "a.txt, line 2: expected `class x y w h` (a centre or a size"),
        ({"a": "0 .5 .5 .2\n"}, None, "not enough values"),
        ({"a": "0 .5 .5 nan .2\n"}, None, "a centre or a size outside the unit square"),
        ({"a": GOOD["a"], "b": None}, None, "b.png: take it off the list"),
        ({"a": ""}, None, "1 images and no labelled face"),
        ({}, None, "has no images for split"),
        (GOOD, ["mask", "none", "bad"], "names the classes"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, rows: dict[str, str | None], names: list[str] | None, fault: str
) -> None:
    data = write_set(tmp_path / "set", rows, names)
    done = trainer("dataset", "--data", data, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert fault in done.stderr
    assert not (tmp_path / "run" / "data.json").exists()


def test_a_folder_is_one_run_and_no_other(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set", GOOD)
    options = ("--data", data, "--out", tmp_path / "run", "--release", "2")
    assert trainer("dataset", "--data", data, "--epochs", "7", "--out", tmp_path / "run").returncode == 0
    done = trainer("run", *options, "--epochs", "8")
    assert done.returncode == 2
    assert "holds another run" in done.stderr


def test_images_of_one_scene_are_one_group(tmp_path: Path) -> None:
    data = write_set(tmp_path, GOOD)
    (tmp_path / "sources.csv").write_text("file,dup_group\nimages/a.png,g1\nimages/b.png,g2\nimages/c.png,g1\n")
    first, second, third = Exhibit.of("all", read_split(data, "val"), groups_beside(data)).groups
    assert first == third != second


def test_the_eyes_of_a_face_are_filled_and_nothing_else() -> None:
    pixels = np.full((100, 100, 3), 200, np.uint8)
    fill_band(pixels, np.array([0.5, 0.5, 0.4, 0.4]))
    filled = (pixels == FILL).all(axis=2)
    assert filled[33:50, 26:74].all()
    assert not filled[:31].any()
    assert not filled[53:].any()
    assert not filled[:, :23].any()


def test_faces_too_narrow_to_learn_from_are_painted_over_and_leave_the_list() -> None:
    pixels = np.full((100, 100, 3), 200, np.uint8)
    boxes = np.array([[10, 10, 19.9, 40], [50, 50, 60, 62], [-3, 90, 4, 104]], float)
    assert paint_narrow(pixels, boxes, 10).tolist() == [False, True, False]
    painted = (pixels == FILL).all(axis=2)
    assert painted[10:40, 10:20].all()
    assert painted[90:, :4].all()
    assert painted.sum() == 30 * 10 + 10 * 4
    assert paint_narrow(pixels, np.empty((0, 4)), 10).shape == (0,)
