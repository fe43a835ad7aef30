"""Compliance of a span, put together: counts, control labels, coverage and gaps, through the pure rules."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from math import ceil
from typing import TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select

from cloud.counts.claims import LEAST_PASSES, share
from cloud.counts.correction import Corrected, Correction, Stratum
from cloud.counts.evidence import Table, table_of
from cloud.counts.periods import HOUR, Period, day_begin, first_day, local_day, next_first_day, periods
from cloud.counts.ranking import ranks
from cloud.counts.rows import Drawn
from cloud.counts.trust import Gap, Missing, Observed, missing, passes_or_gap, together
from cloud.store.evidence import ControlLabels, Models, read_models
from cloud.store.passes import DayCount, day_counts, gaps, hour_day_counts, observed_by_day, observed_by_hour
from cloud.store.schema import devices
from cloud.web.answers import MissingAnswer, ObservedAnswer, ShareAnswer
from cloud.web.compliance import (
    CalledLabel,
    Compliance,
    CorrectedAnswer,
    DoorEstimate,
    Estimate,
    PeriodEstimate,
    RankAnswer,
    Spliced,
    Why,
)
from contract.labels import LABELS, Label

OTHER_DAYS = timedelta(days=28)  # what is read at most of the time before a span, where labels of then joined
HourKey = tuple[str, str, datetime | None]  # door, ISO day, UTC hour where hours are kept apart
PLACES = {label.value: place for place, label in enumerate(LABELS)}
Key = TypeVar("Key")
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class _Span:
    """Everything that one answer is made of."""

    start: datetime
    end: datetime
    now: datetime
    counts: Sequence[DayCount]
    observed: Mapping[HourKey, Observed]
    gaps: Sequence[Gap]
    models: Models
    tables: Mapping[str, Table]
    doors: Sequence[str]
    others: Sequence[DayCount]  # of days before, whose labels joined: they tell how alike days are


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the periods that an answer is divided into."""

    key: date | datetime  # its first day, or its hour
    begin: datetime
    until: datetime
    day: date


class Estimates:
    """Works out what may be said; remembers the control labels, and what was drawn from them, between two questions."""

    def __init__(self, engine: Engine, zone: ZoneInfo) -> None:
        self._engine, self._zone, self._labels, self._drawn = engine, zone, ControlLabels(), Drawn()

    def answer(
        self, start: datetime, end: datetime, period: Period | None, door: str | None, now: datetime,
        *, among: Collection[str] | None = None, days: Collection[date] | None = None,
    ) -> Compliance:  # fmt: skip
        """The UTC hours that begin in [start, end): all together, by door, and by period where one is asked for.

        `among`: only these doors, where `door` names none; `days`: only these days of the zone.
        """
        wanted = among if door is None else (door,)
        span = _narrowed(self._read(start, end, wanted, now, by_hour=period is Period.HOUR), days)
        parts = self._parts(start, end, period)
        strata, others = _strata(span.counts, span.models), _strata(span.others, span.models)
        correction = Correction(span.tables, strata, others, cells=2 + len(parts), drawing=self._drawn)
        total, _ = _estimate(correction, span, span.counts, span.observed.values(), missing(span.gaps, start, end, now))
        each = _by_door(correction, span)
        found = {name: corrected for name, (_, corrected) in each.items()}
        places = ranks(
            {name: one.rates[Label.WITH_MASK] if one else None for name, one in found.items()},
            {name: one.compliance for name, one in found.items() if one},
        )
        return Compliance(
            start=start, end=end, time_zone=self._zone.key, door=door, total=total,
            doors=[
                DoorEstimate(door=name, estimate=one, rank=RankAnswer.of(places[name])) for name, (one, _) in each.items()
            ],
            periods=_by_period(correction, span, period, parts),
            releases=_spliced(span),
        )  # fmt: skip

    def _read(
        self, start: datetime, end: datetime, among: Collection[str] | None, now: datetime, *, by_hour: bool
    ) -> _Span:
        zone = self._zone
        observed: dict[HourKey, Observed]
        with self._engine.connect() as connection:
            if by_hour:
                counts = hour_day_counts(connection, start, end, zone, among=among)
                seen = observed_by_hour(connection, start, end, among=among, by_door=True)
                day_of = cache(lambda at: local_day(at, zone).isoformat())
                observed = {(name or "", day_of(at), at): one for (at, name), one in seen.items()}
            else:
                counts = day_counts(connection, start, end, zone, among=among)
                by_day = observed_by_day(connection, start, end, zone, among=among)
                observed = {(name, day, None): one for (name, day), one in by_day.items()}
            lost = gaps(connection, start, end, among=among)
            models = read_models(connection)
            labelled = self._labels.read(connection, models, zone)
            names = connection.execute(select(devices.c.name).order_by(devices.c.name)).scalars()
            doors = [name for name in names if among is None or name in among]
            used = dict.fromkeys(models.of_release(one.release) for one in counts)
            tables = {model: table_of(labelled.get(model, ()), start, end) for model in used}
            since = max(min((one.since or start for one in tables.values()), default=start), start - OTHER_DAYS)
            others = day_counts(connection, since, start, zone, among=among) if since < start else []
        return _Span(start, end, now, counts, observed, lost, models, tables, doors, others)

    def _parts(self, start: datetime, end: datetime, period: Period | None) -> list[_Part]:
        if period is None:
            return []
        if period is Period.HOUR:
            hours = (start + number * HOUR for number in range(ceil((end - start) / HOUR)))
            return [_Part(at, at, at + HOUR, local_day(at, self._zone)) for at in hours]
        return [
            _Part(
                day, max(start, day_begin(day, self._zone)),
                min(end, day_begin(next_first_day(day, period), self._zone)), day,
            )
            for day in periods(start, end, period, self._zone)
        ]  # fmt: skip


