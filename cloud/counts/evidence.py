"""What control labels say of a model: how often a pass counted as k was truly c, door by door, with all that is unsure."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from cloud.counts.likeness import Floats, dirichlet, draw_places, log_likelihood
from contract.dataset import Answer
from contract.labels import LABELS, Label

ENOUGH = 150  # control labels of a model; with fewer, those before and after the span join
LEAST = 20  # control labels of a model below which nothing is corrected
OUTCOMES = (Answer.WITH_MASK, Answer.WITHOUT_MASK, Answer.MASK_WORN_INCORRECTLY, Answer.NOT_A_FACE)
# A row's prior is worth one label: Jeffreys' for right or wrong (a half each), and no way of being wrong likelier than another.
PRIOR = np.full((len(LABELS), len(OUTCOMES)), 1 / 6) + np.eye(len(LABELS), len(OUTCOMES)) / 3
# How alike doors are: a door's row is Dirichlet(concentration * fleet's row). Likely values, all equally so at first.
CONCENTRATIONS = np.geomspace(4.0, 4_000.0, 16)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A control crop with its standing answer."""

    device: str
    at: datetime
    day: str  # of the site's zone, ISO, as the counts' days
    counted_as: Label
    answer: Answer
    weight: float  # passes it stands for, at least 1
    model: str  # SHA-256 of the file that saw it


@dataclass(frozen=True, slots=True)
class Table:
    """One model's control labels that say what a pass was, of one stretch of time."""

    labels: tuple[Labelled, ...]
    cannot_tell: int  # looked at, and set aside
    widened: bool  # labels from outside of the span joined
    since: datetime | None  # of the earliest label; None: there is none
    until: datetime | None

    @property
    def usable(self) -> bool:
        """Enough for a number."""
        return len(self.labels) >= LEAST

    def other_days(self, days: Mapping[str, Collection[str]]) -> dict[str, Floats]:
        """By door, the answers of each of its days, (days, outcomes), that is not among these."""
        tallies: dict[str, dict[str, Floats]] = defaultdict(lambda: defaultdict(lambda: np.zeros(len(OUTCOMES))))
        for one in self.labels:
            if one.day not in days.get(one.device, ()):
                tallies[one.device][one.day][OUTCOMES.index(one.answer)] += 1
        return {device: np.array(list(by_day.values())) for device, by_day in tallies.items()}


def by_model(labelled: Iterable[Labelled]) -> dict[str, list[Labelled]]:
    """What was said of each model, the earliest crop first."""
    models: dict[str, list[Labelled]] = defaultdict(list)
    for one in labelled:
        models[one.model].append(one)
    return {model: sorted(some, key=lambda one: one.at) for model, some in models.items()}


def table_of(labelled: Sequence[Labelled], start: datetime, end: datetime) -> Table:
    """One model's labels of [start, end), out of all of them, the earliest first; where they are fewer than ENOUGH, the nearest join.

    "Cannot tell" says nothing, so it is set aside and counted: that is right where those faces are like the others
    that were counted as the same.
    """
    first = bisect_left(labelled, start, key=_at)
    last = inside = bisect_left(labelled, end, key=_at)
    begin = first
    telling = sum(one.answer is not Answer.CANNOT_TELL for one in labelled[first:last])
    reach = timedelta()
    while first > 0 or last < len(labelled):
        before = start - labelled[first - 1].at if first else None
        after = labelled[last].at - end if last < len(labelled) else None
        earlier = after is None or (before is not None and before <= after)
        away = before if earlier else after
        if telling >= ENOUGH and (away is None or away > reach):
            break
        reach = away or timedelta()
        first, last = (first - 1, last) if earlier else (first, last + 1)
        telling += labelled[first if earlier else last - 1].answer is not Answer.CANNOT_TELL
    chosen = tuple(one for one in labelled[first:last] if one.answer is not Answer.CANNOT_TELL)
    times = [one.at for one in chosen]
    widened = any(one.answer is not Answer.CANNOT_TELL for one in (*labelled[first:begin], *labelled[inside:last]))
    return Table(chosen, last - first - len(chosen), widened, min(times, default=None), max(times, default=None))


def draw_rows(table: Table, devices: Sequence[str], draws: int, rng: np.random.Generator) -> Floats:
    """P(outcome | counted as) of each device, (draws, devices, 3 labels, 4 outcomes), from its posterior.

    The fleet's row is a Dirichlet posterior, a door's row a Dirichlet around it, and how tightly is itself drawn from what the
    doors' labels say of it: a door with many labels goes by its own, a new one by the fleet's.
    """
    names = {name: place for place, name in enumerate(dict.fromkeys((*devices, *(one.device for one in table.labels))))}
    rows = np.empty((draws, len(devices), len(LABELS), len(OUTCOMES)))
    for place, (tally, prior) in enumerate(zip(_tallies(table, names), PRIOR, strict=True)):
        picked = draw_places(log_likelihood(tally, 1 / (CONCENTRATIONS + 1)), draws, rng)
        fleet = dirichlet(_fleet_row(tally, prior)[picked], rng)
        shape = CONCENTRATIONS[picked, None, None] * fleet[:, None, :] + tally[None, : len(devices)]
        rows[:, :, place] = dirichlet(shape, rng)
    return rows


def _at(one: Labelled) -> datetime:
    return one.at


def _tallies(table: Table, names: Mapping[str, int]) -> list[Floats]:
    """By label counted: effective numbers of each outcome, (devices, 4), in the names' order.

    A crop of a busy window stands for more passes than one of a quiet one: that makes labels worth fewer than they are.
    """
    tallies = []
    for counted in LABELS:
        numbers, weights = np.zeros(len(names)), np.zeros((len(names), len(OUTCOMES)))
        squares = np.zeros(len(names))
        for one in table.labels:
            if one.counted_as is counted:
                place = names[one.device]
                numbers[place] += 1
                weights[place, OUTCOMES.index(one.answer)] += one.weight
                squares[place] += one.weight**2
        sums = weights.sum(axis=1)
        there = sums > 0
        worth = np.zeros(len(names))
        worth[there] = sums[there] ** 2 / squares[there]  # Kish
        tallies.append(worth[:, None] * weights / np.where(there, sums, 1.0)[:, None])
    return tallies


def _fleet_row(tally: Floats, prior: Floats) -> Floats:
    """The fleet's Dirichlet for each concentration, (concentrations, 4): the less alike doors are, the less a label says of others."""
    sizes = tally.sum(axis=1)
    shares = tally / np.where(sizes > 0, sizes, 1.0)[:, None]
    spread = np.maximum(sizes - 1, 0.0)[None] / (CONCENTRATIONS[:, None] + 1)
    result: Floats = prior + (sizes[None] / (1 + spread)) @ shares
    return result
