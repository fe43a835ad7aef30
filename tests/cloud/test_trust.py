"""Coverage, gaps, ranks and days: what keeps a number honest."""

from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from cloud.counts.claims import Z_95, Share
from cloud.counts.periods import Period, day_begin, day_start, first_day, local_day, next_first_day, offsets, periods
from cloud.counts.ranking import Rank, ranks, widened
from cloud.counts.trust import Gap, Missing, Observed, missing, passes_or_gap
from cloud.store import schema
from cloud.store.coverage import CoveredHour, Told, merged, write_coverage
from cloud.store.evidence import FACTORY, Models
from cloud.store.passes import day_counts, gaps, observed_by_day
from cloud.store.writing import touch_devices
from contract.health import Coverage

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
NOON = NOW.replace(minute=0)
ZONES = ("UTC", "Europe/Paris", "America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham", "Australia/Lord_Howe")


def share(low: float, high: float) -> Share:
    return Share((low + high) / 2, low, high)


def places(shares: dict[str, Share | None]) -> dict[str, Rank | None]:
    """Ranks by shares whose errors have nothing in common."""
    rng = np.random.default_rng(1)
    noise = {name: rng.standard_normal(400) for name in shares}
    draws = {name: one.rate + noise[name] * (one.high - one.low) / 4 for name, one in shares.items() if one}
    return ranks(shares, draws)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({}, {}),
        ({"a": None}, {"a": None}),
        ({"a": share(0.8, 0.9), "b": share(0.5, 0.6), "c": None}, {"a": Rank(1, 1), "b": Rank(2, 2), "c": None}),
        ({"a": share(0.8, 0.9), "b": share(0.85, 0.95)}, {"a": Rank(1, 2), "b": Rank(1, 2)}),
        ({"a": share(0.8, 0.9), "b": share(0.7, 0.8)}, {"a": Rank(1, 2), "b": Rank(1, 2)}),  # they touch
        (
            {"top": share(0.9, 0.99), "wide": share(0.4, 0.95), "mid": share(0.7, 0.8), "low": share(0.1, 0.3)},
            {"top": Rank(1, 2), "wide": Rank(1, 3), "mid": Rank(2, 3), "low": Rank(4, 4)},
        ),
    ],
)
def test_doors_whose_intervals_overlap_share_their_places(
    shares: dict[str, Share | None], expected: dict[str, Rank | None]
) -> None:
    assert places(shares) == expected


INTERVALS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda pair: share(min(pair), max(pair)))


@given(st.lists(INTERVALS, max_size=5))
def test_doors_whose_intervals_touch_are_never_apart(intervals: list[Share]) -> None:
    found = places({str(number): one for number, one in enumerate(intervals)})
    for number, one in enumerate(intervals):
        rank = found[str(number)]
        assert rank is not None
        assert 1 <= rank.best <= 1 + sum(other.low > one.high for other in intervals)
        assert len(intervals) >= rank.worst >= len(intervals) - sum(other.high < one.low for other in intervals)
        assert rank.best <= rank.worst


@pytest.mark.parametrize(("doors", "range_"), [(2, 2.772), (3, 3.314), (10, 4.474), (20, 5.012), (100, 6.085)])
def test_the_range_of_equal_doors_is_the_published_one(doors: int, range_: float) -> None:
    """Studentised range, upper 5 %, infinite degrees of freedom (Harter, 1960)."""
    assert widened(doors) == pytest.approx(max(1.0, range_ / 2**0.5 / Z_95), abs=0.001)


@pytest.mark.parametrize("errors", [(0.02,), (0.005, 0.04)], ids=["alike", "of two sizes"])
def test_of_many_equal_doors_hardly_a_page_puts_one_before_another(errors: tuple[float, ...]) -> None:
    """300 pages of 40 doors: 5 % would be 15; intervals that merely do not touch order doors on far more."""
    rng = np.random.default_rng(2)
    ordered = touching = 0
    for _ in range(300):
        shares, draws = {}, {}
        for door in range(40):
            error = errors[door % len(errors)]
            rate = float(rng.normal(0.8, error))
            shares[str(door)] = Share(rate, rate - Z_95 * error, rate + Z_95 * error)
            draws[str(door)] = rng.normal(rate, error, 200)
        found = ranks(shares, draws).values()
        ordered += any(rank and (rank.best, rank.worst) != (1, 40) for rank in found)
        touching += max(one.low for one in shares.values()) <= min(one.high for one in shares.values())
    assert ordered <= 21
    assert 300 - touching > 90


