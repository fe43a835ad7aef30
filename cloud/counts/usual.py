"""What is usual at a door: the same weekday's hours in the weeks before, and passes by hour and weekday."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from cloud.counts.periods import LAST_MINUTE, local_day
from cloud.counts.trust import Observed

WEEKS, LEAST_DAYS = 8, 3
WATCHED = 0.8  # of an hour's open minutes: with less its number says little


@dataclass(frozen=True, slots=True)
class Band:
    """Passes of one hour of the day on `days` days that were watched: median, and 10th to 90th percentile."""

    low: float
    median: float
    high: float
    days: int


@dataclass(frozen=True, slots=True)
class Heat:
    """Mean passes of one hour of one weekday, of `hours` that were watched."""

    passes: float
    hours: int


def hour_of(at: datetime, zone: ZoneInfo) -> int:
    """Which hour of the day a UTC hour is counted under; as with days, the one in which it ends."""
    return (at + timedelta(minutes=LAST_MINUTE)).astimezone(zone).hour


def same_weekdays(today: date) -> list[date]:
    """The days before that are compared with today, the latest first."""
    return [today - timedelta(weeks=back) for back in range(1, WEEKS + 1)]


def usual(
    passes: Mapping[datetime, int], observed: Mapping[datetime, Observed], today: date, zone: ZoneInfo
) -> dict[int, Band]:
    """By hour of the day; hours that were watched on fewer than LEAST_DAYS of those days have none."""
    days = frozenset(same_weekdays(today))
    hours: dict[int, list[int]] = defaultdict(list)
    for at, one in observed.items():
        if local_day(at, zone) in days and _watched(one):
            hours[hour_of(at, zone)].append(passes.get(at, 0))
    return {hour: _band(some) for hour, some in sorted(hours.items()) if len(some) >= LEAST_DAYS}


def heat(
    passes: Mapping[datetime, int], observed: Mapping[datetime, Observed], zone: ZoneInfo
) -> dict[tuple[int, int], Heat]:
    """By weekday (Monday is 0) and hour of the day; what was never watched has no value."""
    sums: dict[tuple[int, int], list[int]] = defaultdict(list)
    for at, one in observed.items():
        if _watched(one):
            sums[local_day(at, zone).weekday(), hour_of(at, zone)].append(passes.get(at, 0))
    return {key: Heat(sum(some) / len(some), len(some)) for key, some in sums.items()}


def _band(some: list[int]) -> Band:
    low, median, high = (float(one) for one in np.quantile(some, (0.1, 0.5, 0.9)))
    return Band(low, median, high, len(some))


def _watched(one: Observed) -> bool:
    return one.share is not None and one.share >= WATCHED
