"""When is a new training worth it? Values in, a reason out."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cloud.config import RetrainingRules


@dataclass(frozen=True, slots=True)
class Labels:
    """What the labellers have said, counted in crops; `new` since the last training that got as far as the gate."""

    total: int = 0
    new: int = 0
    new_rare: int = 0  # of `mask_worn_incorrectly` among the new
    oldest_new: datetime | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """The trainings before this moment; None where there was none."""

    in_flight: bool = False
    tried_at: datetime | None = None  # the latest, however it ended
    judged_at: datetime | None = None  # the latest that was published or refused


def due(rules: RetrainingRules, labels: Labels, past: Past, now: datetime) -> str | None:
    """Why a training is due now, in a few words; None where it is not."""
    if past.in_flight or not labels.new:
        return None
    if past.tried_at is not None and now - past.tried_at < timedelta(seconds=rules.cool_down_s):
        return None
    if labels.new >= max(rules.new_labels, rules.new_share * (labels.total - labels.new)):
        return f"{labels.new} new labels"
    if labels.new_rare >= rules.new_rare:
        return f"{labels.new_rare} new labels of the rare class"
    since = past.judged_at or labels.oldest_new
    stale = since is not None and now - since >= timedelta(days=rules.stale_days)
    if stale and labels.new >= rules.stale_labels:
        return f"{rules.stale_days} days without a training, and {labels.new} new labels"
    return None