def test_what_doors_have_in_common_does_not_keep_them_together() -> None:
    rng = np.random.default_rng(2)
    common = rng.normal(0, 0.01, 400)
    rates = {str(door): 0.05 + 0.045 * door for door in range(20)}
    shares = {name: Share(rate, rate - 0.022, rate + 0.022) for name, rate in rates.items()}
    together = {name: rate + common + rng.normal(0, 0.002, 400) for name, rate in rates.items()}
    apart = {name: rate + rng.normal(0, 0.0112, 400) for name, rate in rates.items()}
    assert all(rank and rank.sure for rank in ranks(shares, together).values())
    assert sum(rank is not None and rank.sure for rank in ranks(shares, apart).values()) < 10


def test_no_passes_are_none_only_where_somebody_looked() -> None:
    assert passes_or_gap(0, None) is None
    assert passes_or_gap(0, Observed(60, 0, 1)) is None
    assert passes_or_gap(0, Observed(60, 60, 1)) == 0
    assert passes_or_gap(3, None) == 3


def test_the_observed_share_is_of_the_minutes_open_and_unknown_without_any() -> None:
    assert (Observed(60, 30, 1) + Observed(60, 60, 1, 1)) == Observed(120, 90, 2, 1)
    assert Observed(120, 90, 2).share == 0.75
    assert Observed().share is None
    assert Observed(0, 0, 3).share is None  # closed


def test_missing_passes_are_a_cells_where_their_boot_lies_within_it() -> None:
    gaps = [
        Gap("a", NOON, NOON + HOUR, 2),
        Gap("a", NOON - DAY, NOON + HOUR, 10),
        Gap("a", NOON + 2 * HOUR, None, 5),
        Gap("a", NOON - 3 * DAY, NOON - 2 * DAY, 100),
    ]
    assert missing(gaps, NOON, NOON + DAY, NOON + 3 * HOUR) == Missing(known=7, unplaced=10)
    assert missing(gaps, NOON, NOON + DAY, NOON + 5 * DAY) == Missing(known=2, unplaced=15)
    assert missing([], NOON, NOON + DAY, NOW) == Missing()


def hour(seen: int, is_open: int = 60, *, synchronised: bool = True) -> CoveredHour:
    return CoveredHour("a", NOON, is_open, seen, synchronised)


TOLD_AND_KEPT = [
    ([hour(12, 12), hour(58, 60)], hour(58, 60)),  # the hour went on
    ([hour(58), hour(40)], hour(58)),  # it forgot some after a crash
    ([hour(12, 12), hour(12, 60)], hour(12, 60)),  # the camera was dark from then on
    ([hour(60, synchronised=False), hour(3, 30)], hour(3, 30)),  # the right clock knows better
    ([hour(20, synchronised=False), hour(30, synchronised=False)], hour(30, synchronised=False)),
    ([hour(5), hour(60, synchronised=False), hour(7)], hour(7)),
]


@pytest.mark.parametrize(("told", "kept"), TOLD_AND_KEPT)
def test_an_hour_told_again_keeps_the_greater_in_whatever_order(told: list[CoveredHour], kept: CoveredHour) -> None:
    for order in permutations(told):
        known: CoveredHour | None = None
        for one in order:
            known = merged(known, one)
        assert known == kept


@pytest.mark.parametrize(("told", "kept"), TOLD_AND_KEPT)
def test_the_database_keeps_the_same_however_the_reports_are_spread_over_batches(
    engine: Engine, told: list[CoveredHour], kept: CoveredHour
) -> None:
    with engine.begin() as connection:
        touch_devices(connection, [kept.device], NOW)
        for order in permutations(told):
            for batches in ([order], [[one] for one in order]):
                for batch in batches:
                    write_coverage(connection, batch, NOW)
                (row,) = connection.execute(select(schema.coverage)).all()
                assert CoveredHour(*row) == kept
                connection.execute(schema.coverage.delete())


