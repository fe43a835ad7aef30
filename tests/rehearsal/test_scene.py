import json
from pathlib import Path

import numpy as np
import pytest

from agent.vision.camera import Clip
from rehearsal.demo import true_counts
from rehearsal.processes import Child, Mosquitto, RehearsalError, wait_until
from rehearsal.scene import LABELS, LINES, Kind, Scene, truth_path, write_clip, write_dataset

KINDS: list[Kind] = ["passage", "entrance"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same_door(kind: Kind) -> None:
    first, again, other = (Scene(kind, seed=seed, people=4) for seed in (3, 3, 4))
    assert first.passes() == again.passes()
    assert np.array_equal(first.render(60)[0], again.render(60)[0])
    assert not np.array_equal(first.render(60)[0], other.render(60)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_face_is_where_the_truth_says(kind: Kind) -> None:
    scene = Scene(kind, seed=9, people=6)
    seen = 0
    for index in range(0, scene.frames, 10):
        pixels, faces = scene.render(index)
        assert pixels.shape == (480, 640, 3)
        assert pixels.dtype == np.uint8
        for face in faces:
            assert 0 < face.visible <= 1
            assert face.label in LABELS
            seen += 1
    assert seen > 20


def test_the_truth_is_every_change_of_side_by_a_face() -> None:
    scene = Scene("passage", seed=12, people=30)
    passes = scene.passes()
    assert 20 <= len(passes) <= 30
    assert {one.direction for one in passes} == {"in", "out"}
    assert {one.label for one in passes} == set(LABELS)
    assert [one.at_ms for one in passes] == sorted(one.at_ms for one in passes)
    stairs = Scene("entrance", seed=12, people=30)
    assert {one.direction for one in stairs.passes()} == {"in"}  # who leaves shows no face


def test_a_clip_lies_beside_its_truth(tmp_path: Path) -> None:
    scene = Scene("passage", seed=2, people=2)
    clip = tmp_path / "made" / "door.mp4"
    told: list[tuple[int, int]] = []
    write_clip(scene, clip, progress=lambda done, total: told.append((done, total)))
    truth = json.loads(truth_path(clip).read_text())
    assert tuple(truth["line"]) == LINES["passage"]
    assert sum(1 for _ in Clip(clip).frames()) == truth["frames"] == scene.frames
    assert told[-1] == (scene.frames, scene.frames)
    turns = true_counts(clip, 3 * scene.frames)
    assert turns["in"] + turns["out"] == 3 * len(truth["passes"])
    assert sum(true_counts(clip, 5).values()) == 0


def test_a_data_set_has_a_label_for_every_visible_face(tmp_path: Path) -> None:
    write_dataset(tmp_path, images=10, seed=4)
    images = sorted((tmp_path / "images").glob("*.jpg"))
    assert len(images) == 10
    assert len((tmp_path / "all.txt").read_text().split()) == 10
    rows = [row.split() for label in (tmp_path / "labels").glob("*.txt") for row in label.read_text().splitlines()]
    assert len(rows) > 5
    for kind, *box in rows:
        assert int(kind) in range(3)
        assert all(0 <= float(value) <= 1 for value in box)


def test_a_program_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    child = Child("shell", ["sh", "-c", "echo no such luck; exit 3"], log=tmp_path / "log")
    wait_until(lambda: not child.running, within_s=20, what="the end")
    with pytest.raises(RehearsalError, match=r"(?s)shell ended with code 3.*no such luck"):
        child.require_running()


def test_a_broker_keeps_its_folder_over_a_restart(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker").start()
    port = broker.port
    broker.kill()
    assert not broker.alive
    assert broker.start().port == port
    broker.stop()
