"""The statements that read counts by day, by door and release, and one by one for exports; `among` narrows to some doors."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Date, Select, case, cast, exists, func, literal, select
from sqlalchemy import Interval as SqlInterval
from sqlalchemy import String as Text
from sqlalchemy.orm import aliased

from cloud.counts.periods import LAST_MINUTE, local_day, offsets
from cloud.counts.trust import Gap, Observed
from cloud.store.schema import boots, coverage, hours
from contract.events import Direction
from contract.labels import LABELS, Label

ROWS_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class DayCount:
    """Passes of one door on one day of the zone, of one label, seen by one release."""

    device: str
    day: str  # ISO
    release: int
    label: str
    passes: int
    hour: datetime | None = None  # where hours are kept apart


@dataclass(frozen=True, slots=True)
class KindCount:
    """Passes of one line, direction and label."""

    line: str
    direction: str
    label: str
    passes: int


@dataclass(frozen=True, slots=True)
class HourRow:
    """One row of the hour counts, whole."""

    hour: datetime
    device: str
    line: str
    direction: str
    label: str
    release: int
    passes: int


def day_counts(
    connection: Connection, start: datetime, end: datetime, zone: ZoneInfo, *, among: Collection[str] | None = None
) -> list[DayCount]:
    """Passes of the UTC hours that begin in [start, end), by the zone's days."""
    day = _local_day(connection, hours.c.hour, start, end, zone).label("day")
    keys: tuple[ColumnElement[Any], ...] = (hours.c.device, day, hours.c.release, hours.c.label)
    query = (
        select(*keys, func.sum(hours.c.passes))
        .where(hours.c.hour >= start, hours.c.hour < end)
        .group_by(hours.c.device, day, hours.c.release, hours.c.label)
    )
    return [
        DayCount(row[0], row[1], row[2], row[3], int(row[4]))
        for row in connection.execute(_of(query, hours.c.device, among))
    ]


def hour_day_counts(
    connection: Connection, start: datetime, end: datetime, zone: ZoneInfo, *, among: Collection[str] | None = None
) -> list[DayCount]:
    """The same with the UTC hours kept apart."""
    keys = (hours.c.device, hours.c.hour, hours.c.release, hours.c.label)
    query = select(*keys, func.sum(hours.c.passes)).where(hours.c.hour >= start, hours.c.hour < end).group_by(*keys)
    day_of = cache(lambda at: local_day(at, zone).isoformat())
    return [
        DayCount(row[0], day_of(row[1]), row[2], row[3], int(row[4]), row[1])
        for row in connection.execute(_of(query, hours.c.device, among))
    ]


def hour_passes(connection: Connection, start: datetime, end: datetime, device: str) -> dict[datetime, int]:
    """A door's passes by UTC hour, whatever they were; hours without any are not there."""
    query = (
        select(hours.c.hour, func.sum(hours.c.passes))
        .where(hours.c.device == device, hours.c.hour >= start, hours.c.hour < end)
        .group_by(hours.c.hour)
    )
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def kind_counts(connection: Connection, start: datetime, end: datetime, device: str) -> list[KindCount]:
    """A door's passes of the UTC hours that begin in [start, end), by line, direction and label."""
    keys = (hours.c.line, hours.c.direction, hours.c.label)
    query = (
        select(*keys, func.sum(hours.c.passes))
        .where(hours.c.device == device, hours.c.hour >= start, hours.c.hour < end)
        .group_by(*keys)
        .order_by(*keys)
    )
    return [KindCount(row[0], row[1], row[2], int(row[3])) for row in connection.execute(query)]


def table_of_passes(
    connection: Connection, start: datetime, end: datetime, *, among: Collection[str] | None = None
) -> dict[tuple[Direction, Label], int]:
    """All passes of the UTC hours that begin in [start, end), or those of some doors, by direction and label."""
    keys = [(way, label) for way in Direction for label in LABELS]
    sums = [
        func.sum(hours.c.passes).filter(hours.c.direction == way.value, hours.c.label == label.value)
        for way, label in keys  # one pass over the rows: grouped, SQLite would sort them
    ]
    query = select(*sums).where(hours.c.hour >= start, hours.c.hour < end)
    numbers = connection.execute(_of(query, hours.c.device, among)).one()
    return {key: int(number) for key, number in zip(keys, numbers, strict=True) if number}