def test_only_hours_that_moved_are_told_to_the_database_again_and_after_a_while_all() -> None:
    def told(hours: int, last: int, *, synchronised: bool = True, first: int = 0) -> Coverage:
        minutes = (*[60] * (hours - 1), last)
        return Coverage(since=NOON + first * HOUR, open=minutes, seen=minutes, clock_synchronised=synchronised)

    known = Told()
    assert len(known.moved("a", told(5, 10))) == 5
    known.remember({"a": told(5, 10)}, NOW)
    assert known.moved("a", told(5, 10)) == []
    assert [one.seen_minutes for one in known.moved("a", told(5, 11))] == [11]
    assert [one.hour for one in known.moved("a", told(6, 2))] == [NOON + 4 * HOUR, NOON + 5 * HOUR]
    assert known.moved("a", told(4, 10, first=1)) == []  # the oldest fell off
    assert [one.hour for one in known.moved("a", told(6, 10, first=-1))] == [NOON - HOUR]
    assert len(known.moved("a", told(5, 10, synchronised=False))) == 5
    assert len(known.moved("b", told(5, 10))) == 5
    known.remember({"b": told(5, 10)}, NOW + 2 * HOUR)
    assert len(known.moved("a", told(5, 10))) == 5


def test_coverage_is_kept_by_hour_and_what_cannot_be_true_is_left_out(engine: Engine) -> None:
    told = Coverage(since=NOON - 2 * HOUR, open=(60, 60, 30, 10), seen=(60, 48, 30, 10), clock_synchronised=True)
    old = Coverage(since=datetime(1970, 1, 1, tzinfo=UTC), open=(60,), seen=(60,))
    with engine.begin() as connection:
        touch_devices(connection, ["a"], NOW)
        for one in (told, old, told):
            write_coverage(connection, Told().moved("a", one), NOW)
        rows = list(connection.execute(select(schema.coverage).order_by(schema.coverage.c.hour)))
    assert [tuple(row)[1:] for row in rows] == [
        (NOON - 2 * HOUR, 60, 60, True), (NOON - HOUR, 60, 48, True), (NOON, 30, 30, True),
    ]  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
def test_an_hour_is_of_the_day_that_the_pages_call_today(zone: str) -> None:
    info, at = ZoneInfo(zone), datetime(2026, 3, 25, tzinfo=UTC)
    for number in range(24 * 14):
        now = at + number * HOUR + timedelta(minutes=59)
        begin = day_start(now, info)
        assert day_begin(local_day(now.replace(minute=0), info), info) == begin
        assert local_day(begin, info) > local_day(begin - HOUR, info)


@pytest.mark.parametrize(
    ("day", "period", "first", "following"),
    [
        (date(2026, 5, 6), Period.DAY, date(2026, 5, 6), date(2026, 5, 7)),
        (date(2026, 5, 6), Period.WEEK, date(2026, 5, 4), date(2026, 5, 11)),
        (date(2026, 5, 4), Period.WEEK, date(2026, 5, 4), date(2026, 5, 11)),
        (date(2026, 12, 31), Period.MONTH, date(2026, 12, 1), date(2027, 1, 1)),
        (date(2027, 1, 1), Period.WEEK, date(2026, 12, 28), date(2027, 1, 4)),
    ],
)
def test_weeks_begin_on_monday_and_months_on_the_first(day: date, period: Period, first: date, following: date) -> None:
    assert first_day(day, period) == first
    assert next_first_day(first, period) == following


