"""One door's page: today against what is usual, its last weeks, and how its device is doing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from cloud.counts.bins import Watch, watch
from cloud.counts.cells import Cell
from cloud.counts.periods import HOUR, Period, day_begin, local_day
from cloud.counts.trust import Observed
from cloud.counts.usual import Band, Heat, heat, hour_of, same_weekdays, usual
from cloud.store.doors import Site, read_sites
from cloud.store.passes import KindCount, hour_passes, kind_counts, observed_by_hour
from cloud.store.store import Store
from cloud.web.alerts import AlertAnswer, Alerts
from cloud.web.answers import Door, Tally
from cloud.web.compliance import Compliance, Estimate
from cloud.web.estimates import ByZone
from cloud.web.spans import Bin, Span, bins, midnight
from cloud.web.views import Views
from contract.events import Direction
from contract.labels import Label


@dataclass(frozen=True, slots=True)
class Slot:
    """One hour of today beside its usual."""

    start: datetime
    passes: int | None  # None: a gap
    watch: Watch
    band: Band | None
    running: bool


@dataclass(frozen=True, slots=True)
class LineCount:
    """One of a door's lines."""

    name: str  # "": the camera has only one
    tally: Tally


@dataclass(frozen=True, slots=True)
class DoorPage:
    """Everything that the page shows."""

    door: Door
    site: Site | None
    zone: ZoneInfo
    day: date  # today's
    until: datetime  # midnight, when it is over
    alerts: Sequence[AlertAnswer]
    slots: Sequence[Slot]
    today: Estimate
    usual: Estimate  # of the same weekdays before, together
    weeks: int  # of them that had any passes
    start: datetime  # of the last weeks
    end: datetime
    month: Compliance
    bins: Sequence[Bin]
    tally: Tally  # of the same weeks
    lines: Sequence[LineCount]
    heat: Mapping[tuple[int, int], Heat]

    @property
    def name(self) -> str:
        return self.door.title or self.door.name

    @property
    def warmest(self) -> float:
        return max((one.passes for one in self.heat.values()), default=0.0)

    @property
    def hours(self) -> list[int]:
        """The hours of the day in which anybody ever passed, and those between them."""
        busy = [hour for (_, hour), one in self.heat.items() if one.passes]
        return list(range(min(busy), max(busy) + 1)) if busy else []


class DoorPages:
    """Puts a door's page together."""

    def __init__(self, store: Store, views: Views, alerts: Alerts, estimates: ByZone) -> None:
        self._store, self._views, self._alerts, self._estimates = store, views, alerts, estimates

    def page(self, name: str, now: datetime) -> DoorPage | None:
        """None where no such door ever spoke here."""
        with self._store.engine.connect() as connection:
            sites = {one.slug: one for one in read_sites(connection)}
        zones = {slug: ZoneInfo(one.time_zone) for slug, one in sites.items()}
        door = self._views.door(name, now, lambda slug: zones.get(slug or "", self._views.zone))
        if door is None:
            return None
        site = sites.get(door.site or "")
        zone = zones.get(door.site or "", self._views.zone)
        with self._store.engine.connect() as connection:
            start, end = Span.MONTH.bounds(now, zone)
            day = local_day(end - HOUR, zone)
            weekdays = same_weekdays(day)
            first = day_begin(weekdays[-1], zone)
            passes = hour_passes(connection, first, end, name)
            seen = observed_by_hour(connection, first, end, among=(name,))
            kinds = kind_counts(connection, start, end, name)
        observed = {at: one for (at, _), one in seen.items()}
        lately = {at: one for at, one in observed.items() if at >= start}
        estimates = self._estimates.of(zone)
        begin = day_begin(day, zone)
        before = estimates.answer(first, begin, None, name, now, days=weekdays).total
        month = estimates.answer(start, end, Period.DAY, name, now)
        until = midnight(end, zone)
        return DoorPage(
            door=door, site=site, zone=zone, day=day, until=until,
            alerts=[one for one in self._alerts.latest() if one.closed_at is None and one.door == name],
            slots=slots(passes, observed, begin, until, now, usual(passes, observed, day, zone), zone),
            today=month.periods[-1].estimate, usual=before,
            weeks=len({local_day(at, zone) for at in passes} & set(weekdays)),
            start=start, end=end, month=month, bins=bins(month, until, now), tally=_tally(kinds), lines=_lines(kinds),
            heat=heat({at: number for at, number in passes.items() if at >= start}, lately, zone),
        )  # fmt: skip


def slots(
    passes: Mapping[datetime, int], observed: Mapping[datetime, Observed], begin: datetime, until: datetime,
    now: datetime, bands: Mapping[int, Band], zone: ZoneInfo,
) -> list[Slot]:  # fmt: skip
    """The hours of the day [begin, until); 23 or 25 of them where clocks are changed."""
    found = []
    for number in range((until - begin) // HOUR):
        at = begin + number * HOUR
        looked = observed.get(at, Observed())
        state = watch(passes.get(at, 0), looked, at, at + HOUR, now)
        gap = at not in passes and not looked.watched
        found.append(
            Slot(at, None if gap else passes.get(at, 0), state, bands.get(hour_of(at, zone)), at <= now < at + HOUR)
        )
    return found


def weekday_names(first: date = date(2024, 1, 1)) -> list[date]:
    """A Monday and the six days after it, to be written in words."""
    return [first + timedelta(days=number) for number in range(7)]


def _tally(kinds: Sequence[KindCount]) -> Tally:
    table: dict[tuple[Direction, Label], int] = {}
    for one in kinds:
        key = Direction(one.direction), Label(one.label)
        table[key] = table.get(key, 0) + one.passes
    return Tally.of(Cell(table))


def _lines(kinds: Sequence[KindCount]) -> list[LineCount]:
    names = sorted({one.line for one in kinds})
    return [LineCount(name, _tally([one for one in kinds if one.line == name])) for name in names]