class ByZone:
    """The estimates of each zone's days."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, Estimates] = {}

    def of(self, zone: ZoneInfo) -> Estimates:
        """Always the same for the same zone: they remember the control labels."""
        return self._known.setdefault(zone.key, Estimates(self._engine, zone))


def _narrowed(span: _Span, days: Collection[date] | None) -> _Span:
    """Without the other days."""
    if days is None:
        return span
    wanted = frozenset(day.isoformat() for day in days)
    return replace(
        span,
        counts=[one for one in span.counts if one.day in wanted],
        observed={key: one for key, one in span.observed.items() if key[1] in wanted},
    )


def _by_period(
    correction: Correction, span: _Span, period: Period | None, parts: Sequence[_Part]
) -> list[PeriodEstimate]:
    if period is None:
        return []

    @cache
    def part(day: str, hour: datetime | None) -> date | datetime:
        return hour or first_day(date.fromisoformat(day), period)

    counts = _grouped(span.counts, lambda one: part(one.day, one.hour))
    looked = _grouped(span.observed.items(), lambda one: part(one[0][1], one[0][2]))
    answers = []
    for one in parts:
        lost = missing(span.gaps, one.begin, one.until, span.now)
        mine = counts.get(one.key, ())
        estimate, _ = _estimate(correction, span, mine, [seen for _, seen in looked.get(one.key, ())], lost)
        releases = sorted({count.release for count in mine if count.passes})
        answers.append(PeriodEstimate(start=one.begin, day=one.day.isoformat(), estimate=estimate, releases=releases))
    return answers


def _by_door(correction: Correction, span: _Span) -> dict[str, tuple[Estimate, Corrected | None]]:
    counts = _grouped(span.counts, lambda one: one.device)
    looked = _grouped(span.observed.items(), lambda one: one[0][0])
    lost = _grouped(span.gaps, lambda one: one.device)
    return {
        name: _estimate(
            correction, span, counts.get(name, ()), [one for _, one in looked.get(name, ())],
            missing(lost.get(name, ()), span.start, span.end, span.now),
        )
        for name in span.doors
    }  # fmt: skip


def _estimate(
    correction: Correction, span: _Span, counts: Sequence[DayCount], looked: Iterable[Observed], lost: Missing
) -> tuple[Estimate, Corrected | None]:
    called = [0] * len(LABELS)
    for one in counts:
        called[PLACES[one.label]] += one.passes
    passes, observed = sum(called), together(looked)
    corrected = correction.of(_strata(counts, span.models))
    why = None
    if corrected is None:
        why = Why.NO_PASSES if not passes else Why.FEW_PASSES if passes < LEAST_PASSES else Why.FEW_LABELS
    estimate = Estimate(
        passes=passes_or_gap(passes, observed),
        called=[
            CalledLabel(label=label, passes=number, share=ShareAnswer.of(share(number, passes)))
            for label, number in zip(LABELS, called, strict=True)
        ],
        corrected=CorrectedAnswer.of(corrected) if corrected else None, why=why,
        observed=ObservedAnswer.of(observed), missing=MissingAnswer.of(lost),
    )  # fmt: skip
    return estimate, corrected


def _strata(counts: Iterable[DayCount], models: Models) -> list[Stratum]:
    called: dict[int, str] = {}
    strata: dict[tuple[str, str], dict[str, list[int]]] = {}
    for one in counts:
        model = called.get(one.release) or called.setdefault(one.release, models.of_release(one.release))
        days = strata.setdefault((one.device, model), {})
        if (numbers := days.get(one.day)) is None:
            numbers = days[one.day] = [0] * len(LABELS)
        numbers[PLACES[one.label]] += one.passes
    return [
        Stratum(device, model, {day: tuple(numbers) for day, numbers in days.items()})
        for (device, model), days in sorted(strata.items())
    ]


def _spliced(span: _Span) -> list[Spliced]:
    answers = []
    for release, counts in sorted(_grouped(span.counts, lambda one: one.release).items()):
        model = span.models.of_release(release)
        table, days = span.tables[model], [one.day for one in counts]
        answers.append(
            Spliced(
                release=release, model=model, first_day=min(days), last_day=max(days),
                passes=sum(one.passes for one in counts), control_labels=len(table.labels),
                cannot_tell=table.cannot_tell, labels_from=table.since, labels_to=table.until, widened=table.widened,
            )
        )  # fmt: skip
    return answers


def _grouped(things: Iterable[Thing], key: Callable[[Thing], Key]) -> dict[Key, list[Thing]]:
    groups: dict[Key, list[Thing]] = defaultdict(list)
    for one in things:
        groups[key(one)].append(one)
    return groups
