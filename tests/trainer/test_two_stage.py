"""The two-stage baseline without its heavy parts: where crops lie, how the pair answers, how its faults are counted."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from agent.vision.detector import Detection
from agent.vision.geometry import Box
from agent.vision.yolo import Pixels
from contract.errors import ContractError
from contract.labels import LABELS, Label
from rehearsal.scene import write_dataset
from trainer.__main__ import main
from trainer.baseline import Recipe, prepare
from trainer.comparison import BEGIN, END, PAGE, write_document
from trainer.crops import belongs, measure_fit, write_crops
from trainer.dataset import Split, read_split
from trainer.evaluate import score
from trainer.look import Face, Seen, faces_in
from trainer.run import Source
from trainer.side_by_side import Faults, count_faults
from trainer.stopwatch import PATCH, Material, slope
from trainer.two_stage import (
    CLASSIFIER,
    DESCRIPTION,
    Cascade,
    Classifier,
    Corners,
    Fit,
    Pair,
    crop_square,
    cut,
    label_faces,
    read_description,
)  # fmt: skip

SIZE = 8
BLUE, GREEN, RED, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (127, 127, 127)
ALL = dict.fromkeys(LABELS, 0.001)


class ColourReader:
    """A network that behaves: red is masked, green is bare, blue is badly worn, and anything grey is no face."""

    def __init__(self, scale: tuple[float, int] = (1 / 255, -128), classes: int = 4) -> None:
        self.scale, self.classes = scale, classes
        self._seen: npt.NDArray[np.int8] = np.zeros((1, SIZE, SIZE, 3), np.int8)

    def allocate_tensors(self) -> None: ...

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"index": 0, "dtype": np.int8, "shape": np.array([1, SIZE, SIZE, 3]), "quantization": self.scale}]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [{"index": 1, "dtype": np.int8, "shape": np.array([1, self.classes]), "quantization": (0.1, 0)}]

    def set_tensor(self, tensor_index: int, value: npt.NDArray[Any]) -> None:
        assert tensor_index == 0
        assert value.shape == (1, SIZE, SIZE, 3)
        assert value.dtype == np.int8
        self._seen = value

    def invoke(self) -> None: ...

    def get_tensor(self, tensor_id: int) -> npt.NDArray[Any]:
        assert tensor_id == 1
        means = self._seen.astype(int)[0, 2:-2, 2:-2].mean((0, 1)) + 128
        flat = 255 - (means.max() - means.min())
        return np.array([[*(means * 0.2), flat * 0.2]]).astype(np.int8)


class Told:
    """A face detector that finds what it was told."""

    def __init__(self, *squares: Corners) -> None:
        self.squares = list(squares)

    def find(self, pixels: Pixels) -> list[Corners]:
        return self.squares


def canvas(*patches: tuple[Corners, tuple[int, int, int]]) -> Pixels:
    pixels = np.full((100, 200, 3), GREY, np.uint8)
    for (x, y, wide, high), colour in patches:
        cv2.rectangle(pixels, (int(x), int(y)), (int(x + wide) - 1, int(y + high) - 1), colour, -1)
    return pixels


def classifier(fit: Fit | None = None) -> Classifier:
    return Classifier(ColourReader(), fit or Fit())


def test_a_face_lies_where_it_mostly_lay_in_the_detectors_squares() -> None:
    squares: list[Corners] = [(10.0 * n, 5.0, 40.0, 40.0) for n in range(12)]
    faces: list[Corners] = [(x + 4, y + 10, 32.0, 36.0) for x, y, _, _ in squares]
    fit = measure_fit(list(zip(squares, faces, strict=True)))
    assert (fit.width, fit.height, fit.shift, fit.stretch) == (0.8, 0.9, 0.0, 0.0)
    assert fit.face(squares[3]) == pytest.approx(faces[3])


def test_the_fit_tells_how_much_the_detector_errs() -> None:
    random = np.random.default_rng(3)
    squares: list[Corners] = [(x, x, 100.0, 100.0) for x in random.uniform(0, 300, 400).tolist()]
    faces: list[Corners] = [(x + random.normal(10, 5), y + random.normal(10, 5), 80.0, 80.0) for x, y, _, _ in squares]
    assert measure_fit(list(zip(squares, faces, strict=True))).shift == pytest.approx(0.05, abs=0.008)


def test_under_ten_pairs_nothing_is_concluded() -> None:
    assert measure_fit([((0.0, 0.0, 10.0, 10.0), (5.0, 5.0, 2.0, 2.0))] * 9) == Fit()


def test_a_crop_is_a_square_around_the_middle_of_the_face() -> None:
    assert crop_square((10, 20, 30, 50), margin=1.2) == (-5, 15, 60, 60)
    assert crop_square((10, 20, 50, 30), margin=1.0) == (10, 10, 50, 50)


def test_a_crop_is_rgb_and_repeats_the_edge_outside_the_frame() -> None:
    crop = cut(canvas(((0, 0, 20, 20), RED)), (-10, -10, 30, 30), 30)
    assert crop.shape == (30, 30, 3)
    assert crop[0, 0].tolist() == crop[15, 15].tolist() == [255, 0, 0]
    assert cut(canvas(), (500, 500, 10, 10), 4).tolist() == np.full((4, 4, 3), 127).tolist()


def test_the_pair_says_of_each_face_how_its_mask_is_worn() -> None:
    spots: list[Corners] = [(10, 20, 30, 30), (80, 20, 30, 30), (150, 20, 30, 30)]
    pixels = canvas(*zip(spots, (RED, GREEN, BLUE), strict=True))
    found = Pair(Told(*spots), classifier(), thresholds=ALL).detect(pixels)
    said = {one.label: one.box.centre.x for one in found}
    assert said == pytest.approx({LABELS[0]: 25 / 200, LABELS[1]: 95 / 200, LABELS[2]: 165 / 200})
    assert all(one.confidence == max(one.scores) for one in found)
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)


def test_the_pair_answers_with_the_faces_box_not_with_the_detectors_square() -> None:
    fit = Fit(dx=0.0, dy=0.1, width=0.5, height=0.8)
    (one,) = Pair(Told((20, 20, 40, 40)), classifier(fit), thresholds=ALL).detect(canvas(((0, 0, 100, 100), RED)))
    assert (one.box.x0, one.box.x1) == pytest.approx((30 / 200, 50 / 200))
    assert (one.box.y0, one.box.y1) == pytest.approx((28 / 100, 60 / 100))


def test_what_is_no_face_is_not_answered() -> None:
    pair = Pair(Told((10, 20, 30, 30), (80, 20, 30, 30)), classifier(), thresholds=dict.fromkeys(LABELS, 0.5))
    (one,) = pair.detect(canvas(((10, 20, 30, 30), RED)))
    assert one.label is Label.WITH_MASK


def test_a_face_that_is_known_to_be_one_gets_all_of_the_probability() -> None:
    pixels = canvas(((10, 20, 30, 30), (100, 110, 140)))
    (doubted,) = label_faces(pixels, [(10, 20, 30, 30)], classifier(), ALL)
    (known,) = label_faces(pixels, [(10, 20, 30, 30)], classifier(), ALL, sure=True)
    assert sum(doubted.scores) < 0.5
    assert sum(known.scores) == pytest.approx(1)
    assert known.label is doubted.label is Label.WITH_MASK


@pytest.mark.parametrize(
    ("network", "fault"),
    [(ColourReader(classes=3), "4 classes"), (ColourReader(scale=(2 / 255, 0)), "expected 1/255 from -128")],
)
def test_another_kind_of_classifier_is_refused(network: ColourReader, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        Classifier(network, Fit())


def test_an_unfinished_or_exchanged_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no finished classifier"):
        read_description(tmp_path)
    (tmp_path / CLASSIFIER).write_bytes(b"weights")
    (tmp_path / DESCRIPTION).write_text(json.dumps({"sha256": sha256(b"weights").hexdigest()}))
    assert set(read_description(tmp_path)) == {"sha256"}
    (tmp_path / CLASSIFIER).write_bytes(b"others")
    with pytest.raises(ContractError, match="train it again"):
        read_description(tmp_path)


def test_an_opencv_without_cascades_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "data")
    with pytest.raises(ContractError, match=r"opencv-python-headless<5"):
        Cascade()


def test_the_cascade_finds_nobody_in_an_empty_frame() -> None:
    assert Cascade().find(canvas()) == []


FACES = [
    Face(Label.WITH_MASK, Box(0.1, 0.1, 0.3, 0.5), 0.2),
    Face(Label.WITHOUT_MASK, Box(0.5, 0.1, 0.7, 0.5), 0.2),
    Face(Label.WITHOUT_MASK, Box(0.9, 0.9, 0.92, 0.94), 0.02),
]


def said(box: Box, label: Label, confidence: float = 0.9) -> Detection:
    return Detection(box, label, confidence, tuple(confidence if one is label else 0.0 for one in LABELS))


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [
        ([], Faults(2, 0, 0, 0)),
        ([said(FACES[0].box, Label.WITH_MASK), said(FACES[1].box, Label.WITHOUT_MASK)], Faults(2, 2, 2, 0)),
        ([said(FACES[0].box, Label.WITHOUT_MASK)], Faults(2, 1, 0, 0)),
        ([said(Box(0.4, 0.6, 0.5, 0.8), Label.WITH_MASK)], Faults(2, 0, 0, 1)),
        ([said(FACES[2].box, Label.WITH_MASK)], Faults(2, 0, 0, 0)),  # too small: neither for nor against
        (  # the surer of two boxes has the face, the other is one too many
            [said(FACES[0].box, Label.WITHOUT_MASK, 0.5), said(FACES[0].box, Label.WITH_MASK, 0.8)],
            Faults(2, 1, 1, 1),
        ),
    ],
)
def test_not_finding_and_telling_wrong_are_counted_apart(answers: list[Detection], wanted: Faults) -> None:
    assert count_faults(FACES, answers, min_share=0.05) == wanted


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doors")
    write_dataset(folder, images=24, seed=93_000)
    return folder / "data.yaml"


def test_who_answers_with_the_labels_is_worth_one(scenes: Path) -> None:
    seen = []
    for index, image in enumerate(read_split(scenes, "val").images):
        faces = faces_in(image, 640, 480)
        seen.append(Seen(index, 640, 480, faces, tuple(said(face.box, face.label) for face in faces)))
    report = score(seen, None)
    assert report.map50_95 == pytest.approx(1)
    assert all((one.recall, one.precision) == (1, 1) for one in report.per_class.values())


def test_crops_are_cut_by_label_and_where_nobody_is(scenes: Path, tmp_path: Path) -> None:
    split = read_split(scenes, "train")
    faces = [face for image in split.images for face in faces_in(image, 640, 480) if face.share >= 0.025]
    told = write_crops(split, Told((2.0, 2.0, 30.0, 30.0)).find, tmp_path, size=24, seed=1)
    wanted = [sum(face.label is label for face in faces) for label in LABELS]
    assert list(told["crops"].values())[:3] == wanted
    assert 24 <= told["crops"]["no_face"] <= 48
    crops, kinds = np.load(tmp_path / "crops.npy"), np.load(tmp_path / "kinds.npy")
    assert crops.shape == (sum(told["crops"].values()), 32, 32, 3)
    assert np.bincount(kinds).tolist() == list(told["crops"].values())
    assert json.loads((tmp_path / "crops.json").read_text()) == told


def test_a_split_without_a_face_of_some_class_teaches_nothing(scenes: Path, tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    cv2.imwrite(str(images / "a.png"), canvas())
    (labels / "a.txt").write_text("0 .5 .5 .2 .4\n")
    with pytest.raises(ContractError, match="no face without_mask to learn from"):
        write_crops(Split("few", (images / "a.png",)), Told().find, tmp_path / "crops", size=24, seed=1)
    assert not (tmp_path / "crops").exists()


def test_a_square_is_about_a_face_when_its_middle_and_size_are() -> None:
    face: Corners = (40, 40, 30, 40)
    assert belongs((35, 35, 45, 45), face)
    assert not belongs((90, 40, 40, 40), face)
    assert not belongs((0, 0, 140, 140), face)


def test_a_folder_begun_with_another_recipe_is_refused(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({"split": "train", "recipe": {"epochs": 3}}))
    with pytest.raises(ContractError, match="another recipe"):
        prepare(Source(scenes, "train", "val"), Recipe(), tmp_path)


@pytest.mark.parametrize("faces", [0, 1, 4, 8, 8])
def test_a_frame_shows_as_many_faces_as_it_says(faces: int) -> None:
    patches = [np.full((PATCH, PATCH, 3), colour, np.uint8) for colour in (RED, GREEN, GREY)]
    material = Material(tuple(patches[:2]), (patches[2],), (np.zeros((480, 640, 3), np.uint8),))
    frame = material.frame(faces, np.random.default_rng(faces))
    area = PATCH * PATCH
    assert int((frame.max(axis=2) == 255).sum()) == faces * area
    assert int((frame[..., 0] == 127).sum()) == (8 - faces) * area
    assert abs(int((frame[..., 2] == 255).sum()) - int((frame[..., 1] == 255).sum())) <= area


def test_the_cost_of_one_more_face_is_the_slope() -> None:
    assert slope([{"faces": n, "one_model": 3 + 0.5 * n} for n in (0, 1, 2, 4, 8)], "one_model") == pytest.approx(0.5)


def test_a_page_without_the_marks_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot read the page"):
        write_document(tmp_path / "measured.json", {}, tmp_path)
    (tmp_path / PAGE).write_text(f"{END} turned round {BEGIN}")
    with pytest.raises(ContractError, match="lacks the marks"):
        write_document(tmp_path / "measured.json", {}, tmp_path)
    assert (tmp_path / PAGE).read_text() == f"{END} turned round {BEGIN}"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--data", "{folder}/none.yaml"], "cannot read the data set"),
        (["--data", "{data}:train:nope"], "no images for split 'nope'"),
        (["--data", "{folder}/two.yaml"], "names the classes"),
        (["--data", "{data}", "--image-size", "100"], "multiple of 32"),
        (["--data", "{data}", "--epochs", "0"], "must be above 0"),
        (["--data", "{data}", "--min-box", "1"], "--min-box is a share"),
        (["--data", "{data}"], "the export environment is not installed"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    scenes: Path, tmp_path: Path, arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MASKFLEET_CACHE", str(tmp_path / "no-environments"))
    (tmp_path / "two.yaml").write_text("path: .\nval: all.txt\nnames: [mask, no_mask]\n")
    filled = [one.replace("{data}", str(scenes)).replace("{folder}", str(tmp_path)) for one in arguments]
    assert main(["baseline", "--out", str(tmp_path / "out"), *filled]) == 2
    assert fault in capsys.readouterr().err
    assert not (tmp_path / "out" / "classifier" / DESCRIPTION).exists()
