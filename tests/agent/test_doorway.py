"""Several lines and a zone at one camera: what counts where, what is refused, and the change while people walk."""

import pytest

from agent.config import AgentSettings
from agent.vision.counter import Counter
from agent.vision.doorway import Doorway
from agent.vision.geometry import Line, Point, Zone
from agent.vision.tracker import Tracker
from contract.errors import ContractError
from contract.fleet import DoorLine, DoorPlan
from tests.agent.walkers import DOWN, FPS, Frames, count, path, together, told

LEFT, RIGHT = Line.of(0, 0.5, 0.45, 0.5, "left"), Line.of(0.55, 0.5, 1, 0.5, "right")
UPPER, LOWER = Line.of(0, 0.4, 1, 0.4, "upper"), Line.of(1, 0.7, 0, 0.7, "lower")
MIDDLE = Zone.of([(0.3, 0), (0.7, 0), (0.7, 1), (0.3, 1)])


@pytest.mark.parametrize(
    ("frames", "lines", "expected"),
    [
        (path((0.2, 0.1), (0.2, 0.9)), (LEFT, RIGHT), ["in left"]),
        (path((0.8, 0.9), (0.8, 0.1)), (LEFT, RIGHT), ["out right"]),
        (together(path((0.2, 0.1), (0.2, 0.9)), path((0.8, 0.1), (0.8, 0.9))), (LEFT, RIGHT), ["in left", "in right"]),
        (path((0.2, 0.1), (0.2, 0.8), (0.8, 0.8), (0.8, 0.1)), (LEFT, RIGHT), ["in left", "out right"]),
        (path((0.5, 0.1), (0.5, 0.9)), (UPPER, LOWER), ["in upper", "out lower"]),  # once for each line
        (path((0.5, 0.1), (0.5, 0.55), (0.5, 0.1)), (UPPER, LOWER), ["in upper", "out upper"]),
        (path((0.5, 0.1), (0.5, 0.9)), (DOWN,), ["in"]),  # a line without a name
    ],
)
def test_a_person_counts_once_for_each_line(frames: Frames, lines: tuple[Line, ...], expected: list[str]) -> None:
    assert told(count(frames, *lines)) == expected


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (path((0.5, 0.1), (0.5, 0.9)), ["in"]),
        (path((0.1, 0.1), (0.1, 0.9)), []),  # passes beside it
        (together(path((0.1, 0.1), (0.1, 0.9)), path((0.5, 0.1), (0.5, 0.9))), ["in"]),
        (path((0.1, 0.1), (0.5, 0.4), (0.5, 0.9)), ["in"]),  # comes into it before the line
        (path((0.1, 0.7), (0.5, 0.7), (0.5, 0.9)), []),  # comes into it behind the line
    ],
)
def test_faces_outside_the_zone_are_not_followed(frames: Frames, expected: list[str]) -> None:
    assert told(count(frames, zone=MIDDLE)) == expected


@pytest.mark.parametrize(
    ("corners", "inside", "outside"),
    [
        ([(0, 0), (1, 0), (1, 1), (0, 1)], [(0.5, 0.5), (0.01, 0.99)], []),
        ([(0, 0), (1, 0), (0, 1)], [(0.2, 0.2)], [(0.8, 0.8)]),
        ([(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.5, 0.3), (0.1, 0.9)], [(0.2, 0.5), (0.8, 0.5)], [(0.5, 0.6), (0.05, 0.5)]),
    ],
)  # fmt: skip
def test_a_zone_holds_what_is_inside(
    corners: list[tuple[float, float]], inside: list[tuple[float, float]], outside: list[tuple[float, float]]
) -> None:
    for turned in (corners, corners[::-1]):
        zone = Zone.of(turned)
        assert all(zone.holds(Point(*one)) for one in inside)
        assert not any(zone.holds(Point(*one)) for one in outside)


