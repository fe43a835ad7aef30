"""Spans of time that pages show, and their hours or days: estimates with how far each was watched."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from cloud.counts.bins import Watch, begun, watch
from cloud.counts.periods import HOUR, Period, day_begin, hour_start, local_day
from cloud.counts.trust import Observed
from cloud.web.answers import ObservedAnswer
from cloud.web.compliance import Compliance, Estimate


class Span(StrEnum):
    """How far back a page looks; each ends with today."""

    TODAY = "today"
    WEEK = "7d"
    MONTH = "28d"

    @property
    def days(self) -> int:
        return {Span.TODAY: 1, Span.WEEK: 7, Span.MONTH: 28}[self]

    @property
    def period(self) -> Period:
        """What it is divided into."""
        return Period.HOUR if self is Span.TODAY else Period.DAY

    @classmethod
    def read(cls, text: str) -> "Span":
        """As an address says it; anything else is today."""
        return next((one for one in cls if one.value == text), cls.TODAY)

    def bounds(self, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """From midnight of its first day until the end of the hour that runs; UTC."""
        end = hour_start(now) + HOUR
        first = local_day(end - HOUR, zone) - timedelta(days=self.days - 1)
        return day_begin(first, zone), end


def midnight(end: datetime, zone: ZoneInfo) -> datetime:
    """When the day is over whose last hour so far ends at `end`."""
    return day_begin(local_day(end - HOUR, zone) + timedelta(days=1), zone)


@dataclass(frozen=True, slots=True)
class Shown:
    """The share that a reader is shown, and whether it is corrected."""

    rate: float
    low: float
    high: float
    corrected: bool

    def apart(self, other: "Shown") -> bool:
        """Whether their intervals do not touch."""
        return self.low > other.high or self.high < other.low


@dataclass(frozen=True, slots=True)
class Bin:
    """One hour or day of a chart."""

    start: datetime
    end: datetime
    estimate: Estimate
    watch: Watch
    release: int | None  # that counted here first, where another one did before
    running: bool  # it is not over yet

    @property
    def shown(self) -> Shown | None:
        return shown(self.estimate)


def shown(estimate: Estimate) -> Shown | None:
    """Corrected where that can be said, else as counted; None where passes are too few."""
    if estimate.corrected:
        one = estimate.corrected.compliance
        return Shown(one.rate, one.low, one.high, corrected=True)
    called = estimate.called[0].share
    return Shown(called.rate, called.low, called.high, corrected=False) if called else None


def bins(answer: Compliance, end: datetime, now: datetime) -> list[Bin]:
    """The periods of an answer; `end` is when the last of them is over."""
    starts = [one.start for one in answer.periods]
    new = begun([one.releases for one in answer.periods])
    return [
        Bin(
            one.start, until, one.estimate,
            watch(one.estimate.passes or 0, observed(one.estimate.observed), one.start, until, now),
            release, running=one.start <= now < until,
        )
        for one, until, release in zip(answer.periods, [*starts[1:], end], new, strict=True)
    ]  # fmt: skip


def observed(answer: ObservedAnswer) -> Observed:
    """Back to the pure value."""
    return Observed(answer.open_minutes, answer.seen_minutes, answer.hours, answer.unsure_hours)


def lacking(answer: Compliance, least: int) -> list[int]:
    """The releases that counted in an answer with fewer control labels than `least`."""
    return [one.release for one in answer.releases if one.passes and one.control_labels < least]


def labels_used(answer: Compliance) -> int:
    """Control labels behind an answer; releases that are the same model share them."""
    return sum({one.model: one.control_labels for one in answer.releases}.values())
