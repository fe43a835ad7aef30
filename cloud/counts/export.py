"""Hour counts folded into the rows of an export, as they stream by; and text that no spreadsheet takes for a formula."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Protocol
from zoneinfo import ZoneInfo

from cloud.counts.claims import LEAST_PASSES
from cloud.counts.periods import HOUR, Period, day_begin, first_day, local_day, next_first_day
from contract.labels import LABELS

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
           "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip


class Counted(Protocol):
    """One row of the hour counts."""

    @property
    def hour(self) -> datetime: ...
    @property
    def device(self) -> str: ...
    @property
    def line(self) -> str: ...
    @property
    def direction(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def release(self) -> int: ...
    @property
    def passes(self) -> int: ...


class Covered(Protocol):
    """What was looked at of one hour."""

    @property
    def hour(self) -> datetime: ...
    @property
    def device(self) -> str: ...
    @property
    def open_minutes(self) -> int: ...
    @property
    def seen_minutes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ExportRow:
    """Passes of one door, line, direction, release and label in one period.

    A period that was looked at and in which nobody passed is one row with nought passes, without a direction, label and
    release. One that nobody is known to have looked at has no row.
    """

    start: datetime  # UTC
    end: datetime
    day: str  # the first of the period, in the site's zone
    door: str
    line: str
    direction: str | None
    release: int | None
    label: str | None
    passes: int
    share: float | None  # of this label among the passes of its direction, line and release; None below 20 of them
    open_minutes: int | None  # of the door in the whole period; None: not known
    seen_minutes: int | None


COLUMNS = tuple(ExportRow.__slots__)


def rows(
    counted: Iterable[Counted],
    covered: Iterable[Covered],
    period: Period,
    zone: ZoneInfo,
    *,
    start: datetime,
    end: datetime,
) -> Iterator[ExportRow]:
    """Both in the order of their hours, of [start, end); a row as soon as its period is over: one period is all that is kept."""
    place = _places(period, zone, start, end)
    looked = groupby(covered, lambda one: place(one.hour))

    def next_looked() -> tuple[_Place, list[Covered]] | None:
        found = next(looked, None)
        return (found[0], list(found[1])) if found else None

    late = next_looked()
    for now, group in groupby(counted, lambda one: place(one.hour)):
        while late and late[0].start < now.start:
            yield from _period(late[0], (), late[1])
            late = next_looked()
        mine = late[1] if late and late[0] == now else []
        yield from _period(now, group, mine)
        if mine:
            late = next_looked()
    while late:
        yield from _period(late[0], (), late[1])
        late = next_looked()


def plain(text: str) -> str:
    """Text for a CSV cell: what a spreadsheet would take for a formula gets an apostrophe in front."""
    return f"'{text}" if text.startswith(FORMULA) else text


@dataclass(frozen=True, slots=True)
class _Place:
    start: datetime
    end: datetime
    day: str


def _places(period: Period, zone: ZoneInfo, start: datetime, end: datetime) -> Callable[[datetime], _Place]:
    known: dict[datetime, _Place] = {}

    def place(hour: datetime) -> _Place:
        found = known.get(hour)
        if found is None:
            known.clear()  # hours come in order: the last one is enough
            day = local_day(hour, zone)
            if period is Period.HOUR:
                found = _Place(hour.astimezone(UTC), hour.astimezone(UTC) + HOUR, day.isoformat())
            else:
                first = first_day(day, period)
                begin, until = day_begin(first, zone), day_begin(next_first_day(first, period), zone)
                found = _Place(max(start, begin), min(end, until), first.isoformat())
            known[hour] = found
        return found

    return place


def _period(place: _Place, counted: Iterable[Counted], covered: Iterable[Covered]) -> Iterator[ExportRow]:
    minutes: dict[str, tuple[int, int]] = {}
    for hour in covered:
        before = minutes.get(hour.device, (0, 0))
        minutes[hour.device] = (before[0] + hour.open_minutes, before[1] + hour.seen_minutes)
    groups: dict[tuple[str, str, str, int], dict[str, int]] = {}
    for one in counted:
        group = groups.setdefault((one.device, one.line, one.direction, one.release), dict.fromkeys(LABELS, 0))
        group[one.label] += one.passes
    passed = {key[0] for key in groups}
    nobody = [(door, "", "", -1) for door, (_, seen) in minutes.items() if seen and door not in passed]
    for door, line, direction, release in sorted([*groups, *nobody]):
        is_open, seen = minutes.get(door, (None, None))
        if release < 0:
            yield ExportRow(place.start, place.end, place.day, door, "", None, None, None, 0, None, is_open, seen)
            continue
        group = groups[door, line, direction, release]
        whole = sum(group.values())
        for label in LABELS:
            share = group[label] / whole if whole >= LEAST_PASSES else None
            yield ExportRow(
                place.start,
                place.end,
                place.day,
                door,
                line,
                direction,
                release,
                label,
                group[label],
                share,
                is_open,
                seen,
            )
