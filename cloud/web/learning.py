"""What the learning page says and draws: values in, words and lines out."""

from collections.abc import Sequence
from dataclasses import dataclass

from cloud.learning.retraining import Outlook
from cloud.web.asking import asking, say
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
        text = say("{title}, epochs {first} to {last}; the latest is {value}")
        return text.format(title=self.title, first=self.first_epoch, last=self.last_epoch, value=self.last)


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
        return say("A job is under way")
    if outlook.reason:
        return say("A training is due")
    if not outlook.labels.total:
        return say("Nothing is labelled yet")
    return asking().language.plural(
        outlook.missing, "more label until the next training", "more labels until the next training"
    )


def charts(curve: Sequence[Point]) -> tuple[Chart, ...]:
    """Loss from nought to its greatest value, mAP50 from nought to one; a chart without values is left out."""
    losses = [(point.epoch, point.loss) for point in curve]
    scores = [(point.epoch, point.map50) for point in curve if point.map50 is not None]
    drawn = []
    if losses:
        top = max(value for _, value in losses) or 1.0
        drawn.append(_chart(say("Loss"), losses, top, _two(top), _two(losses[-1][1])))
    if scores:
        drawn.append(_chart(say("mAP50 on validation"), scores, 1.0, "1", _two(scores[-1][1])))
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
            found.append(Measure(say("Recall"), label, old.recall if old else None, new.recall if new else None))
    return tuple(found)


def _two(value: float) -> str:
    return asking().language.decimal(value, 2)


def _chart(title: str, values: Sequence[tuple[int, float]], top: float, top_text: str, last: str) -> Chart:
    first, final = values[0][0], values[-1][0]
    across = max(final - first, 1)
    spots = [f"{100 * (epoch - first) / across:.2f} {100 - 100 * value / top:.2f}" for epoch, value in values]
    path = f"M{spots[0]}h.01" if len(spots) == 1 else "M" + "L".join(spots)
    return Chart(title, path, top_text, last, first, final)
