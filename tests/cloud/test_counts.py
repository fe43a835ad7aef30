"""Shares, their intervals, and cells of counts."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.counts.cells import EMPTY, gather, total
from cloud.counts.claims import LEAST_PASSES, share, wilson
from cloud.counts.periods import HOUR, day_start
from cloud.store.store import HourCount
from cloud.web.answers import ShareAnswer, Tally
from contract.events import Direction
from contract.labels import Label


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [  # Newcombe 1998, table I, and R's prop.test(correct = FALSE)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilsons_interval_is_the_published_one(hits: int, of: int, low: float, high: float) -> None:
    interval = wilson(hits, of)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)
    assert interval.rate == hits / of


@given(st.integers(1, 10_000), st.data())
def test_the_interval_holds_its_rate_and_stays_a_share(of: int, data: st.DataObject) -> None:
    interval = wilson(data.draw(st.integers(0, of)), of)
    assert 0 <= interval.low <= interval.rate <= interval.high <= 1


def test_a_share_of_nothing_or_more_than_all_is_refused() -> None:
    for hits, of in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="no share"):
            wilson(hits, of)


def test_too_few_passes_get_no_share() -> None:
    assert share(LEAST_PASSES - 1, LEAST_PASSES - 1) is None
    assert share(LEAST_PASSES, LEAST_PASSES) is not None


AT = datetime(2026, 5, 4, 12, tzinfo=UTC)
COUNTS = (
    HourCount("front", AT, "in", "with_mask", 30),
    HourCount("front", AT, "out", "without_mask", 8),
    HourCount("side", AT, "in", "mask_worn_incorrectly", 2),
    HourCount("side", AT + HOUR, "in", "with_mask", 5),
)


def test_compliance_is_properly_worn_masks_among_all_passes() -> None:
    cell = total(COUNTS[:3])
    assert cell.passes == 40
    assert cell.compliance == wilson(30, 40)
    assert (cell.directed(Direction.IN), cell.directed(Direction.OUT)) == (32, 8)
    assert cell.count(Direction.OUT, Label.WITHOUT_MASK) == 8


def test_cells_are_gathered_by_any_key() -> None:
    by_door = gather(COUNTS, lambda one: one.device)
    assert {name: cell.passes for name, cell in by_door.items()} == {"front": 38, "side": 7}
    assert gather((), lambda one: one.device) == {}
    assert (total(()).passes, total(()).compliance) == (0, None)


def test_a_tally_says_each_label_both_ways_and_whether_it_is_too_few_for_a_share() -> None:
    tally = Tally.of(total(COUNTS[:3]))
    assert (tally.passes, tally.entering, tally.leaving, tally.too_few) == (40, 32, 8, False)
    assert [(one.label, one.passes, one.entering, one.leaving) for one in tally.labels] == [
        (Label.WITH_MASK, 30, 30, 0), (Label.WITHOUT_MASK, 8, 0, 8), (Label.MASK_WORN_INCORRECTLY, 2, 2, 0),
    ]  # fmt: skip
    assert tally.labels[2].share == ShareAnswer.of(wilson(2, 40))
    assert tally.compliance == ShareAnswer.of(wilson(30, 40))
    few, none = Tally.of(total(COUNTS[3:])), Tally.of(EMPTY)
    assert (few.passes, few.compliance, few.too_few) == (5, None, True)
    assert (none.passes, none.compliance, none.too_few) == (0, None, False)


@pytest.mark.parametrize(
    ("zone", "now", "begins"),
    [
        ("UTC", datetime(2026, 5, 4, 0, 0, tzinfo=UTC), datetime(2026, 5, 4, tzinfo=UTC)),
        ("Europe/Paris", datetime(2026, 5, 4, 21, 59, tzinfo=UTC), datetime(2026, 5, 3, 22, tzinfo=UTC)),
        ("Europe/Paris", datetime(2026, 5, 4, 22, 0, tzinfo=UTC), datetime(2026, 5, 4, 22, tzinfo=UTC)),
        ("Europe/Paris", datetime(2026, 3, 29, 20, 0, tzinfo=UTC), datetime(2026, 3, 28, 23, tzinfo=UTC)),
        ("Asia/Kolkata", datetime(2026, 5, 4, 12, 0, tzinfo=UTC), datetime(2026, 5, 3, 18, tzinfo=UTC)),
        # the hour that holds midnight is the new day's, so that today is never an hour without a count
        ("Asia/Kolkata", datetime(2026, 5, 4, 18, 10, tzinfo=UTC), datetime(2026, 5, 4, 18, tzinfo=UTC)),
        # a midnight that is skipped, and one that comes twice
        ("America/Havana", datetime(2026, 3, 8, 12, 0, tzinfo=UTC), datetime(2026, 3, 8, 5, tzinfo=UTC)),
        ("America/Havana", datetime(2026, 11, 1, 12, 0, tzinfo=UTC), datetime(2026, 11, 1, 4, tzinfo=UTC)),
    ],
)
def test_today_begins_at_local_midnight(zone: str, now: datetime, begins: datetime) -> None:
    assert day_start(now, ZoneInfo(zone)) == begins
