"""How long what is kept: settings and a moment in, the moments before which things must have come to be due out."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cloud.rules import RetentionRules


@dataclass(frozen=True, slots=True)
class Due:
    """Whatever came here before these moments has had its time; None: it stays."""

    unlabelled: datetime
    labelled: datetime
    rows: datetime
    events: datetime | None
    quarantine: datetime
    consumers: datetime


def due(rules: RetentionRules, now: datetime) -> Due:
    """The moments, as of `now`."""

    def before(days: int) -> datetime:
        return now - timedelta(days=days)

    return Due(
        unlabelled=before(rules.unlabelled_days),
        labelled=before(rules.labelled_days),
        rows=before(max(rules.row_days, rules.unlabelled_days)),
        events=None if rules.event_days is None else before(rules.event_days),
        quarantine=before(rules.quarantine_days),
        consumers=before(rules.consumer_days),
    )


def lifecycle_days(rules: RetentionRules) -> int:
    """After how many days the object store itself may drop a picture: a day after the longest term."""
    return max(rules.unlabelled_days, rules.labelled_days) + 1


def too_late(claimed: datetime, rules: RetentionRules, now: datetime) -> bool:
    """Whether a pass of that time would have been deleted by now: it may be one that was, and would count twice."""
    return rules.event_days is not None and claimed < now - timedelta(days=rules.event_days)
