"""What people do at doors, as tables: groups, turning back, standing in it, coming again; and what is nobody at all."""

from dataclasses import replace

import numpy as np
import pytest

from agent.vision.detector import Detection
from agent.vision.tracker import Track, Tracker
from contract.labels import Label
from tests.agent.walkers import FPS, Frames, count, face, path, together, told


@pytest.mark.parametrize("fps", [8, 15, 30])
@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (lambda fps: together(*[path((x, 0.1), (x, 0.9), fps=fps) for x in (0.2, 0.35, 0.5, 0.65, 0.8)]), ["in"] * 5),
        (lambda fps: together(*[path((x, 0.1), (x, 0.9), fps=fps) for x in (0.42, 0.53)]), ["in"] * 2),  # arm in arm
        (lambda fps: together(path((0.4, 0.1), (0.4, 0.9), fps=fps), path((0.6, 0.9), (0.6, 0.1), fps=fps)), ["in", "out"]),
        (lambda fps: path((0.3, 0.1), (0.3, 0.44), (0.7, 0.1), fps=fps), []),  # comes up to the door and goes away
        (lambda fps: path((0.5, 0.1), (0.5, 0.44), (0.5, 0.44), (0.5, 0.44), (0.5, 0.1), fps=fps), []),  # looks in first
        (lambda fps: path((0.5, 0.1), (0.5, 0.5), *[(0.5, 0.5)] * 4, (0.5, 0.9), fps=fps), ["in"]),  # holds the door
        (lambda fps: path((0.5, 0.1), (0.5, 0.5), *[(0.5, 0.5)] * 4, (0.5, 0.1), fps=fps), []),  # and lets them out
        (lambda fps: path((0.5, 0.1), (0.5, 0.8), (0.5, 0.8), (0.5, 0.1), fps=fps), ["in", "out"]),  # forgot something
        (lambda fps: path((0.5, 0.1), (0.5, 0.8), (0.5, 0.2), (0.5, 0.9), fps=fps), ["in", "in", "out"]),
        (lambda fps: path((0.1, 0.5), (0.9, 0.5), fps=fps), []),  # walks along the line
    ],
)  # fmt: skip
def test_what_people_do_is_counted_as_what_it_is(frames: object, expected: list[str], fps: float) -> None:
    assert callable(frames)
    assert told(count(frames(fps), fps=fps)) == expected


def test_one_who_stands_in_the_door_does_not_take_the_count_of_those_who_pass() -> None:
    standing = path((0.3, 0.47), *[(0.3, 0.47)] * 8)
    passing = [path((x, 0.1), (x, 0.9)) for x in (0.45, 0.6, 0.75)]
    assert told(count(together(standing, *passing, late=[0, 10, 30, 60]))) == ["in", "in", "in"]


def test_one_who_comes_again_is_counted_again() -> None:
    once = path((0.5, 0.1), (0.5, 0.9))
    assert told(count(once + [[]] * 3 * FPS + once)) == ["in", "in"]


def test_one_who_was_out_of_sight_on_the_line_is_counted_once() -> None:
    frames = path((0.5, 0.1), (0.5, 0.9))
    middle = len(frames) // 2
    frames[middle - 6 : middle + 6] = [[]] * 12  # .8 s
    assert told(count(frames)) == ["in"]


def test_the_label_is_the_vote_of_the_whole_walk_for_each_of_two() -> None:
    left, right = path((0.3, 0.1), (0.3, 0.9)), path((0.6, 0.1), (0.6, 0.9))
    bare = [[face(0.6, one.box.centre.y, Label.WITHOUT_MASK)] for (one,) in right]
    bare[5] = bare[11] = [face(0.6, bare[5][0].box.centre.y, Label.WITH_MASK)]
    bare[11] = [face(0.6, right[11][0].box.centre.y, Label.WITH_MASK)]
    found = count(together(left, bare))
    assert sorted(one.label for one in found) == [Label.WITH_MASK, Label.WITHOUT_MASK]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("every", "fps"), [(1, 15), (1, 30), (2, 15), (3, 15), (7, 15), (20, 15), (3, 8)])
@pytest.mark.parametrize("band", [0.1, 0.2])
def test_a_thousand_boxes_around_the_line_that_nobody_confirms_are_nobody(
    every: int, fps: float, band: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    frames: Frames = []
    for _ in range(1000):
        x, y, size = rng.uniform(0.05, 0.95), rng.uniform(0.5 - band, 0.5 + band), rng.uniform(0.06, 0.12)
        frames += [[face(float(x), float(y), confidence=0.4, size=float(size))], *[[]] * (every - 1)]
    assert count(frames, fps=fps) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fps", [5, 8, 15, 30])
@pytest.mark.parametrize(("spread", "offset"), [(0.005, 0.0), (0.007, 0.01), (0.01, 0.0), (0.007, -0.015)])
def test_a_face_that_flickers_on_the_line_is_not_counted(seed: int, fps: float, spread: float, offset: float) -> None:
    rng = np.random.default_rng(seed)
    shown = rng.random(900) < 0.6
    frames = [[face(0.5, 0.5 + offset + float(rng.normal(0, spread)), size=0.12)] if one else [] for one in shown]
    assert count(frames, fps=fps) == []


def test_a_face_that_fades_for_a_moment_is_followed_and_what_was_never_sure_is_not() -> None:
    def followed(unsure_in: range) -> list[Track]:
        """A face that walks by and is unsure in some of the frames; returns who was believed."""
        tracker = Tracker()
        believed: dict[int, Track] = {}
        for index, (one,) in enumerate(path((0.2, 0.5), (0.8, 0.5))):
            unsure = [replace(one, confidence=0.2)] if index in unsure_in else []
            seen, _ = tracker.update([] if unsure else [one], index / FPS, unsure.copy)
            believed |= {track.number: track for track in seen if track.confirmed}
        return list(believed.values())

    whole = len(path((0.2, 0.5), (0.8, 0.5)))
    (track,) = followed(range(5, whole))
    assert track.hits == whole
    assert track.box.centre.x > 0.75
    assert followed(range(whole)) == []


def test_a_faint_detection_beside_a_face_does_not_drag_it_away() -> None:
    tracker = Tracker()
    for index in range(6):
        tracker.update([face(0.5, 0.5)], index / FPS)
    seen, _ = tracker.update([], 6 / FPS, lambda: [face(0.58, 0.5, confidence=0.2)])
    assert seen == []


def test_faint_detections_are_not_asked_for_while_every_face_is_there() -> None:
    tracker = Tracker()

    def asked() -> list[Detection]:
        raise AssertionError("nobody is missing")

    for index in range(6):
        tracker.update([face(0.5, 0.5)], index / FPS, asked)
