"""Days, weeks and months of the site's zone, over counts that are kept by UTC hours."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
# An hour belongs to the day in which it ends, so that a day of a half-hour zone begins with the hour that holds its midnight.
LAST_MINUTE = 59


class Period(StrEnum):
    """How long a group of counts is; days, weeks (from Monday) and months are the site's zone's."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def local_day(hour: datetime, zone: ZoneInfo) -> date:
    """The day that a UTC hour is counted under."""
    return (hour + timedelta(minutes=LAST_MINUTE)).astimezone(zone).date()


def first_day(day: date, period: Period) -> date:
    """The first day of the period that `day` lies in."""
    match period:
        case Period.WEEK:
            return day - timedelta(days=day.weekday())
        case Period.MONTH:
            return day.replace(day=1)
        case _:
            return day


def next_first_day(day: date, period: Period) -> date:
    """The first day after the period that begins with `day`."""
    match period:
        case Period.WEEK:
            return day + timedelta(days=7)
        case Period.MONTH:
            return (day.replace(day=1) + timedelta(days=31)).replace(day=1)
        case _:
            return day + timedelta(days=1)


def day_begin(day: date, zone: ZoneInfo) -> datetime:
    """The UTC hour with which a day begins."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
    return midnight.replace(minute=0, second=0, microsecond=0)


def day_start(now: datetime, zone: ZoneInfo) -> datetime:
    """The UTC hour with which today began: the day under which the hour that runs is counted."""
    return day_begin(local_day(hour_start(now), zone), zone)


def hour_start(now: datetime) -> datetime:
    """The UTC hour that runs."""
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def periods(start: datetime, end: datetime, period: Period, zone: ZoneInfo) -> Iterator[date]:
    """The first days of all periods that [start, end) touches; not for hours."""
    day = first_day(local_day(start, zone), period)
    while day_begin(day, zone) < end:
        yield day
        day = next_first_day(day, period)


def offsets(start: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[datetime, int]]:
    """From which UTC hour on the zone is how many minutes ahead of UTC; the first begins at or before `start`."""
    found: list[tuple[datetime, int]] = []
    at = hour_start(start)
    while at < end:
        if not found or _minutes(at, zone) != found[-1][1]:
            change = at
            while found and _minutes(change - HOUR, zone) != found[-1][1]:
                change -= HOUR
            found.append((change, _minutes(at, zone)))
        at += timedelta(days=1)
    if found and _minutes(end, zone) != found[-1][1]:
        change = hour_start(end)
        while _minutes(change - HOUR, zone) != found[-1][1]:
            change -= HOUR
        found.append((change, _minutes(end, zone)))
    return found


def _minutes(at: datetime, zone: ZoneInfo) -> int:
    ahead = at.astimezone(zone).utcoffset() or timedelta()
    return int(ahead.total_seconds() // 60)