def test_a_span_touches_all_of_its_periods() -> None:
    paris = ZoneInfo("Europe/Paris")
    span = datetime(2026, 3, 28, 22, tzinfo=UTC), datetime(2026, 3, 30, 1, tzinfo=UTC)
    assert [str(day) for day in periods(*span, Period.DAY, paris)] == ["2026-03-28", "2026-03-29", "2026-03-30"]
    assert [str(day) for day in periods(*span, Period.MONTH, paris)] == ["2026-03-01"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("start", [datetime(2025, 10, 1, 7, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)])
def test_both_databases_count_by_the_days_of_any_zone_over_changes_of_the_clock(
    engine: Engine, zone: str, start: datetime
) -> None:
    info, number = ZoneInfo(zone), 24 * 200
    hours = [start + place * HOUR for place in range(number)]
    key = {"device": "a", "direction": "in", "label": "with_mask", "release": 1, "accelerator": "cpu", "line": ""}
    with engine.begin() as connection:
        touch_devices(connection, ["a"], NOW)
        connection.execute(schema.hours.insert(), [{**key, "hour": at, "passes": 1} for at in hours])
        connection.execute(
            schema.coverage.insert(),
            [
                {"device": "a", "hour": at, "open_minutes": 60, "seen_minutes": 30, "clock_synchronised": True}
                for at in hours
            ],
        )
        found = {one.day: one.passes for one in day_counts(connection, start, hours[-1] + HOUR, info)}
        looked = observed_by_day(connection, start, hours[-1] + HOUR, info)
    expected: dict[str, int] = {}
    for at in hours:
        day = local_day(at, info).isoformat()
        expected[day] = expected.get(day, 0) + 1
    assert found == expected
    assert {day: one.hours for (_, day), one in looked.items()} == expected


def test_a_zone_without_a_change_has_one_offset() -> None:
    assert offsets(NOON, NOON + 400 * DAY, ZoneInfo("Asia/Kathmandu")) == [(NOON, 345)]
    assert [minutes for _, minutes in offsets(NOON, NOON + 400 * DAY, ZoneInfo("Europe/Paris"))] == [120, 60, 120]


def test_a_release_below_all_that_are_known_is_what_cards_came_with() -> None:
    models = Models({2: "b" * 64, 3: "c" * 64})
    assert [models.of_release(number) for number in (0, 1, 2, 4)] == [FACTORY, FACTORY, "b" * 64, "release 4"]
    assert [models.of_digest(one * 64) for one in "abc"] == [FACTORY, "b" * 64, "c" * 64]
    assert Models({}).of_release(1) == FACTORY


def test_only_boots_that_reach_into_a_span_are_read_and_nothing_is_lost_by_that(engine: Engine) -> None:
    """Against all gaps, worked out plainly: a span's missing passes are the same."""
    begun = [NOON + number * DAY for number in range(6)]
    rows: list[dict[str, Any]] = [
        {"device": device, "boot": UUID(int=1 + number), "stored": 5, "expected": 5 + lost, "first_seen": at}
        for device, losses in (("a", (1, 0, 10, 0, 100, 1000)), ("b", (0, 3, 0, 0, 0, 30)))
        for number, (at, lost) in enumerate(zip(begun, losses, strict=True))
    ]
    rows += [{"device": "c", "boot": UUID(int=1), "stored": 5, "expected": 9, "first_seen": NOON + DAY}]
    every = [
        Gap(
            row["device"], row["first_seen"],
            min((at["first_seen"] for at in rows if at["device"] == row["device"] and at["first_seen"] > row["first_seen"]), default=None),
            row["expected"] - row["stored"],
        )
        for row in rows
        if row["expected"] > row["stored"]
    ]  # fmt: skip
    now, spans = NOON + 7 * DAY, [NOON + number * DAY / 2 for number in range(-2, 15)]
    with engine.begin() as connection:
        touch_devices(connection, ["a", "b", "c"], NOW)
        connection.execute(schema.boots.insert(), rows)
        for start in spans:
            for end in (one for one in spans if one > start):
                read = gaps(connection, start, end)
                assert missing(read, start, end, now) == missing(every, start, end, now)
                mine = gaps(connection, start, end, among=["b"])
                assert sorted(map(repr, mine)) == sorted(repr(one) for one in read if one.device == "b")
        assert {one.device for one in gaps(connection, NOON + 4 * DAY, NOON + 5 * DAY)} == {"a", "c"}
        assert gaps(connection, NOON, NOON + 7 * DAY, among=[]) == []
