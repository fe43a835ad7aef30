"""The drawn pack of hard cases: what is in it, and that its labels say so."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from contract.labels import LABELS
from rehearsal import props
from rehearsal.hard import NARROWEST, WIDEST, Picture, pictures, write_pack
from rehearsal.people import draw_person, face_box, random_look
from rehearsal.scene import HEIGHT, WIDTH
from trainer.dataset import read_rows, read_split
from trainer.hard import POSTERS, Case
from trainer.pack import Pack

RIGHT = {
    Case.HAND: "without_mask", Case.BEARD: "without_mask", Case.SCARF: "without_mask", Case.VISOR: "without_mask",
    Case.CUP: "without_mask", Case.PRINTED_MASK: "with_mask", Case.SKIN_MASK: "with_mask",
    Case.CHIN_MASK: "mask_worn_incorrectly", Case.ONE_EAR: "mask_worn_incorrectly",
}  # fmt: skip
IMAGES = 4 * len(Case)


@pytest.fixture(scope="module")
def drawn() -> list[Picture]:
    return list(pictures(IMAGES, seed=5))


def test_the_same_seed_draws_the_same_pack(drawn: list[Picture]) -> None:
    again, other = (list(pictures(len(Case), seed=seed)) for seed in (5, 6))
    for first, second, third in zip(drawn, again, other, strict=False):
        assert np.array_equal(first.pixels, second.pixels)
        assert first.face == second.face
        assert not np.array_equal(first.pixels, third.pixels)


def test_every_case_is_drawn_as_often_and_labelled_as_what_it_is(drawn: list[Picture]) -> None:
    assert Counter(one.case for one in drawn) == dict.fromkeys(Case, 4)
    for one in drawn:
        if one.case in POSTERS:
            assert one.face is None
        else:
            assert one.face is not None
            assert one.face.label == RIGHT.get(one.case, one.face.label)
    assert len({one.face.label for one in drawn if one.case is Case.BACK_LIGHT and one.face}) > 1


def test_every_face_is_whole_and_of_a_size_that_a_door_sees(drawn: list[Picture]) -> None:
    widths = []
    for face in (one.face for one in drawn if one.face):
        x0, y0, x1, y1 = face.box
        assert 0 <= x0 < x1 <= WIDTH
        assert 0 <= y0 < y1 <= HEIGHT
        widths.append((x1 - x0) / WIDTH)
    assert NARROWEST - 1e-6 <= min(widths) < 0.08
    assert 0.18 < max(widths) <= WIDEST + 1e-6


def test_a_prop_changes_the_face_it_is_drawn_on() -> None:
    look = random_look(np.random.default_rng(3))
    x0, y0, x1, y1 = (round(value) for value in face_box(look))
    bare = draw_person(look, "bare", "face", np.random.default_rng(1))[y0:y1, x0:x1].astype(int)
    for prop in (props.hand(1), props.beard, props.scarf((60, 90, 160), striped=True), props.visor, props.cup(-1, (9, 9, 200))):  # fmt: skip
        worn = draw_person(look, "bare", "face", np.random.default_rng(1), prop)[y0:y1, x0:x1].astype(int)
        changed = (np.abs(worn - bare).max(axis=-1) > 12).mean()
        assert changed > 0.15
        assert draw_person(look, "bare", "back", np.random.default_rng(1), prop).shape == (1240, 520, 4)


def test_the_written_pack_is_a_data_set_that_the_trainer_reads(tmp_path: Path) -> None:
    write_pack(tmp_path, images=len(Case) + 1, seed=5)
    split = read_split(tmp_path / "data.yaml", "test")
    rows = list(csv.DictReader((tmp_path / "cases.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == [image.name for image in split.images]
    assert [row["case"] for row in rows] == [*Case, Case.HAND]
    for (image, case), row in zip(Pack.read(tmp_path / "data.yaml", "test").pictures, rows, strict=True):
        assert image.name == row["file"]
        faces = [face.label for face in read_rows(image)]
        assert len(faces) == (0 if case in POSTERS else 1)
        assert set(faces) <= ({RIGHT[case]} if case in RIGHT else set(map(str, LABELS)))


def test_a_pack_too_small_for_every_case_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rehearsal", "hard", str(tmp_path / "few"), "--images", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--images must be 12 or more" in done.stderr
    assert not (tmp_path / "few").exists()
