"""What may be said of compliance, with all that limits it: /api/v1/compliance."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from fastapi import APIRouter, HTTPException, Query
from pydantic import Field

from cloud.counts.claims import Share
from cloud.counts.correction import Corrected
from cloud.counts.periods import HOUR, Period
from cloud.counts.ranking import Rank
from cloud.web.answers import Answer, MissingAnswer, ObservedAnswer, ShareAnswer
from contract.labels import LABELS, Label
from contract.wire import Instant

LONGEST = timedelta(days=400)


class Why(StrEnum):
    """Why there is no corrected number."""

    NO_PASSES = "no_passes"
    FEW_PASSES = "few_passes"
    FEW_LABELS = "few_labels"


class Interval(Answer):
    """A corrected share, 0..1, with its 95 % interval: the detector's errors and chance are both in it."""

    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, share: Share) -> Self:
        """From the pure value."""
        return cls(rate=share.rate, low=share.low, high=share.high)


class CorrectedLabel(Answer):
    """One class."""

    label: Label
    share: Interval


class CorrectedAnswer(Answer):
    """Shares among passes with a face, through the control labels of the models that counted them."""

    compliance: Interval
    """Share of properly worn masks."""
    labels: list[CorrectedLabel]
    """All three classes, in the same order."""
    no_face: Interval
    """Share of all counted passes that were no face at all; they are in none of the other shares."""

    @classmethod
    def of(cls, corrected: Corrected) -> Self:
        """From the pure value."""
        shares = [CorrectedLabel(label=label, share=Interval.of(corrected.rates[label])) for label in LABELS]
        return cls(compliance=shares[0].share, labels=shares, no_face=Interval.of(corrected.no_face))


class CalledLabel(Answer):
    """One class as the model called it."""

    label: Label
    passes: int
    share: ShareAnswer | None


class Estimate(Answer):
    """One cell: what was counted, what that means, and how far to trust it."""

    passes: int | None
    """Null: nobody passed, and nobody is known to have looked: a gap, not a nought."""
    called: list[CalledLabel]
    """As the models called them; shares are null below 20 passes."""
    corrected: CorrectedAnswer | None
    why: Why | None
    """Why `corrected` is null: no passes, fewer than 20, or a model among them with fewer than 20 control labels."""
    observed: ObservedAnswer
    missing: MissingAnswer


class RankAnswer(Answer):
    """The places that a door may have among the others, 1 for the highest compliance; equal where its place is sure."""

    best: int
    worst: int

    @classmethod
    def of(cls, rank: Rank | None) -> Self | None:
        """From the pure value; None stays None."""
        return cls(best=rank.best, worst=rank.worst) if rank else None


class DoorEstimate(Answer):
    """One door."""

    door: str
    estimate: Estimate
    rank: RankAnswer | None
    """Null: its compliance cannot be said, so it has no place."""


class PeriodEstimate(Answer):
    """One hour, day, week or month of all doors asked for."""

    start: Annotated[datetime, Field(serialization_alias="from")]
    """UTC hour with which it begins."""
    day: str
    """Its first day in the site's zone."""
    estimate: Estimate
    releases: list[int]
    """Those that counted in it."""


class Spliced(Answer):
    """One release that counted in this span: each is corrected by its own labels."""

    release: int
    model: str
    """SHA-256 of its file; `factory` for what cards came with."""
    first_day: str
    last_day: str
    passes: int
    control_labels: int
    """That say what a pass was; the same model under another number shares them."""
    cannot_tell: int
    """Looked at and set aside."""
    labels_from: datetime | None
    labels_to: datetime | None
    widened: bool
    """Labels from before or after the span joined, since there were fewer than 150 in it."""


class Compliance(Answer):
    """Compliance of a span of time."""

    start: Annotated[datetime, Field(serialization_alias="from")]
    end: Annotated[datetime, Field(serialization_alias="to")]
    time_zone: str
    door: str | None
    total: Estimate
    doors: list[DoorEstimate]
    periods: list[PeriodEstimate]
    releases: list[Spliced]


class By(StrEnum):
    """Which periods the answer is divided into."""

    NONE = "none"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    @property
    def period(self) -> Period | None:
        return None if self is By.NONE else Period(self.value)


Answered = Callable[[datetime, datetime, Period | None, str | None, datetime], Compliance]


def new_compliance_api(
    answer: Answered, day_start: Callable[[datetime], datetime], clock: Callable[[], datetime]
) -> APIRouter:
    """The route; `answer` works it out, `day_start` says when the day of a moment began."""
    api = APIRouter(prefix="/api/v1", tags=["counts"])

    @api.get("/compliance", summary="Corrected compliance with its interval, what was observed and what is missing")
    def compliance(
        start: Annotated[
            Instant | None,
            Query(alias="from", description="ISO 8601 with an offset; default: midnight today in the site's zone."),
        ] = None,
        end: Annotated[Instant | None, Query(alias="to", description="Not included; default: now.")] = None,
        by: Annotated[By, Query(description="Periods of the site's zone; weeks begin on Monday.")] = By.NONE,
        door: Annotated[
            str | None, Query(max_length=39, pattern=r"^[^\x00]*$", description="One door's name; default: all.")
        ] = None,
    ) -> Compliance:
        now = clock()
        first = (start or day_start(now)).astimezone(UTC)
        last = (end or now + HOUR).astimezone(UTC)
        if not timedelta(0) < last - first <= LONGEST:
            raise HTTPException(422, f"'to' must be after 'from', by at most {LONGEST.days} days")
        return answer(first, last, by.period, door, now)

    return api
