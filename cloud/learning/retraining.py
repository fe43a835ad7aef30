"""When is a new training worth it? Values in, a reason out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from cloud.rules import RetrainingRules


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


@dataclass(frozen=True, slots=True)
class Outlook:
    """How far it is to the next training."""

    labels: Labels
    needed: int  # new labels that make a training due
    needed_rare: int  # new labels of the rare class that do as well
    needed_stale: int  # new labels that are enough from `stale_at` on
    stale_at: datetime | None  # None: nothing is labelled, and nothing was ever trained
    cool_down_s: float  # left of the pause after the latest training; 0: none
    in_flight: bool
    reason: str | None  # why one is due as soon as nothing is in flight and the pause is over; None: it is not

    @property
    def missing(self) -> int:
        """New labels that are missing by the first rule; 0 where one is due."""
        return 0 if self.reason else max(0, self.needed - self.labels.new)


def due(rules: RetrainingRules, labels: Labels, past: Past, now: datetime) -> str | None:
    """Why a training is due now, in a few words; None where it is not."""
    seen = outlook(rules, labels, past, now)
    return None if seen.in_flight or seen.cool_down_s > 0 else seen.reason


def outlook(rules: RetrainingRules, labels: Labels, past: Past, now: datetime) -> Outlook:
    """What the rules still ask for."""
    needed = max(rules.new_labels, ceil(rules.new_share * (labels.total - labels.new) - 1e-9))
    since = past.judged_at or labels.oldest_new
    stale_at = None if since is None else since + timedelta(days=rules.stale_days)
    pause = timedelta() if past.tried_at is None else past.tried_at + timedelta(seconds=rules.cool_down_s) - now
    reason = None
    if labels.new >= needed:
        reason = f"{labels.new} new labels"
    elif labels.new_rare >= rules.new_rare:
        reason = f"{labels.new_rare} new labels of the rare class"
    elif stale_at is not None and now >= stale_at and labels.new >= rules.stale_labels:
        reason = f"{rules.stale_days} days without a training, and {labels.new} new labels"
    return Outlook(
        labels, needed, rules.new_rare, rules.stale_labels, stale_at, max(0.0, pause.total_seconds()), past.in_flight,
        reason,
    )  # fmt: skip
