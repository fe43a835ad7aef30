"""Which desired states a door believes."""

import json
import logging
from pathlib import Path

import pytest

from agent.update.wish import DESIRED_NAME, Wish
from contract.fleet import Desired, DoorLine, DoorPlan, OpeningPlan


def word(number: int, release: int, device: str = "door-1") -> bytes:
    return Desired(device=device, number=number, release=release).encode()


def test_the_newest_word_counts_and_survives_a_restart(tmp_path: Path) -> None:
    wish = Wish("door-1", tmp_path / "models")
    assert (wish.release, wish.number) == (0, 0)
    assert wish.take(word(2, 5))
    assert not wish.take(word(2, 5))  # the retained one once more, after a reconnect
    assert not wish.take(word(1, 9))
    assert wish.take(word(3, 6))
    again = Wish("door-1", tmp_path / "models")
    assert (again.release, again.number) == (6, 3)
    assert not again.take(word(2, 5))


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"device": "door-1"}', word(1, 5, "door-2"), b"x" * 10_000])
def test_broken_and_foreign_words_are_logged_and_ignored(
    tmp_path: Path, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    wish = Wish("door-1", tmp_path)
    with caplog.at_level(logging.WARNING, logger="agent.update"):
        assert not wish.take(payload)
    assert wish.newest is None
    assert "ignored" in caplog.text
    assert not (tmp_path / DESIRED_NAME).exists()


def test_a_broken_file_and_a_folder_that_cannot_be_written_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / DESIRED_NAME).write_text("{")
    assert Wish("door-1", tmp_path).newest is None
    (tmp_path / "file").write_text("")
    wish = Wish("door-1", tmp_path / "file" / "models")
    assert wish.take(word(1, 2))
    assert wish.release == 2


LEFT = DoorPlan(lines=(DoorLine(line=(0.0, 0.5, 0.45, 0.5)),))
FLAT = {"lines": [{"line": [0.2, 0.5, 0.2, 0.5]}]}


def with_door(number: int, release: int, door: object) -> bytes:
    return json.dumps(json.loads(word(number, release)) | {"door": door}).encode()


@pytest.mark.parametrize(
    ("door", "fault"),
    [
        (FLAT, "two different points"),
        ({"lines": [{"line": [0, 0.5, 3, 0.5]}]}, "door.lines.0.line.2: Input should be less than or equal to 1"),
        ({"lines": [{"line": [0, 0.5, "NaN", 0.5]}]}, "door.lines.0.line.2"),
        ({"lines": []}, "door.lines"),
        ({"lines": [{"name": "A", "line": [0, 0.5, 1, 0.5]}]}, "door.lines.0.name"),
        ({"lines": [{"line": [0, 0.5, 1, 0.5]}, {"line": [0, 0.6, 1, 0.6]}]}, "needs a name"),
        ({"lines": [{"line": [0, 0.5, 1, 0.5]}], "zone": [[0, 0], [1, 0], [1, 0.2]]}, "outside the zone"),
        ({"lines": [{"line": [0, 0.5, 1, 0.5]}], "zone": [[0, 0], [1, 1], [1, 0], [0, 0.9]]}, "may not cross"),
        ("everywhere", "door:"),
        ([], "door:"),
    ],
)
def test_a_door_that_makes_no_sense_is_refused_alone(tmp_path: Path, door: object, fault: str) -> None:
    wish = Wish("door-1", tmp_path)
    assert wish.take(Desired(device="door-1", number=1, release=3, door=LEFT).encode())
    assert wish.take(with_door(2, 4, door))
    assert (wish.release, wish.number) == (4, 2)
    assert wish.newest and wish.newest.door == LEFT
    assert wish.fault.startswith("door refused: ")
    assert fault in wish.fault
    assert not wish.take(with_door(2, 4, door))  # the retained one once more
    again = Wish("door-1", tmp_path)
    assert again.newest and again.newest.door == LEFT
    assert again.take(with_door(2, 4, door))  # so that the reason is told again
    assert again.fault == wish.fault
    assert wish.take(word(3, 4))  # and back to the settings
    assert wish.newest.door is None
    assert wish.fault == ""


def test_an_older_refused_door_says_nothing(tmp_path: Path) -> None:
    wish = Wish("door-1", tmp_path)
    assert wish.take(word(3, 4))
    assert not wish.take(with_door(2, 4, FLAT))
    assert wish.fault == ""


@pytest.mark.parametrize(
    ("opening", "fault"),
    [
        ({"time_zone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"time_zone": "UTC", "open": ["weekdays 9-5"]}, "is no opening time"),
        ({"time_zone": "UTC", "closed": ["the 25th"]}, "opening.closed.0"),
        ([], "opening:"),
    ],
)
def test_opening_hours_that_make_no_sense_are_refused_alone(tmp_path: Path, opening: object, fault: str) -> None:
    wish, hours = Wish("door-1", tmp_path), OpeningPlan(time_zone="UTC", open=("daily 08:00-20:00",))
    assert wish.take(Desired(device="door-1", number=1, release=3, door=LEFT, opening=hours).encode())
    base = {"schema_version": 1, "device": "door-1", "number": 2, "release": 3}
    assert wish.take(json.dumps({**base, "opening": opening, "door": LEFT.model_dump()}).encode())
    assert wish.newest
    assert (wish.newest.opening, wish.newest.door) == (hours, LEFT)
    assert wish.fault.startswith("opening refused: ")
    assert fault in wish.fault
    both = {**base, "number": 3, "opening": opening, "door": FLAT}
    assert wish.take(json.dumps(both).encode())
    assert wish.fault.startswith("door refused: ")
    assert "; opening refused: " in wish.fault
