"""How far an hour or a day was watched, and where another model began: so that no gap is drawn as nought."""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum

from cloud.counts.trust import Observed

WHOLE = 0.95  # of the open minutes; what lacks less is not worth a hatch


class Watch(StrEnum):
    """What is known of a stretch of time."""

    WATCHED = "watched"
    PARTLY = "partly"
    UNSEEN = "unseen"  # open, and nobody looked
    CLOSED = "closed"
    UNTOLD = "untold"  # no door told of it
    AHEAD = "ahead"


def watch(passes: int, observed: Observed, begin: datetime, end: datetime, now: datetime) -> Watch:
    """Of [begin, end); what began and was not told of yet is still ahead."""
    if begin > now or (now < end and not observed.hours and not passes):
        return Watch.AHEAD
    if not observed.hours:
        return Watch.UNTOLD
    if not observed.open_minutes:
        return Watch.WATCHED if passes else Watch.CLOSED
    if not observed.seen_minutes:
        return Watch.PARTLY if passes else Watch.UNSEEN
    return Watch.WATCHED if observed.seen_minutes >= WHOLE * observed.open_minutes else Watch.PARTLY


def begun(releases: Sequence[Collection[int]]) -> list[int | None]:
    """For each stretch, the newest release that counted there and in none before; the first that counts is no change."""
    known: set[int] = set()
    found: list[int | None] = []
    for some in releases:
        new = set(some) - known
        found.append(max(new) if new and known else None)
        known |= new
    return found
