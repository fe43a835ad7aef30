"""What the learning page says and draws: values in, words and lines out."""

from collections.abc import Sequence
from dataclasses import dataclass

from cloud.learning.retraining import Outlook
from contract.jobs import Comparison, Point
from contract.labels import Label


@dataclass(frozen=True, slots=True)
class Chart:
    """One line over the epochs, in a square of 100 by 100 whose origin is the upper left."""

    title: str
    path: str
    top: str  # the value at the upper edge
    last: str
    first_epoch: int
    last_epoch: int

    @property
    def words(self) -> str:
        """For those who do not see the line."""
        return f"{self.title}, epochs {self.first_epoch} to {self.last_epoch}; the latest is {self.last}"


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of champion and candidate, 0 to 1; None where it was not taken."""

    name: str
    label: Label | None
    champion: float | None
    candidate: float | None

    @property
    def difference(self) -> float | None:
        """Candidate minus champion."""
        return None if self.champion is None or self.candidate is None else self.candidate - self.champion


def headline(outlook: Outlook) -> str:
    """The state of things in one line."""
    if outlook.in_flight:
        return "A job is under way"
    if outlook.reason:
        return "A training is due"
    if not outlook.labels.total:
        return "Nothing is labelled yet"
    return f"{outlook.missing} more label{'' if outlook.missing == 1 else 's'} until the next training"


def charts(curve: Sequence[Point]) -> tuple[Chart, ...]:
    """Loss from nought to its greatest value, mAP50 from nought to one; a chart without values is left out."""
    losses = [(point.epoch, point.loss) for point in curve]
    scores = [(point.epoch, point.map50) for point in curve if point.map50 is not None]
    drawn = []
    if losses:
        top = max(value for _, value in losses) or 1.0
        drawn.append(_chart("Loss", losses, top, f"{top:.2f}", f"{losses[-1][1]:.2f}"))
    if scores:
        drawn.append(_chart("mAP50 on validation", scores, 1.0, "1", f"{scores[-1][1]:.2f}"))
    return tuple(drawn)


def measures(comparison: Comparison) -> tuple[Measure, ...]:
    """The rows of the table for one split."""
    champion, candidate = comparison.champion, comparison.candidate
    found = [
        Measure("mAP50", None, champion.map50, candidate.map50),
        Measure("mAP50-95", None, champion.map50_95, candidate.map50_95),
    ]
    for label in Label:
        old, new = champion.per_class.get(label), candidate.per_class.get(label)
        if old or new:
            found.append(Measure("Recall", label, old.recall if old else None, new.recall if new else None))
    return tuple(found)


def _chart(title: str, values: Sequence[tuple[int, float]], top: float, top_text: str, last: str) -> Chart:
    first, final = values[0][0], values[-1][0]
    across = max(final - first, 1)
    spots = [f"{100 * (epoch - first) / across:.2f} {100 - 100 * value / top:.2f}" for epoch, value in values]
    path = f"M{spots[0]}h.01" if len(spots) == 1 else "M" + "L".join(spots)
    return Chart(title, path, top_text, last, first, final)
