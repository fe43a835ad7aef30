"""The statements about coverage: which minutes of a door's opening hours were looked at, hour by hour."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, select
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store.schema import coverage
from contract.health import Coverage

HOUR = timedelta(hours=1)
ROWS_AT_ONCE = 2_000
MOST_REMEMBERED = 20_000  # devices: some 20 MB
OLDEST = timedelta(days=30)  # as for passes: what claims to be older was told by a wrong clock


@dataclass(frozen=True, slots=True)
class CoveredHour:
    """Minutes of one UTC hour that a door was open, and those of them that were looked at."""

    device: str
    hour: datetime
    open_minutes: int
    seen_minutes: int
    clock_synchronised: bool


class Told:
    """The coverage that this process has committed of each device, so that a heartbeat costs the hour that moved and not all it tells."""

    def __init__(self) -> None:
        self._newest: dict[str, Coverage] = {}
        self._since: datetime | None = None

    def moved(self, device: str, told: Coverage) -> list[CoveredHour]:
        """The hours of `told` that are not known to be here as they are told."""
        known = self._newest.get(device)
        if known is None or known.clock_synchronised is not told.clock_synchronised:
            return _hours(device, told)
        shift, rest = divmod(told.since - known.since, HOUR)
        if rest:
            return _hours(device, told)
        before = dict(enumerate(zip(known.open, known.seen, strict=True), -shift))
        return [
            _hour(device, told, number)
            for number, minutes in enumerate(zip(told.open, told.seen, strict=True))
            if before.get(number) != minutes
        ]

    def remember(self, newest: Mapping[str, Coverage], now: datetime) -> None:
        """These are committed. Now and then all is forgotten: a database may be brought back to an earlier day."""
        if self._since is None or now - self._since > HOUR or len(self._newest) > MOST_REMEMBERED:
            self._newest.clear()
            self._since = now
        self._newest |= newest


def write_coverage(connection: Connection, hours: Sequence[CoveredHour], now: datetime) -> None:
    """Keep the greater number of each hour, so that late, repeated and shortened reports do no harm, as `merged` says.

    What a synchronised clock says replaces what one said that was not, and never the other way round. Hours that
    cannot be true are left out.
    """
    rows: dict[tuple[str, datetime], CoveredHour] = {}
    for one in hours:
        if now - OLDEST <= one.hour <= now:
            rows[one.device, one.hour] = merged(rows.get((one.device, one.hour)), one)
    if not rows:
        return
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(coverage)
    new, known = insert.excluded, coverage.c
    better = new.clock_synchronised & ~known.clock_synchronised
    worse = known.clock_synchronised & ~new.clock_synchronised

    def greater(name: str) -> ColumnElement[int]:
        return case((better, new[name]), (worse, known[name]), (new[name] > known[name], new[name]), else_=known[name])

    statement = insert.on_conflict_do_update(
        index_elements=[known.device, known.hour],
        set_={name: greater(name) for name in ("open_minutes", "seen_minutes")}
        | {"clock_synchronised": known.clock_synchronised | new.clock_synchronised},
    )
    connection.execute(statement, [_row(rows[key]) for key in sorted(rows)])


def merged(known: CoveredHour | None, told: CoveredHour) -> CoveredHour:
    """What is known of an hour after it was told once more; in whatever order, with the same result."""
    if known is None or (told.clock_synchronised and not known.clock_synchronised):
        return told
    if known.clock_synchronised and not told.clock_synchronised:
        return known
    return CoveredHour(
        known.device, known.hour, max(known.open_minutes, told.open_minutes),
        max(known.seen_minutes, told.seen_minutes), known.clock_synchronised,
    )  # fmt: skip


def covered_hours(
    connection: Connection, start: datetime, end: datetime, *, device: str | None = None
) -> Iterator[CoveredHour]:
    """The UTC hours that begin in [start, end), oldest first, a few thousand in memory at a time."""
    query = select(coverage).where(coverage.c.hour >= start, coverage.c.hour < end).order_by(coverage.c.hour)
    if device is not None:
        query = query.where(coverage.c.device == device)
    for row in connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}):
        yield CoveredHour(*row)


def _hours(device: str, told: Coverage) -> list[CoveredHour]:
    return [_hour(device, told, number) for number in range(len(told.open))]


def _hour(device: str, told: Coverage, number: int) -> CoveredHour:
    first = told.since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return CoveredHour(device, first + number * HOUR, told.open[number], told.seen[number], told.clock_synchronised)


def _row(hour: CoveredHour) -> dict[str, Any]:
    return {name: getattr(hour, name) for name in CoveredHour.__slots__}
