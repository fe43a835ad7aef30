"""The overview: what may be said of all doors or of a site's, hour by hour or day by day, and door by door."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from cloud.counts.cells import Cell
from cloud.counts.periods import HOUR, Period
from cloud.store.doors import Site, read_sites
from cloud.store.evidence import evidence_version, read_models
from cloud.store.passes import table_of_passes
from cloud.store.store import Store
from cloud.web.alerts import AlertAnswer, Alerts
from cloud.web.answers import Door, Tally
from cloud.web.compliance import Compliance, Estimate, RankAnswer
from cloud.web.estimates import ByZone
from cloud.web.spans import Bin, Shown, Span, bins, midnight, shown
from cloud.web.views import Views

KEPT = 24  # answers that are remembered
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class DoorLine:
    """One door as the overview lists it."""

    door: Door
    estimate: Estimate
    rank: RankAnswer | None
    alerts: Sequence[AlertAnswer]

    @property
    def name(self) -> str:
        return self.door.title or self.door.name

    @property
    def shown(self) -> Shown | None:
        return shown(self.estimate)


@dataclass(frozen=True, slots=True)
class Group:
    """A site's doors by name; without a site where `site` is None."""

    site: Site | None
    doors: Sequence[DoorLine]


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that the page shows."""

    span: Span
    sites: Sequence[Site]
    site: Site | None
    zone: ZoneInfo
    start: datetime
    end: datetime
    until: datetime  # midnight, when its last day is over
    answer: Compliance
    tally: Tally
    bins: Sequence[Bin]
    groups: Sequence[Group]
    alerts: Sequence[AlertAnswer]

    @property
    def coming(self) -> list[datetime]:
        """The hours of today that have not begun: the chart's axis names them too."""
        if self.span.period is not Period.HOUR:
            return []
        return [self.end + number * HOUR for number in range((self.until - self.end) // HOUR)]

    @property
    def doors(self) -> list[DoorLine]:
        return [one for group in self.groups for one in group.doors]

    @property
    def ranked(self) -> int:
        """Doors that have a place at all."""
        return sum(1 for one in self.doors if one.rank)


class Remembered:
    """Answers that stay right for as long as `version` is the same: readers of one page cost what one of them costs."""

    def __init__(self, version: Callable[[], object]) -> None:
        self._version = version
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, _Kept] = OrderedDict()

    def get(self, key: object, make: Callable[[], Result]) -> Result:
        """What `make` says, or said under the same version; who asks while it is made waits, and only for that."""
        version = self._version()  # before it is made: what changes meanwhile makes it again
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        with kept.lock:
            if kept.version != version:
                kept.value, kept.version = make(), version
            return kept.value  # type: ignore[no-any-return]


class _Kept:
    """One answer."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.version: object = None
        self.value: Any = None


class Overviews:
    """Puts overviews together."""

    def __init__(self, store: Store, views: Views, alerts: Alerts, estimates: ByZone) -> None:
        self._store, self._views, self._alerts, self._estimates = store, views, alerts, estimates
        self._remembered = Remembered(self._version)

    def overview(self, span_text: str, site_slug: str, now: datetime) -> Overview:
        """As an address asks for it: a span that is none is today, a site that is none is all of them."""
        with self._store.engine.connect() as connection:
            sites = read_sites(connection)
        site = next((one for one in sites if one.slug == site_slug), None)
        zone = ZoneInfo(site.time_zone) if site else self._views.zone
        span = Span.read(span_text)
        start, end = span.bounds(now, zone)
        until = midnight(end, zone)
        doors = self._views.doors_of(site.slug, zone, now) if site else self._views.doors(now)
        names = frozenset(one.name for one in doors) if site else None

        def counted() -> tuple[Compliance, Tally]:
            answer = self._estimates.of(zone).answer(start, end, span.period, None, now, among=names)
            with self._store.engine.connect() as connection:
                return answer, Tally.of(Cell(table_of_passes(connection, start, end, among=names)))

        answer, tally = self._remembered.get((start, end, names, zone.key), counted)
        alerts = [one for one in self._alerts.latest() if one.closed_at is None]
        here = [one for one in alerts if names is None or one.door in names]
        by_door = {one.door: one for one in answer.doors}
        alerts_of = defaultdict(list)
        for alert in here:
            alerts_of[alert.door].append(alert)
        lines = [
            DoorLine(one, by_door[one.name].estimate, by_door[one.name].rank, alerts_of[one.name])
            for one in doors
            if one.name in by_door  # else it spoke for the first time since
        ]
        return Overview(
            span=span, sites=sites, site=site, zone=zone, start=start, end=end, answer=answer,
            until=until, tally=tally,
            bins=bins(answer, end if span.period is Period.HOUR else until, now),
            groups=grouped(lines, sites), alerts=here,
        )  # fmt: skip

    def _version(self) -> object:
        """Everything that an answer comes from, beside its question: what doors sent, what people said of crops, the models."""
        number = self._store.change_number()
        with self._store.engine.connect() as connection:
            return number, evidence_version(connection, read_models(connection))


def grouped(lines: Sequence[DoorLine], sites: Sequence[Site]) -> list[Group]:
    """By site, in the sites' order, those without one last; doors by name."""
    ordered = sorted(lines, key=lambda one: (one.name.casefold(), one.door.name))
    known = {site.slug for site in sites}
    groups = [Group(site, [one for one in ordered if one.door.site == site.slug]) for site in sites]
    rest = [one for one in ordered if one.door.site not in known]
    return [group for group in (*groups, Group(None, rest)) if group.doors]
