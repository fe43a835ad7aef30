"""Time in the outbox: passes are put right before they may be sent, and what is too old goes."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from agent.clock import Reading, Stamp
from agent.delivery.age import DAY_S, Age
from agent.delivery.outbox import DATED_AT_ONCE, TEND_S, Outbox
from agent.delivery.shelf import Letter

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
THIS, BEFORE = UUID(int=3), UUID(int=2)
MANY = 10**9


def letter(number: int, stamp: Stamp | None = None) -> Letter:
    return Letter(UUID(int=number), b"as counted", stamp=stamp)


def reading(up_s: float, *, trusted: bool = True, at: datetime = NOON) -> Reading:
    return Reading(at, Stamp(THIS, up_s), trusted)


def spell(_payload: bytes, at: datetime, sure: bool) -> bytes:
    return f"{(NOON - at).total_seconds():g} s ago, {'sure' if sure else 'a guess'}".encode()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox.open(tmp_path / "outbox", cap_bytes=MANY)
    yield opened
    opened.close()


def sendable(box: Outbox) -> dict[int, str]:
    return {one.id.int: one.payload.decode() for one in box.pending_events(10**4)}


def test_a_pass_without_a_time_waits_and_the_others_do_not(box: Outbox) -> None:
    box.put_events([letter(1, Stamp(THIS, 10)), letter(2)])
    assert box.date_events(reading(20, trusted=False), spell) == 0
    assert sendable(box) == {2: "as counted"}
    assert (box.waiting, box.undated) == (2, 1)


def test_once_the_time_is_known_every_waiting_pass_is_dated_by_the_boot_clock(box: Outbox) -> None:
    box.put_events([letter(1, Stamp(THIS, 10)), letter(2, Stamp(THIS, 700)), letter(3)])
    assert box.date_events(reading(1000), spell) == 2
    assert sendable(box) == {1: "990 s ago, sure", 2: "300 s ago, sure", 3: "as counted"}
    assert box.undated == 0
    assert box.waiting_bytes == sum(one.cost for one in box.pending_events(10))
    assert box.date_events(reading(5000), spell) == 0  # what may have been sent never changes again


def test_passes_of_a_boot_that_never_knew_the_time_are_put_before_this_one_as_a_guess(tmp_path: Path) -> None:
    first = Outbox.open(tmp_path, cap_bytes=MANY)
    first.put_events([letter(1, Stamp(BEFORE, 100)), letter(2, Stamp(BEFORE, 400))])
    first.close()
    again = Outbox.open(tmp_path, cap_bytes=MANY)
    again.put_events([letter(3, Stamp(THIS, 30))])
    again.date_events(reading(60), spell)
    assert sendable(again) == {1: "360 s ago, a guess", 2: "60 s ago, a guess", 3: "30 s ago, sure"}
    again.close()


def test_passes_settle_for_what_they_say_where_no_time_ever_comes(box: Outbox) -> None:
    box.put_events([letter(1, Stamp(THIS, 10))])
    assert box.date_events(reading(500, trusted=False), spell, settle=True) == 1
    assert sendable(box) == {1: "as counted"}


def test_a_long_night_without_a_time_is_put_right_in_slices_oldest_first(box: Outbox) -> None:
    number = 2 * DATED_AT_ONCE + 7
    box.put_events([letter(one, Stamp(BEFORE, float(one))) for one in range(1, number + 1)])
    assert box.date_events(reading(60), spell) == DATED_AT_ONCE
    assert max(sendable(box)) == DATED_AT_ONCE
    while box.date_events(reading(60), spell):
        pass
    assert sendable(box) == {one: f"{60 + number - one} s ago, a guess" for one in range(1, number + 1)}


def test_an_outbox_of_the_release_before_is_read_and_added_to(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "events.db")
    old.execute(
        "CREATE TABLE letters (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, payload BLOB NOT NULL, protected INTEGER"
        " NOT NULL) STRICT"
    )
    old.execute("INSERT INTO letters VALUES (5, ?, ?, 0)", (UUID(int=50).bytes, b"from before"))
    old.commit()
    old.close()
    box = Outbox.open(tmp_path, cap_bytes=MANY)
    box.put_events([letter(51)])
    assert sendable(box) == {50: "from before", 51: "as counted"}
    assert (box.files_set_aside, box.newest) == (0, 6)
    box.close()


def test_crops_go_after_seven_days_and_are_counted_and_events_stay(box: Outbox) -> None:
    box.tend(reading(0))
    box.put_crop(letter(1))
    box.put_events([letter(2)])
    box.tend(reading(4 * DAY_S, at=NOON + timedelta(days=4)))
    box.put_crop(letter(3))
    box.tend(reading(7 * DAY_S, at=NOON + timedelta(days=7)))
    assert [one.id.int for one in box.pending_crops(10)] == [1, 3]
    box.tend(reading(7 * DAY_S + 100, at=NOON + timedelta(days=7, seconds=100)))
    assert [one.id.int for one in box.pending_crops(10)] == [3]
    assert (box.crops_lost, box.events_lost, sendable(box)) == (1, 0, {2: "as counted"})


def test_events_go_after_thirty_days_where_that_is_wished(tmp_path: Path) -> None:
    box = Outbox.open(tmp_path, cap_bytes=MANY, event_days=30)
    box.tend(reading(0))
    box.put_events([letter(1)])
    box.tend(reading(29.9 * DAY_S, at=NOON + timedelta(days=29.9)))
    assert box.waiting == 1
    box.tend(reading(30.1 * DAY_S, at=NOON + timedelta(days=30.1)))
    assert (box.waiting, box.events_lost) == (0, 1)
    box.close()


def test_a_crop_grows_old_across_restarts_and_in_the_dark(tmp_path: Path) -> None:
    first = Outbox.open(tmp_path, cap_bytes=MANY)
    first.put_crop(letter(1))
    first.tend(reading(100))
    first.close()
    again = Outbox.open(tmp_path, cap_bytes=MANY)  # the boot clock begins anew; eight days have gone by
    again.tend(reading(5, at=NOON + timedelta(days=8)))
    assert (again.pending_crops(10), again.crops_lost) == ([], 1)
    again.close()


def test_what_came_after_the_dark_is_not_as_old_as_the_dark(tmp_path: Path) -> None:
    first = Outbox.open(tmp_path, cap_bytes=MANY, event_days=30)
    first.put_events([letter(1)])
    first.tend(reading(100))
    first.close()
    again = Outbox.open(tmp_path, cap_bytes=MANY, event_days=30)
    again.tend(reading(5, trusted=False))
    again.put_events([letter(2)])
    again.put_crop(letter(3))
    again.tend(reading(5 + TEND_S, at=NOON + timedelta(days=40)))  # only now it learns how long it was dark
    assert (list(sendable(again)), again.events_lost) == ([2], 1)
    assert [one.id.int for one in again.pending_crops(10)] == [3]
    again.close()


# Each look: seconds of the boot clock, the day that the wall says, whether it is trusted; and then the age in days.
@pytest.mark.parametrize(
    "looks",
    [
        pytest.param([(0, 0, True, 0), (DAY_S, 1, True, 1), (2 * DAY_S, 2, True, 2)], id="all is well"),
        pytest.param([(0, -20_000, False, 0), (DAY_S, 0, True, 1), (2 * DAY_S, 1, True, 2)], id="1970, then right"),
        pytest.param(
            [(0, 0, True, 0), (DAY_S, 400, False, 1), (2 * DAY_S, 2, True, 2)], id="a jump nobody vouches for"
        ),
        pytest.param([(0, 0, True, 0), (DAY_S, -5, True, 1), (2 * DAY_S, -4, True, 2)], id="never younger"),
    ],
)
def test_age_is_of_running_and_of_trusted_time_alone(looks: list[tuple[float, float, bool, float]]) -> None:
    age = Age()
    for up_s, day, trusted, expected_days in looks:
        age.grow(reading(up_s, trusted=trusted, at=NOON + timedelta(days=day)))
        assert age.s / DAY_S == pytest.approx(expected_days)
