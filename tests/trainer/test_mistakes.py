"""What counts as which mistake, and what a run in pictures refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.config import FACTORY_MODEL
from agent.vision.detector import Detection
from agent.vision.geometry import Box
from contract.errors import ContractError
from contract.labels import LABELS, Label
from trainer import pictures
from trainer.dataset import Split
from trainer.look import Face, Seen
from trainer.mistakes import Kind, Mistake, confusion, mistakes, pairs, row_shares
from trainer.palette import COLOURS, SAID_BOX, TRUE_BOX, bgr
from trainer.retrain import curve
from trainer.run import Recipe, Run, Source
from trainer.scores import Matches, Ranking, at_thresholds, average_precision, precision_recall
from trainer.sheet import CAPTION, COLUMNS, GAP, TILE, draw_sheet, tile

WITH, WITHOUT, WRONG = LABELS
THRESHOLDS = {WITH: 0.5, WITHOUT: 0.5, WRONG: 0.3}
HEADER = "epoch,train/box_loss,train/cls_loss,train/dfl_loss,metrics/mAP50(B),metrics/mAP50-95(B),val/box_loss,val/cls_loss,val/dfl_loss\n"


def face(label: Label, x: float, width: float = 0.2) -> Face:
    return Face(label, Box(x, 0.2, x + width, 0.4), width)


def said(label: Label, x: float, confidence: float, width: float = 0.2) -> Detection:
    scores = tuple(confidence if one is label else 0.0 for one in LABELS)
    return Detection(Box(x, 0.2, x + width, 0.4), label, confidence, scores)


def seen(truth: list[Face], found: list[Detection], image: int = 0) -> Seen:
    return Seen(image, 100, 100, tuple(truth), tuple(found))


def counted(truth: list[Face], found: list[Detection], min_box: float = 0.0) -> dict[tuple[int, int], int]:
    counts = confusion(pairs(seen(truth, found), THRESHOLDS, min_box=min_box))
    return {(int(row), int(column)): int(counts[row, column]) for row, column in np.argwhere(counts)}


@pytest.mark.parametrize(
    ("truth", "found", "cells"),
    [
        ([face(WITH, 0.1)], [said(WITH, 0.1, 0.9)], {(0, 0): 1}),
        ([face(WITH, 0.1)], [said(WRONG, 0.1, 0.9)], {(0, 2): 1}),
        ([face(WITHOUT, 0.1)], [], {(1, 3): 1}),
        ([], [said(WITHOUT, 0.1, 0.9)], {(3, 1): 1}),
        ([face(WITH, 0.1)], [said(WITH, 0.1, 0.49)], {(0, 3): 1}),  # below its class's threshold
        ([face(WRONG, 0.1)], [said(WRONG, 0.1, 0.31)], {(2, 2): 1}),  # each class has its own
        ([face(WITH, 0.1)], [said(WITH, 0.1, 0.9), said(WITH, 0.12, 0.8)], {(0, 0): 1, (3, 0): 1}),  # said twice
        ([face(WITH, 0.1)], [said(WITH, 0.25, 0.9)], {(0, 3): 1, (3, 0): 1}),  # boxes share a seventh
        (
            [face(WITH, 0.1), face(WITHOUT, 0.5)],
            [said(WITHOUT, 0.5, 0.9), said(WITH, 0.1, 0.6)],
            {(0, 0): 1, (1, 1): 1},
        ),
    ],
)
def test_each_face_and_each_word_is_counted_once(
    truth: list[Face], found: list[Detection], cells: dict[tuple[int, int], int]
) -> None:
    assert counted(truth, found) == cells


def test_the_surer_detection_chooses_first_and_takes_the_face_that_it_overlaps_most() -> None:
    truth = [face(WITHOUT, 0.10), face(WITH, 0.14)]
    matched = pairs(seen(truth, [said(WITH, 0.11, 0.6), said(WITH, 0.13, 0.9)]), THRESHOLDS)
    assert [(one.truth.label, one.said.confidence) for one in matched if one.truth and one.said] == [
        (WITH, 0.9),
        (WITHOUT, 0.6),
    ]


def test_narrow_faces_and_what_is_said_of_them_count_neither_for_nor_against() -> None:
    narrow = [face(WITH, 0.1, width=0.04)], [said(WITHOUT, 0.1, 0.9, width=0.04)]
    assert counted(*narrow) == {(0, 1): 1}
    assert counted(*narrow, min_box=0.05) == {}
    assert counted([], [said(WITH, 0.6, 0.9, width=0.04)], min_box=0.05) == {}
    # A detection that is wide enough itself, of a face that is a little too narrow to count.
    assert counted([face(WITH, 0.1, width=0.048)], [said(WITH, 0.1, 0.9, width=0.052)], min_box=0.05) == {}


def test_the_width_that_min_box_speaks_of_is_a_share_of_the_longer_side() -> None:
    upright = Seen(0, 50, 100, (), (said(WITH, 0.1, 0.9, width=0.08),))  # 4 px of 100
    assert pairs(upright, THRESHOLDS, min_box=0.05) == []
    assert len(pairs(upright, THRESHOLDS, min_box=0.03)) == 1


def test_shares_are_of_a_row_and_an_empty_row_has_none() -> None:
    shares = row_shares(np.array([[3, 1, 0, 0], [0, 0, 0, 0], [0, 0, 2, 2], [1, 1, 2, 0]], np.int64))
    assert shares[0].tolist() == [0.75, 0.25, 0, 0]
    assert shares.sum(axis=1).tolist() == [1, 0, 1, 1]


def test_the_worst_mistakes_come_first_whatever_their_kind() -> None:
    looks = [
        seen([], [said(WITH, 0.1, 0.7)], image=0),
        seen([face(WITH, 0.1, width=0.1)], [], image=1),
        seen([face(WITH, 0.1)], [said(WITHOUT, 0.1, 0.95), said(WITH, 0.6, 0.6)], image=2),
        seen([face(WITH, 0.1)], [said(WITH, 0.1, 0.9)], image=3),
        seen([face(WITH, 0.1, width=0.4)], [], image=4),
    ]
    assert [(one.image, one.kind) for one in mistakes(looks, THRESHOLDS)] == [
        (4, Kind.MISSED),
        (2, Kind.WRONG_LABEL),
        (0, Kind.FALSE_ALARM),
        (2, Kind.FALSE_ALARM),
        (1, Kind.MISSED),
    ]


def test_an_alarm_beside_a_missed_face_is_one_mistake_and_not_two() -> None:
    (one,) = mistakes([seen([face(WITH, 0.1)], [said(WITH, 0.2, 0.9)])], THRESHOLDS)
    assert one.kind is Kind.LOOSE_BOX
    assert one.gravity == pytest.approx(0.9 * (1 - 1 / 3))
    apart = mistakes([seen([face(WITH, 0.1)], [said(WITH, 0.6, 0.9)])], THRESHOLDS)
    assert {one.kind for one in apart} == {Kind.FALSE_ALARM, Kind.MISSED}


def test_a_missed_face_tells_what_was_thought_too_faintly_to_say() -> None:
    (one,) = mistakes([seen([face(WITH, 0.1)], [said(WITH, 0.1, 0.4), said(WITH, 0.12, 0.2)])], THRESHOLDS)
    assert one.said is not None
    assert one.said.confidence == 0.4
    (silent,) = mistakes([seen([face(WITH, 0.1)], [said(WITH, 0.1, 0.01)])], THRESHOLDS)
    assert silent.said is None


def test_a_higher_threshold_trades_recall_for_precision() -> None:
    ranking = Ranking(np.array([0.9, 0.8, 0.6, 0.4]), np.array([True, True, False, True]), 4)
    operation = at_thresholds(ranking, [0.0, 0.5, 0.6, 0.61, 0.95])
    assert operation.said.tolist() == [4, 3, 3, 2, 0]
    assert operation.precision.tolist() == pytest.approx([3 / 4, 2 / 3, 2 / 3, 1, 0])
    assert operation.recall.tolist() == pytest.approx([3 / 4, 2 / 4, 2 / 4, 2 / 4, 0])
    assert operation.f1.tolist() == pytest.approx([3 / 4, 4 / 7, 4 / 7, 4 / 6, 0])


def test_the_area_under_the_drawn_curve_is_the_average_precision() -> None:
    random = np.random.default_rng(5)
    hit = np.tile(random.random(400) < np.linspace(0.95, 0.1, 400), (10, 1))
    matches = Matches(np.arange(400), hit, np.ones_like(hit), np.full(400, 1))
    recall, precision = precision_recall(matches)
    ap = average_precision(matches, np.ones(400))
    assert ap is not None
    assert np.sum(np.diff(recall, prepend=0) * precision) == pytest.approx(float(ap[0]), abs=0.01)
    assert (np.diff(precision) <= 0).all()


def test_a_tile_shows_the_true_and_the_said_box_in_their_colours() -> None:
    grey = np.full((400, 600, 3), 128, np.uint8)
    one = Mistake(0, Kind.WRONG_LABEL, face(WITH, 0.30), said(WITHOUT, 0.32, 0.9), 0.9)
    picture = tile(grey, one)
    assert picture.shape == (TILE, TILE, 3)
    for colour in (TRUE_BOX, SAID_BOX):
        assert (picture == bgr(colour)).all(axis=2).sum() > 200


def test_a_face_larger_than_the_image_allows_context_for_is_still_shown_whole() -> None:
    small = np.full((40, 90, 3), 128, np.uint8)
    whole = Face(WITH, Box(0.0, 0.0, 1.0, 1.0), 1.0)
    picture = tile(small, Mistake(0, Kind.MISSED, whole, None, 1.0))
    assert (picture == bgr(TRUE_BOX)).all(axis=2).sum() > 500


@pytest.mark.parametrize(("number", "rows"), [(0, 1), (1, 1), (COLUMNS + 1, 2), (100, 6)])
def test_the_sheet_grows_by_rows_and_ends_at_thirty_six(number: int, rows: int) -> None:
    one = Mistake(0, Kind.FALSE_ALARM, None, said(WITH, 0.4, 0.9), 0.9)
    sheet = draw_sheet([one] * number, lambda _: np.full((200, 200, 3), 90, np.uint8), "title", "subtitle")
    single = draw_sheet([], lambda _: np.empty((0, 0, 3), np.uint8), "title", "subtitle")
    assert sheet.shape == (single.shape[0] + (rows - 1) * (TILE + CAPTION + GAP), single.shape[1], 3)
    grey = int((sheet == 90).all(axis=2).sum())
    assert grey == pytest.approx(min(number, 36) * TILE * TILE, rel=0.1)


def test_classes_have_the_colours_of_the_pages() -> None:
    style = (Path(__file__).resolve().parents[2] / "cloud" / "web" / "static" / "page.css").read_text()
    by_day = dict(re.findall(r"--(with|without|wrong): (#\w+);", style.split("@media")[0]))
    assert {WITH: by_day["with"], WITHOUT: by_day["without"], WRONG: by_day["wrong"]} == COLOURS


def make_run(folder: Path, rows: str = "1,3,2,1,.5,.25,3,2,1\n", header: str = HEADER) -> Run:
    run = Run(folder, (Source(folder / "data.yaml", "val", "val"),), Recipe(folder / "base.npz", 2, 96, 8, 0))
    run.save()
    if rows:
        (folder / "fit").mkdir()
        (folder / "fit" / "results.csv").write_text(header + rows)
    return run


def make_split(folder: Path, labels: str | None, picture: bytes | None = None) -> Split:
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    image = folder / "images" / "a.jpg"
    image.write_bytes(picture or cv2.imencode(".jpg", np.full((64, 96, 3), 120, np.uint8))[1].tobytes())
    if labels is not None:
        (folder / "labels" / "a.txt").write_text(labels)
    (folder / "val.txt").write_text("./images/a.jpg\n")
    (folder / "data.yaml").write_text(f"path: .\nval: val.txt\nnames: {[str(label) for label in LABELS]}\n")
    return Split("val", (image,))


def test_a_line_that_is_still_being_written_is_no_epoch(tmp_path: Path) -> None:
    run = make_run(tmp_path, "1,3,2,1,.5,.25,3,2,1\n2,3,2")
    assert [row["metrics/mAP50(B)"] for row in run.epochs()] == [0.5]
    assert [(point.epoch, point.loss, point.map50) for point in curve(run)] == [(1, 6.0, 0.5)]


def test_an_epoch_that_was_cut_off_before_its_checkpoint_counts_once(tmp_path: Path) -> None:
    run = make_run(tmp_path, "1,3,2,1,.5,.25,3,2,1\n2,3,2,1,.5,.25,3,2,1\n2,1,1,1,.75,.5,3,2,1\n")
    assert [(point.epoch, point.loss, point.map50) for point in curve(run)] == [(1, 6.0, 0.5), (2, 3.0, 0.75)]


@pytest.mark.parametrize(
    ("rows", "header", "labels", "picture", "fault"),
    [
        ("", HEADER, "0 .5 .5 .3 .3\n", None, "has no finished epoch in fit/results.csv"),
        ("one,two\n", "epoch,time\n", "0 .5 .5 .3 .3\n", None, "is not a table of numbers"),
        ("1,2\n", "epoch,time\n", "0 .5 .5 .3 .3\n", None, "lacks the columns metrics/mAP50"),
        ("1,3,2,1,.5,.25,3,2,1\n", HEADER, None, None, "no image of split 'val' has a labelled face"),
        ("1,3,2,1,.5,.25,3,2,1\n", HEADER, "0 .5 .5 .03 .03\n", None, "no image of split 'val' has a labelled face"),
        ("1,3,2,1,.5,.25,3,2,1\n", HEADER, "0 .5 .5 .3 .3\n", b"no picture", "cannot read the image"),
    ],
)
def test_what_cannot_be_drawn_is_said_and_nothing_is_left_behind(
    tmp_path: Path, rows: str, header: str, labels: str | None, picture: bytes | None, fault: str
) -> None:
    run = make_run(tmp_path / "run", rows, header)
    split = make_split(tmp_path, labels, picture)
    with pytest.raises(ContractError, match=re.escape(fault)):
        pictures.draw_pictures(run, FACTORY_MODEL, split)
    assert not (run.folder / pictures.FOLDER).exists()


def test_a_model_without_manifest_is_refused_in_one_line(tmp_path: Path) -> None:
    make_run(tmp_path)
    make_split(tmp_path, "0 .5 .5 .3 .3\n")
    (tmp_path / "model.tflite").write_bytes(FACTORY_MODEL.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "pictures", tmp_path],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("trainer: ")]
    assert "has no manifest.json beside it" in told


def test_photographs_stay_in_the_run_folder_and_out_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    run = make_run(tmp_path / "run")
    split = make_split(tmp_path, "0 .5 .5 .3 .3\n")
    before = {path for path in tmp_path.rglob("*") if ".git" not in path.parts}
    monkeypatch.setenv("MASKFLEET_CACHE", str(tmp_path / "none"))
    with pytest.raises(ContractError, match="trainer environments"):  # what needs matplotlib comes last
        pictures.draw_pictures(run, FACTORY_MODEL, split)
    written = {path for path in tmp_path.rglob("*") if ".git" not in path.parts} - before
    folder = run.folder / pictures.FOLDER
    assert written == {
        folder,
        *(folder / name for name in (".gitignore", "curves.json", "scores.json", "mistakes.jpg")),
    }
    listed = subprocess.run(
        ["git", "-C", tmp_path, "status", "--porcelain", "--untracked-files=all"], capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
    assert "fit/results.csv" in listed
    assert pictures.FOLDER not in listed
    scores = json.loads((folder / "scores.json").read_text())
    assert sum(scores["confusion"]["counts"][0]) == 1
    assert scores["images"] == 1
