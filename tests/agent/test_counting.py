"""Sequences of detections, as tables: what is a person over the line, and what is not."""

import numpy as np
import pytest

from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detection
from agent.vision.geometry import Box, Line
from agent.vision.pipeline import Look, count_detections
from agent.vision.tracker import Tracker
from contract.labels import LABELS, Label

DOWN = Line.of(0, 0.5, 1, 0.5)
FPS = 15


def face(x: float, y: float, label: Label = Label.WITH_MASK, confidence: float = 0.8, size: float = 0.1) -> Detection:
    scores = tuple(confidence if one == label else (1 - confidence) / 4 for one in LABELS)
    return Detection(Box(x - size / 2, y - size / 2, x + size / 2, y + size / 2), label, confidence, scores)


def count(frames: list[list[Detection]], line: Line = DOWN, fps: float = FPS) -> list[Crossing]:
    looks = (Look(detections, index / fps) for index, detections in enumerate(frames))
    return list(count_detections(looks, tracker=Tracker(), counter=Counter(line)))


def walk(*stops: float, x: float = 0.5, speed: float = 0.5, **kind: object) -> list[list[Detection]]:
    """One face going from stop to stop along y, `speed` of the frame a second."""
    ys: list[float] = [stops[0]]
    for stop in stops[1:]:
        steps = max(1, round(abs(stop - ys[-1]) / speed * FPS))
        ys += np.linspace(ys[-1], stop, steps + 1)[1:].tolist()
    return [[face(x, y, **kind)] for y in ys]  # type: ignore[arg-type]


def together(*walks: list[list[Detection]]) -> list[list[Detection]]:
    return [
        [one for each in walks if index < len(each) for one in each[index]] for index in range(max(map(len, walks)))
    ]


def ways(found: list[Crossing]) -> list[str]:
    return [str(one.direction) for one in found]


def test_a_person_is_counted_once_per_crossing() -> None:
    assert ways(count(walk(0.1, 0.9))) == ["in"]


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        ((0.1, 0.9), ["in"]),
        ((0.9, 0.1), ["out"]),
        ((0.1, 0.45, 0.1), []),  # comes up and turns back
        ((0.1, 0.51, 0.1), []),  # puts a foot over and turns back
        ((0.1, 0.7, 0.1), ["in", "out"]),  # goes in and comes out again
        ((0.1, 0.49, 0.515, 0.49, 0.515, 0.49, 0.1), []),  # sways on the line
        ((0.1, 0.6, 0.515, 0.6, 0.515, 0.9), ["in"]),  # is over, and sways there
        ((0.45, 0.9), ["in"]),  # first seen close to the line
        ((0.6, 0.9), []),  # first seen beyond it
    ],
)
def test_what_counts_is_a_change_of_side(stops: tuple[float, ...], expected: list[str]) -> None:
    assert ways(count(walk(*stops))) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (Line.of(0, 0.5, 1, 0.5), ["in"]),
        (Line.of(1, 0.5, 0, 0.5), ["out"]),
        (Line.of(0.5, 1, 0.5, 0), []),
        (Line.of(0.6, 0.5, 1, 0.5), []),  # walks past the line's end
        (Line.of(0, 0.2, 1, 0.8), ["in"]),
    ],
)
def test_the_right_hand_side_of_the_line_is_in(line: Line, expected: list[str]) -> None:
    assert ways(count(walk(0.1, 0.9, x=0.5 if line.start.x != 0.6 else 0.3), line)) == expected


def test_left_to_right_is_in_for_a_line_drawn_upwards() -> None:
    frames = [[face(x, 0.5)] for x in np.linspace(0.1, 0.9, 30)]
    assert ways(count(frames, Line.of(0.5, 1, 0.5, 0))) == ["in"]


def test_two_people_side_by_side_are_two() -> None:
    assert ways(count(together(walk(0.1, 0.9, x=0.4), walk(0.1, 0.9, x=0.6)))) == ["in", "in"]


def test_two_people_who_meet_on_the_line_keep_their_ways() -> None:
    found = count(together(walk(0.1, 0.9, x=0.42), walk(0.9, 0.1, x=0.56)))
    assert sorted(ways(found)) == ["in", "out"]


@pytest.mark.parametrize("missing", [(3, 7), (10, 18), (8, 14)])
def test_a_face_lost_for_half_a_second_is_the_same_person(missing: tuple[int, int]) -> None:
    frames = walk(0.1, 0.9)
    for index in range(*missing):
        frames[index] = []
    assert ways(count(frames)) == ["in"]


def test_every_third_frame_dropped_changes_nothing() -> None:
    looks = [Look(detections, index / FPS) for index, detections in enumerate(walk(0.1, 0.9)) if index % 3]
    found = list(count_detections(looks, tracker=Tracker(), counter=Counter(DOWN)))
    assert ways(found) == ["in"]


def test_a_thousand_boxes_seen_once_are_nobody() -> None:
    rng = np.random.default_rng(5)
    frames: list[list[Detection]] = []
    for _ in range(1000):
        frames += [[face(float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.3, 0.7)), confidence=0.4)], [], [], []] + [
            []
        ] * 16
    assert count(frames) == []


def test_one_who_stands_on_the_line_and_flickers_is_not_counted() -> None:
    rng = np.random.default_rng(6)
    frames = [[face(0.5, 0.5 + float(rng.normal(0, 0.007)))] if rng.random() < 0.6 else [] for _ in range(600)]
    assert count(frames) == []


def test_the_label_is_what_the_whole_track_says() -> None:
    frames = walk(0.1, 0.9)
    for index in (3, 9, 15):  # three surprises do not outvote the rest
        frames[index] = [face(0.5, frames[index][0].box.centre.y, Label.WITHOUT_MASK, 0.6)]
    (found,) = count(frames)
    assert found.label == Label.WITH_MASK
    assert 0.5 < found.confidence < 1


def test_looks_after_the_crossing_still_count_for_the_label() -> None:
    before, after = walk(0.1, 0.54, label=Label.WITHOUT_MASK, confidence=0.4), walk(0.56, 0.95, confidence=0.95)
    (found,) = count(before + after)
    assert found.label == Label.WITH_MASK


def test_a_crossing_is_dated_when_it_happened_not_when_it_was_settled() -> None:
    frames = walk(0.1, 0.9) + [[]] * 60
    (found,) = count(frames)
    assert found.at_s == pytest.approx(0.42 / 0.5, abs=0.15)
    assert found.age_s == pytest.approx(1.5, abs=0.7)
