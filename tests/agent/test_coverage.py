"""Coverage: what was looked at, over restarts, on a disk that may break."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.health.coverage import Coverage
from agent.health.memory import Memory, hours_as, hours_of
from agent.health.opening import Opening

DAY = datetime(2026, 11, 23, tzinfo=UTC).timestamp()  # a Monday
ALWAYS = Opening.of([], "UTC")
SHOP = Opening.of(["mon-fri 08:00-20:00"], "UTC")


def at(hour: float) -> float:
    """Seconds since 1970 of an hour of that Monday."""
    return DAY + hour * 3600


def begun(opening: Opening, hour: float, earlier: dict[int, int] | None = None) -> Coverage:
    """A start at that hour whose growing clock happens to be the wall clock, and right."""
    coverage = Coverage(opening, earlier or {}, begun_s=at(hour), offset_s=0.0)
    coverage.set_clock(0.0, synchronised=True)
    return coverage


def look(coverage: Coverage, since: float, until: float) -> None:
    """A look a second, from `since` to `until`, on the growing clock."""
    for second in range(int(since), int(until) + 1):
        coverage.look(float(second))


def test_a_morning_without_a_gap_is_covered_in_full() -> None:
    coverage = begun(ALWAYS, 6)
    look(coverage, at(6), at(9))
    said = coverage.report(at(9), hours=25)
    assert (said.since, said.open, said.seen) == (datetime.fromtimestamp(at(6), UTC), (60, 60, 60, 0), (60, 60, 60, 0))
    assert said.today == 1.0


def test_only_opening_hours_count() -> None:
    coverage = begun(SHOP, 6)
    look(coverage, at(6), at(9.5))
    said = coverage.report(at(9.5), hours=25)
    assert (said.open, said.seen) == ((0, 0, 60, 30), (0, 0, 60, 30))


def test_a_gap_is_a_gap() -> None:
    coverage = begun(SHOP, 8)
    look(coverage, at(8), at(8.5))
    look(coverage, at(9.5), at(10))
    said = coverage.report(at(10), hours=25)
    assert (said.open, said.seen, said.today) == ((60, 60, 0), (30, 30, 0), 0.5)


def test_a_restart_forgets_no_minute_and_shows_the_time_between_as_a_gap() -> None:
    first = begun(SHOP, 8)
    look(first, at(8), at(9))
    second = begun(SHOP, 10, first.to_keep(at(9)))
    look(second, at(10), at(11))
    said = second.report(at(11), hours=25)
    assert (said.open, said.seen) == ((60, 60, 60, 0), (60, 0, 60, 0))
    assert said.today == pytest.approx(2 / 3, abs=1e-4)


def test_before_a_door_was_ever_begun_there_is_no_gap() -> None:
    coverage = begun(SHOP, 15)
    look(coverage, at(15), at(16))
    assert coverage.report(at(16), hours=25).today == 1.0


def test_a_camera_that_never_gave_a_frame_is_zero_of_what_was_open() -> None:
    said = begun(SHOP, 8).report(at(10), hours=25)
    assert (said.open, said.seen, said.today) == ((60, 60, 0), (0, 0, 0), 0.0)


def test_while_the_door_was_not_yet_open_today_has_no_share() -> None:
    coverage = begun(SHOP, 5)
    assert coverage.report(at(7), hours=25).today is None


def test_a_look_now_and_then_is_not_observing() -> None:
    coverage = begun(ALWAYS, 8)
    for second in range(0, 3600, 5):
        coverage.look(at(8) + second)
    assert coverage.report(at(9), hours=25).seen == (0, 0)


def test_what_is_kept_and_said_is_eight_days_and_small(tmp_path: Path) -> None:
    coverage = begun(ALWAYS, 0)
    coverage._looked = dict.fromkeys(range(int(at(0) // 60), int(at(24 * 12) // 60)), 60.0)
    kept = coverage.to_keep(at(24 * 12))
    assert len(kept) == 191
    said = coverage.report(at(24 * 12), hours=192)
    assert len(said.open) == 192
    assert len(said.encode()) < 2048
    memory = Memory(tmp_path / "coverage.json")
    assert memory.write(hours_as(kept))
    assert (tmp_path / "coverage.json").stat().st_size < 8192
    assert hours_of(memory.read()) == kept


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"[1]", b'{"hours":[1]}', b'{"hours":{"x":"1","7":"zz","8":3}}'])
def test_a_broken_memory_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "coverage.json").write_bytes(content)
    assert hours_of(Memory(tmp_path / "coverage.json").read()) == {}


def test_a_disk_that_does_not_take_it_stops_nothing(tmp_path: Path) -> None:
    assert not Memory(tmp_path / "missing" / "coverage.json").write({})


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 600), st.booleans(), st.floats(-1e5, 1e5), st.booleans()), min_size=1, max_size=12
    )
)
def test_no_sequence_of_clocks_and_gaps_makes_more_minutes_than_were_looked_at(
    steps: list[tuple[int, bool, float, bool]],
) -> None:
    coverage, now, looked = Coverage(ALWAYS, {}, begun_s=0.0, offset_s=DAY), 0.0, 0
    for seconds, looking, offset, synchronised in steps:
        for _ in range(seconds):
            now += 1
            if looking:
                coverage.look(now)
                looked += 1
        coverage.set_clock(DAY + offset, synchronised=synchronised)
        seen = sum(bits.bit_count() for bits in coverage.to_keep(now).values())
        assert seen * 30 <= looked + 3 * len(steps)
        assert sum(coverage.report(now, hours=192).seen) * 30 <= looked + 3 * len(steps)


def test_hours_that_change_hold_for_what_is_told_from_then_on() -> None:
    coverage = begun(ALWAYS, 6)
    look(coverage, at(6), at(9))
    coverage.opening = SHOP
    assert coverage.report(at(9), hours=25).open == (0, 0, 60, 0)
    coverage.opening = Opening.of([], "UTC", [datetime.fromtimestamp(DAY, UTC).date()])
    said = coverage.report(at(9), hours=25)
    assert (said.open, said.today) == ((0, 0, 0, 0), None)