def observed_by_day(
    connection: Connection, start: datetime, end: datetime, zone: ZoneInfo, *, among: Collection[str] | None = None
) -> dict[tuple[str, str], Observed]:
    """By door and day of the zone, what was looked at in the UTC hours that begin in [start, end)."""
    day = _local_day(connection, coverage.c.hour, start, end, zone).label("day")
    query = (
        select(coverage.c.device, day, *_sums())
        .where(coverage.c.hour >= start, coverage.c.hour < end)
        .group_by(coverage.c.device, day)
    )
    return {
        (row[0], row[1]): Observed(*map(int, row[2:]))
        for row in connection.execute(_of(query, coverage.c.device, among))
    }


def observed_by_hour(
    connection: Connection,
    start: datetime,
    end: datetime,
    *,
    among: Collection[str] | None = None,
    by_door: bool = False,
) -> dict[tuple[datetime, str | None], Observed]:
    """By UTC hour, and by door where they are kept apart."""
    keys: tuple[ColumnElement[Any], ...] = (coverage.c.hour, coverage.c.device) if by_door else (coverage.c.hour,)
    query = select(*keys, *_sums()).where(coverage.c.hour >= start, coverage.c.hour < end).group_by(*keys)
    first = len(keys)
    return {
        (row[0], row[1] if by_door else None): Observed(*map(int, row[first:]))
        for row in connection.execute(_of(query, coverage.c.device, among))
    }


def observed_by_door(
    connection: Connection, start: datetime, end: datetime, *, among: Collection[str] | None = None
) -> dict[str, Observed]:
    """By door, of the UTC hours that begin in [start, end)."""
    query = select(coverage.c.device, *_sums()).where(coverage.c.hour >= start, coverage.c.hour < end)
    grouped = _of(query, coverage.c.device, among).group_by(coverage.c.device)
    return {row[0]: Observed(*map(int, row[1:])) for row in connection.execute(grouped)}


def hour_rows(
    connection: Connection, start: datetime, end: datetime, *, device: str | None = None
) -> Iterator[HourRow]:
    """The hour counts of [start, end), oldest first, a few thousand in memory at a time."""
    columns = (
        hours.c.hour,
        hours.c.device,
        hours.c.line,
        hours.c.direction,
        hours.c.label,
        hours.c.release,
        hours.c.passes,
    )
    query = select(*columns).where(hours.c.hour >= start, hours.c.hour < end).order_by(hours.c.hour)
    if device is not None:
        query = query.where(hours.c.device == device)
    for row in connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}):
        yield HourRow(*row)


def gaps(connection: Connection, start: datetime, end: datetime, *, among: Collection[str] | None = None) -> list[Gap]:
    """The boots with passes that are not here and that may have been in [start, end)."""
    later = aliased(boots)
    next_one = later.c.device == boots.c.device, later.c.first_seen > boots.c.first_seen
    until = select(func.min(later.c.first_seen)).where(*next_one).correlate(boots).scalar_subquery()
    over = exists().where(*next_one, later.c.first_seen <= start).correlate(boots)
    query = select(boots.c.device, boots.c.first_seen, until, boots.c.expected - boots.c.stored).where(
        boots.c.expected > boots.c.stored, boots.c.first_seen < end, (boots.c.first_seen >= start) | ~over
    )
    return [Gap(row[0], row[1], row[2], int(row[3])) for row in connection.execute(_of(query, boots.c.device, among))]


def _of(query: Select[Any], device: ColumnElement[str], among: Collection[str] | None) -> Select[Any]:
    """Only these doors' rows; None leaves all."""
    return query if among is None else query.where(device.in_(among))


def _sums() -> tuple[ColumnElement[Any], ...]:
    unsure = func.sum(case((coverage.c.clock_synchronised, 0), else_=1))
    return func.sum(coverage.c.open_minutes), func.sum(coverage.c.seen_minutes), func.count(), unsure


def _local_day(
    connection: Connection, hour: ColumnElement[Any], start: datetime, end: datetime, zone: ZoneInfo
) -> ColumnElement[str]:
    """The zone's day of an hour as ISO text, by the same zone tables as everywhere else: Python's."""
    first, *rest = offsets(start, end, zone)
    if connection.dialect.name == "sqlite":
        shifts: Any = literal(f"{first[1] + LAST_MINUTE} minutes")
        if rest:
            whens = [(hour >= since, f"{minutes + LAST_MINUTE} minutes") for since, minutes in reversed(rest)]
            shifts = case(*whens, else_=shifts)
        return func.date(hour, shifts, type_=Text)
    ahead: Any = literal(timedelta(minutes=first[1] + LAST_MINUTE), SqlInterval)
    if rest:
        known = [
            (hour >= since, literal(timedelta(minutes=m + LAST_MINUTE), SqlInterval)) for since, m in reversed(rest)
        ]
        ahead = case(*known, else_=ahead)
    return cast(cast(func.timezone("UTC", hour) + ahead, Date), Text)
