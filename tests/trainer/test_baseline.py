"""`trainer baseline` with the real libraries on a few drawn doors: trained, converted, measured, written down."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from rehearsal.scene import write_dataset
from trainer.baseline import Recipe, prepare
from trainer.comparison import BEGIN, END, PAGE, PICTURE
from trainer.run import Source
from trainer.two_stage import Classifier

pytestmark = pytest.mark.trainer
DOCS = Path(__file__).resolve().parents[2] / "docs"


def run_baseline(folder: Path) -> str:
    command = [
        sys.executable, "-m", "trainer", "baseline", "--data", folder / "scenes" / "data.yaml", "--out", folder / "out",
        "--image-size", "32", "--alpha", "0.35", "--epochs", "2", "--batch", "16", "--frames", "1", "--document", folder / "docs",
    ]  # fmt: skip
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("baseline")
    write_dataset(folder / "scenes", images=24, seed=94_000)
    (folder / "docs").mkdir()
    shutil.copy(DOCS / PAGE, folder / "docs" / PAGE)
    assert "epoch 2 of 2" in run_baseline(folder)
    return folder


def test_both_ways_are_measured_on_the_same_pictures(finished: Path) -> None:
    measured = json.loads((finished / "out" / "measured.json").read_text())
    ways = measured["accuracy"]
    faces = {one["faults"]["faces"] for one in ways.values()}
    assert len(faces) == 1
    assert ways["labelled_boxes"]["faults"]["found"] == faces.pop() > 20
    assert ways["labelled_boxes"]["map50"] == ways["labelled_boxes"]["map50_95"] > 0  # its boxes are the labels'
    assert ways["one_model"]["map50"] > 0.8  # the factory model knows drawn doors
    assert [one["faces"] for one in measured["time"]] == [0, 1, 2, 4, 8]
    assert all(one["two_models"] > 0 and one["one_model"] > 0 for one in measured["time"])
    assert measured["memory_mib"]["neither"] < min(measured["memory_mib"][way] for way in ("one_model", "two_models"))


def test_the_classifier_is_int8_and_answers_with_probabilities(finished: Path) -> None:
    classifier = Classifier.load(finished / "out" / "classifier")
    assert classifier.size == 32
    crops = np.load(finished / "out" / "crops" / "crops.npy")
    answers = np.array([classifier.look(cv2.resize(crop, (32, 32)).astype(np.uint8)) for crop in crops])
    assert answers.sum(axis=1) == pytest.approx(np.ones(len(crops)), abs=1e-5)
    assert len(np.unique(answers, axis=0)) > len(crops) / 4


def test_the_page_keeps_its_text_and_gets_the_numbers(finished: Path) -> None:
    page, source = (finished / "docs" / PAGE).read_text(), (DOCS / PAGE).read_text()
    assert page[: page.index(BEGIN)] == source[: source.index(BEGIN)]
    assert page[page.index(END) :] == source[source.index(END) :]
    assert "| ms a frame, 8 faces |" in page
    picture = (finished / "docs" / PICTURE).read_text()
    assert "<svg" in picture
    assert "faces in the frame" in picture


def test_a_finished_classifier_is_not_trained_again(finished: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = finished / "out" / "classifier" / "classifier.tflite"
    before = model.stat().st_mtime_ns
    source = Source(finished / "scenes" / "data.yaml", "train", "val")
    recipe = Recipe(size=32, alpha=0.35, epochs=2, batch=16)
    assert prepare(source, recipe, finished / "out") == model.parent
    assert "epoch" not in capfd.readouterr().out
    assert model.stat().st_mtime_ns == before
    assert not (model.parent / "backup").exists()