@pytest.mark.parametrize(
    ("corners", "fault"),
    [
        ([(0, 0), (1, 1)], "3 to 32 corners, not 2"),
        ([(0, 0), (1, 0), (1, 1.2)], "unit square"),
        ([(0, 0), (1, 0), (0.5, 0)], "needs an area"),
        ([(0, 0), (1, 1), (1, 0), (0, 0.9)], "may not cross"),
        ([(0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)], "may not cross"),  # touches another side
        ([(0.5 + 0.01 * n, 0.5) for n in range(33)], "3 to 32 corners, not 33"),
    ],
)
def test_a_zone_that_makes_no_sense_is_refused(corners: list[tuple[float, float]], fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        Zone.of(corners)


@pytest.mark.parametrize(
    ("lines", "zone", "fault"),
    [
        ([], None, "1 to 8 lines"),
        ([DOWN] * 9, None, "1 to 8 lines"),
        ([DOWN, LEFT], None, "needs a name"),
        ([LEFT, LEFT], None, "two lines are called 'left'"),
        ([LEFT, RIGHT], Zone.of([(0, 0), (0.4, 0), (0.4, 1), (0, 1)]), "right lies outside the zone"),
    ],
)
def test_a_doorway_that_makes_no_sense_is_refused(lines: list[Line], zone: Zone | None, fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        Doorway.of(lines, zone)


def test_the_clouds_plan_is_the_same_doorway() -> None:
    plan = DoorPlan(
        lines=(DoorLine(name="left", line=(0, 0.5, 0.45, 0.5)), DoorLine(name="right", line=(0.55, 0.5, 1, 0.5))),
        zone=((0.3, 0), (0.7, 0), (0.7, 1), (0.3, 1)),
    )
    assert Doorway.planned(plan) == Doorway.of([LEFT, RIGHT], MIDDLE)


@pytest.mark.parametrize(
    ("door", "expected"),
    [
        ({}, Doorway.of([DOWN])),
        ({"line": [0.5, 1, 0.5, 0]}, Doorway.of([Line.of(0.5, 1, 0.5, 0)])),
        (
            {"lines": [{"name": "left", "line": [0, 0.5, 0.45, 0.5]}], "zone": [[0.3, 0], [0.7, 0], [0.7, 1], [0.3, 1]]},
            Doorway.of([LEFT], MIDDLE),
        ),
    ],
)  # fmt: skip
def test_settings_say_what_counts(door: dict[str, object], expected: Doorway) -> None:
    assert AgentSettings.load(None, {"device": "door-1", "door": door}).door.doorway() == expected


@pytest.mark.parametrize(
    ("door", "fault"),
    [
        ({"line": [0, 0.5, 1, 0.5], "lines": [{"name": "a", "line": [0, 0.5, 1, 0.5]}]}, "not both"),
        ({"lines": [{"name": "a", "line": [0, 0.5, 1, 0.5]}] * 2}, "two lines are called 'a'"),
        ({"lines": [{"name": "A b", "line": [0, 0.5, 1, 0.5]}]}, "door.lines.0.name"),
        ({"lines": [{"name": "a", "line": [0, 0.5, 1, 2]}]}, "unit square"),
        ({"lines": [{"line": [0, 0.5, 1, 0.5]}]}, "door.lines.0.name"),
        ({"zone": [[0, 0], [1, 0]]}, "3 to 32 corners"),
        ({"zone": [[0, 0], [1, 0], [1, 0.2], [0, 0.2]]}, "outside the zone"),
    ],
)
def test_settings_that_make_no_sense_are_refused(door: dict[str, object], fault: str) -> None:
    with pytest.raises(ContractError, match=fault):
        AgentSettings.load(None, {"device": "door-1", "door": door})


@pytest.mark.parametrize(
    ("change_at", "expected"),
    [
        (5, ["in new"]),  # .25: before both
        (14, ["in new"]),  # .55: over the old line, counted there too late to be undone, and not yet over the new one
        (26, []),  # .95: beyond both when the new line came
    ],
)
def test_a_line_that_is_exchanged_counts_from_then_on(change_at: int, expected: list[str]) -> None:
    old, new = Line.of(0, 0.97, 1, 0.97), Line.of(0, 0.7, 1, 0.7, "new")
    tracker, counter = Tracker(), Counter(old)
    found = []
    for index, detections in enumerate(path((0.5, 0.1), (0.5, 0.96))):
        if index == change_at:
            counter.exchange((new,))
        seen, ended = tracker.update(detections, index / FPS)
        found += counter.update(seen, ended, index / FPS)
    found += counter.update([], tracker.close(), 9.0)
    assert told(found) == expected


def test_a_crossing_that_was_seen_before_the_exchange_is_still_reported() -> None:
    tracker, counter = Tracker(), Counter(DOWN)
    found = []
    for index, detections in enumerate(path((0.5, 0.1), (0.5, 0.9))):
        if index == 20:  # .77
            counter.exchange((UPPER, LOWER))
        seen, ended = tracker.update(detections, index / FPS)
        found += counter.update(seen, ended, index / FPS)
    found += counter.update([], tracker.close(), 9.0)
    assert told(found) == ["in"]
