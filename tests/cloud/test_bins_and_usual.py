"""How far a stretch was watched, where a model began, and what is usual on a weekday."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cloud.counts.bins import Watch, begun, watch
from cloud.counts.trust import Observed
from cloud.counts.usual import Band, heat, same_weekdays, usual

PARIS = ZoneInfo("Europe/Paris")
HOUR = timedelta(hours=1)
NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)  # a Monday, 14:30 in Paris
TODAY = date(2026, 5, 4)


@pytest.mark.parametrize(
    ("passes", "observed", "hours_ago", "said"),
    [
        (0, Observed(), -1, Watch.AHEAD),
        (0, Observed(), 0, Watch.AHEAD),  # this hour was not told of yet
        (3, Observed(), 0, Watch.UNTOLD),
        (0, Observed(), 2, Watch.UNTOLD),
        (9, Observed(), 2, Watch.UNTOLD),  # counted by a door too old to tell
        (0, Observed(0, 0, 1), 2, Watch.CLOSED),
        (2, Observed(0, 0, 1), 2, Watch.WATCHED),  # somebody came before opening time
        (0, Observed(60, 0, 1), 2, Watch.UNSEEN),
        (5, Observed(60, 0, 1), 2, Watch.PARTLY),
        (0, Observed(60, 60, 1), 2, Watch.WATCHED),
        (5, Observed(120, 115, 2), 2, Watch.WATCHED),
        (5, Observed(60, 56, 1), 2, Watch.PARTLY),
    ],
)
def test_a_stretch_is_only_called_watched_where_somebody_looked(
    passes: int, observed: Observed, hours_ago: int, said: Watch
) -> None:
    begin = NOW.replace(minute=0) - hours_ago * HOUR
    assert watch(passes, observed, begin, begin + HOUR, NOW) is said


@pytest.mark.parametrize(
    ("releases", "marks"),
    [
        ([], []),
        ([[1], [1], [1]], [None, None, None]),
        ([[], [1], [1, 2], [2]], [None, None, 2, None]),
        ([[1], [], [2], [1], [2, 3]], [None, None, 2, None, 3]),  # one that comes back is not new
        ([[1, 2], [4, 3]], [None, 4]),
    ],
)
def test_a_model_is_marked_where_it_first_counts_and_another_did_before(
    releases: list[list[int]], marks: list[int | None]
) -> None:
    assert begun(releases) == marks


def mondays(
    *numbers: int, seen: int = 60, zone: ZoneInfo = PARIS
) -> tuple[dict[datetime, int], dict[datetime, Observed]]:
    """Passes from 9 to 10 of the Mondays before, the latest first; -1: nobody looked."""
    passes, observed = {}, {}
    for day, number in zip(same_weekdays(TODAY), numbers, strict=False):
        at = datetime(day.year, day.month, day.day, 9, tzinfo=zone).astimezone(UTC)
        observed[at] = Observed(60, 0 if number < 0 else seen, 1)
        if number > 0:
            passes[at] = number
    return passes, observed


@pytest.mark.parametrize(
    ("numbers", "seen", "band"),
    [
        ((10, 20, 30), 60, Band(12, 20, 28, 3)),
        ((10, 0, 30), 60, Band(2, 10, 26, 3)),  # a watched hour without passes is a nought
        ((10, -1, 30), 60, None),  # one that nobody watched is none
        ((10, -1, 30, 20), 60, Band(12, 20, 28, 3)),
        ((10, 20), 60, None),
        ((10, 20, 30), 48, Band(12, 20, 28, 3)),
        ((10, 20, 30), 47, None),
        (tuple(range(100, 109)), 60, Band(100.7, 103.5, 106.3, 8)),  # the ninth Monday is too long ago
    ],
)
def test_usual_is_what_watched_hours_of_the_same_weekday_had(
    numbers: tuple[int, ...], seen: int, band: Band | None
) -> None:
    found = usual(*mondays(*numbers, seen=seen), TODAY, PARIS).get(9)
    if band is None or found is None:
        assert found is band
    else:
        assert (found.low, found.median, found.high, found.days) == pytest.approx(
            (band.low, band.median, band.high, band.days)
        )


def test_an_hour_of_the_day_stays_the_same_when_clocks_change() -> None:
    """Summer time began on 29 March: nine o'clock was 8 UTC before, and 7 UTC after."""
    passes, observed = mondays(*range(10, 18))
    assert {at.hour for at in observed} == {7, 8}
    assert set(usual(passes, observed, TODAY, PARIS)) == {9}


def test_other_weekdays_say_nothing() -> None:
    passes, observed = mondays(10, 20, 30)
    shifted = {at + timedelta(days=1): one for at, one in observed.items()}
    assert usual(passes, shifted, TODAY, PARIS) == {}


def test_the_heat_of_an_hour_is_its_mean_over_the_hours_that_were_watched() -> None:
    warm = heat(*mondays(10, 0, -1, 32), PARIS)
    assert set(warm) == {(0, 9)}
    assert (warm[0, 9].passes, warm[0, 9].hours) == (14, 3)


def test_a_zone_of_half_hours_counts_an_hour_under_the_one_in_which_it_ends() -> None:
    at = datetime(2026, 5, 3, 18, tzinfo=UTC)  # 23:30 to 00:30 in Kolkata
    assert set(heat({at: 3}, {at: Observed(60, 60, 1)}, ZoneInfo("Asia/Kolkata"))) == {(0, 0)}
