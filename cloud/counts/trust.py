"""How far a cell of counts can be trusted: minutes that were looked at, and passes that are known to be missing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Observed:
    """Of the opening hours of one cell, as far as doors have told of them."""

    open_minutes: int = 0
    seen_minutes: int = 0
    hours: int = 0  # door-hours that are told of; the others are not known
    unsure_hours: int = 0  # of those, told by a clock that was never right

    @property
    def share(self) -> float | None:
        """0..1 of the minutes open; None where nothing is known, or the door was never open."""
        return self.seen_minutes / self.open_minutes if self.open_minutes else None

    @property
    def watched(self) -> bool:
        """Somebody looked: then no passes are none, and not a gap."""
        return self.seen_minutes > 0

    def __add__(self, other: "Observed") -> "Observed":
        return together((self, other))


def together(some: Iterable[Observed]) -> Observed:
    """Their sum; nothing where there are none."""
    open_minutes = seen_minutes = hours = unsure_hours = 0
    for one in some:
        open_minutes += one.open_minutes
        seen_minutes += one.seen_minutes
        hours += one.hours
        unsure_hours += one.unsure_hours
    return Observed(open_minutes, seen_minutes, hours, unsure_hours)


@dataclass(frozen=True, slots=True)
class Gap:
    """A boot of a door some of whose passes never came, or are still on their way."""

    device: str
    since: datetime  # when the cloud first heard of this boot
    until: datetime | None  # when it first heard of the next; None: it is the latest
    missing: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Passes that doors counted and that are not here."""

    known: int = 0  # of boots that lie within the cell
    unplaced: int = 0  # of boots that reach beyond it: some of them, or none, may be the cell's


def missing(gaps: Iterable[Gap], start: datetime, end: datetime, now: datetime) -> Missing:
    """What of `gaps` belongs to [start, end)."""
    known = unplaced = 0
    for one in gaps:
        until = one.until or now
        if start <= one.since and until <= end:
            known += one.missing
        elif one.since < end and until > start:
            unplaced += one.missing
    return Missing(known, unplaced)


def passes_or_gap(passes: int, observed: Observed | None) -> int | None:
    """The number that may be shown: None where nobody passed and nobody is known to have looked."""
    return passes if passes or (observed is not None and observed.watched) else None
