"""The arithmetic of `trainer evaluate`, on cases whose answer is known."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.config import FACTORY_MODEL
from contract.errors import ContractError
from contract.labels import LABELS, Label
from rehearsal.scene import write_dataset
from trainer import evaluate as module
from trainer.dataset import read_split
from trainer.evaluate import _surest, evaluate
from trainer.scores import Ranking

THRESHOLDS = dict.fromkeys(LABELS, 0.5)


def truth(image: int, kind: int, x: float, width: float = 20.0) -> dict[str, Any]:
    return {"image_id": image, "category_id": kind, "bbox": [x, 10.0, width, 20.0], "share": width / 100}


def found(image: int, kind: int, x: float, score: float, width: float = 20.0, said: bool = True) -> dict[str, Any]:
    return truth(image, kind, x, width) | {"score": score, "said": said}


def score(truths: list[dict[str, Any]], founds: list[dict[str, Any]], min_box: float = 0.0) -> module.Report:
    return module._score(truths, founds, 4, min_box, THRESHOLDS)


def test_finding_everything_exactly_is_worth_one() -> None:
    report = score([truth(0, 0, 10), truth(1, 1, 40)], [found(0, 0, 10, 0.9), found(1, 1, 40, 0.8)])
    assert report.map50 == pytest.approx(1.0)
    assert report.map50_95 == pytest.approx(1.0)
    assert set(report.per_class) == {Label.WITH_MASK, Label.WITHOUT_MASK}  # no truth, no score


def test_the_wrong_label_is_a_miss_and_a_false_alarm() -> None:
    report = score([truth(0, 0, 10), truth(1, 1, 40)], [found(0, 1, 10, 0.9), found(1, 1, 40, 0.8)])
    assert report.per_class[Label.WITH_MASK].recall == 0
    assert report.per_class[Label.WITHOUT_MASK].recall == 1
    assert report.per_class[Label.WITHOUT_MASK].precision == 0.5
    assert report.per_class[Label.WITHOUT_MASK].ap50 == pytest.approx(0.5, abs=0.01)


def test_recall_and_precision_are_taken_at_the_operating_threshold() -> None:
    truths = [truth(image, 0, 10) for image in range(4)]
    founds = [found(0, 0, 10, 0.9), found(1, 0, 10, 0.6), found(2, 0, 10, 0.4), found(3, 0, 70, 0.7)]
    one = score(truths, founds).per_class[Label.WITH_MASK]
    assert one.recall == pytest.approx(2 / 4)
    assert one.precision == pytest.approx(2 / 3)


def test_every_score_of_a_face_is_ranked_but_only_what_is_said_is_decided() -> None:
    truths = [truth(image, 0, 10) for image in range(2)]
    founds = [found(0, 0, 10, 0.9), found(1, 1, 10, 0.8), found(1, 0, 10, 0.6, said=False)]
    one = score(truths, founds).per_class[Label.WITH_MASK]
    assert one.ap50 == pytest.approx(1.0)
    assert one.recall == 1 / 2


def test_a_box_that_is_off_counts_at_half_overlap_but_not_at_nine_tenths() -> None:
    one = score([truth(0, 0, 10)], [found(0, 0, 13, 0.9)]).per_class[Label.WITH_MASK]  # IoU 17/23 = .74
    assert one.ap50 == pytest.approx(1.0)
    assert one.ap50_95 == pytest.approx(0.5)  # right at .50 .55 .60 .65 .70


def test_narrow_boxes_count_neither_for_nor_against() -> None:
    truths = [truth(0, 0, 10), truth(1, 0, 10, width=4)]
    founds = [found(0, 0, 10, 0.9), found(2, 0, 50, 0.95, width=3)]
    assert score(truths, founds, min_box=0.05).per_class[Label.WITH_MASK].ap50 == pytest.approx(1.0)
    assert score(truths, founds).per_class[Label.WITH_MASK].ap50 < 0.6


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_dataset(folder, images=40, seed=88_000)
    return folder / "data.yaml"


def test_the_factory_model_scores_well_on_drawn_doors_it_never_saw(scenes: Path) -> None:
    report = evaluate(FACTORY_MODEL, read_split(scenes, "val"))
    assert report.images == 40
    assert report.map50 > 0.8
    assert report.per_class[Label.WITH_MASK].recall > 0.85


def trainer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def test_the_command_prints_the_agreed_shape(scenes: Path) -> None:
    done = trainer("evaluate", FACTORY_MODEL, "--data", scenes, "--split", "all", "--min-box", "0.05", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(report) == {"map50", "map50_95", "per_class", "images"}
    assert set(report["per_class"]) == {str(label) for label in LABELS}
    assert {"ap50", "recall", "precision"} <= set(report["per_class"]["with_mask"])
    assert report["images"] == 40


@pytest.mark.photographs
def test_the_card_says_what_the_file_scores_on_real_photographs(photographs: Path) -> None:
    manifest = json.loads(FACTORY_MODEL.with_name("manifest.json").read_text())
    report = evaluate(FACTORY_MODEL, read_split(photographs / "masks" / "data.yaml", "train_val"))
    assert report.as_json()["map50"] == pytest.approx(manifest["metrics"]["train_val"]["map50"], abs=0.005)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["evaluate", "{model}", "--data", "{folder}/none.yaml", "--split", "val"], "cannot read the data set"),
        (["evaluate", "{model}", "--data", "{data}", "--split", "nope"], "no images for split 'nope'"),
        (["evaluate", "{folder}/none.tflite", "--data", "{data}", "--split", "val"], "cannot read the model"),
        (["evaluate", "{model}", "--data", "{data}", "--split", "val", "--min-box", "3"], "--min-box is a share"),
        (["evaluate", "{model}", "--data", "{folder}/two.yaml", "--split", "val"], "names the classes"),
        (
            ["evaluate", "{model}", "--data", "{folder}/gone.yaml", "--split", "val"],
            "lists 1 images that are not there",
        ),
        (["train", "--out", "{folder}/run"], "train needs --data"),
        (["train", "--out", "{folder}/run", "--data", "{data}", "--base", "{folder}/none.npz"], "no base weights"),
        (["train", "--out", "{folder}/run", "--resume"], "is not a run folder"),
        (["export", "{folder}", "--release", "2", "--out", "{folder}/out"], "is not a run folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, scenes: Path, arguments: list[str], fault: str) -> None:
    (tmp_path / "two.yaml").write_text("path: .\nval: all.txt\nnames: [mask, no_mask]\n")
    (tmp_path / "gone.yaml").write_text(f"path: .\nval: all.txt\nnames: {[str(label) for label in LABELS]}\n")
    (tmp_path / "all.txt").write_text("./images/gone.jpg\n")
    places = {"{model}": str(FACTORY_MODEL), "{data}": str(scenes), "{folder}": str(tmp_path)}
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    done = trainer(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("trainer: ")]
    assert fault in said


def test_a_label_row_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.jpg"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .1 .1\n9 .5 .5 .1 .1\n")
    (tmp_path / "val.txt").write_text("./images/a.jpg\n")
    (tmp_path / "data.yaml").write_text(f"path: .\nval: val.txt\nnames: {[str(label) for label in LABELS]}\n")
    with pytest.raises(ContractError, match=r"a\.txt, line 2: expected `class x y w h`"):
        evaluate(FACTORY_MODEL, read_split(tmp_path / "data.yaml", "val"))


def test_a_threshold_is_the_surest_that_costs_under_a_point_of_f1() -> None:
    flat = Ranking(np.array([0.9, 0.55, 0.5, 0.35]), np.array([True, True, False, False]), positives=2)
    assert _surest(flat) == 0.55
    hits = np.ones(400, bool)
    hits[-1] = False
    assert _surest(Ranking(np.linspace(0.8, 0.31, 400), hits, positives=399)) == pytest.approx(0.32, abs=0.005)
    assert _surest(Ranking(np.linspace(0.99, 0.7, 5), np.ones(5, bool), positives=5)) == 0.6
    assert _surest(Ranking(np.array([0.2]), np.array([True]), positives=1)) == 0.3
    assert _surest(Ranking(np.array([0.9]), np.array([False]), positives=1)) == 0.35
