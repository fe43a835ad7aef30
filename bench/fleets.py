"""Simulated fleets whose truth is known: what was called, which control crops were labelled, and what was there."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from cloud.counts.correction import Stratum
from cloud.counts.evidence import OUTCOMES, Labelled, Table, by_model, table_of
from cloud.counts.likeness import Floats
from contract.labels import LABELS

MODEL, LATER = "a" * 64, "b" * 64
START = datetime(2026, 5, 4, tzinfo=UTC)
# How a model of middling quality calls what is there: rows are the truth, in the outcomes' order.
CALLS = ((0.97, 0.01, 0.02), (0.04, 0.93, 0.03), (0.15, 0.05, 0.80), (0.30, 0.60, 0.10))
POOR = ((0.90, 0.04, 0.06), (0.10, 0.82, 0.08), (0.30, 0.15, 0.55), (0.40, 0.40, 0.20))
GOOD = ((0.99, 0.005, 0.005), (0.01, 0.98, 0.01), (0.05, 0.02, 0.93), (0.20, 0.70, 0.10))
MISSING = ((0.98, 0.01, 0.01), (0.04, 0.94, 0.02), (0.50, 0.10, 0.40), (0.30, 0.60, 0.10))
TRUTH = (0.80, 0.12, 0.06, 0.02)
WINDOWS = np.array([0.02, 0.13, 0.30, 0.22, 0.28, 0.05])  # of a day's passes


@dataclass(frozen=True, slots=True)
class Scene:
    """One kind of fleet.

    Likeness is that of two passes of one door, or of one door and day: truth is Dirichlet around its mean with it. The truth asked
    for is what is usual at the doors of the cell, weighted by their passes; with `last_day`, what was so on that day.
    """

    name: str
    doors: int
    days: int
    passes: int  # a door and day, on average
    control: int  # labelled crops a door and window, at most
    door_likeness: float = 0.0
    day_likeness: float = 0.0
    asked: int = 0  # the cell: doors from the first on; 0: all
    sizes: tuple[float, ...] = ()  # of the doors, against the average
    last_day: bool = False  # the cell is the last day alone: most of its labels are of the days before
    truth: tuple[float, ...] = TRUTH
    calls: tuple[tuple[float, ...], ...] = CALLS
    calls_likeness: float = 0.0  # how far doors differ in how what is there is called
    later: tuple[tuple[float, ...], ...] = ()  # how another model calls it, from the middle of the days on
    window_likeness: float = (
        0.0  # how far the windows of a day differ, the same every day; not together with day_likeness
    )

    @property
    def cell(self) -> int:
        return self.asked or self.doors


# What the method was chosen on.
SCENES = (
    Scene("one door, independent", 1, 14, 700, 4),
    Scene("one door, door-days alike", 1, 14, 700, 4, day_likeness=0.03),
    Scene("one door, three days alike", 1, 3, 700, 12, day_likeness=0.03),
    Scene("one door, one day", 1, 1, 1500, 30),
    Scene("eight doors, independent", 8, 7, 400, 1),
    Scene("eight doors, doors and door-days alike", 8, 7, 400, 1, 0.03, 0.03),
    Scene("a small door among eight", 8, 7, 400, 1, 0.03, 0.03, asked=1, sizes=(0.1, *[1.13] * 7)),
    Scene("one door, few labels", 1, 7, 700, 1),
    Scene("the last day, labels of days before", 1, 14, 700, 4, last_day=True),
    Scene("the last day, door-days alike", 1, 14, 700, 4, day_likeness=0.03, last_day=True),
)
# What it was judged on afterwards; nothing was changed for these.
HELD_OUT = (
    Scene("a poor model, days alike", 1, 21, 500, 3, day_likeness=0.02, calls=POOR),
    Scene("a good model, nearly all masked", 1, 14, 900, 4, truth=(0.94, 0.03, 0.02, 0.01), calls=GOOD),
    Scene("a rare class that is mostly missed", 1, 14, 700, 4, truth=(0.90, 0.08, 0.01, 0.01), calls=MISSING),
    Scene("half masked, days alike", 1, 10, 400, 5, day_likeness=0.02, truth=(0.48, 0.42, 0.06, 0.04)),
    Scene("a poor model gives way to a good one", 1, 14, 700, 4, day_likeness=0.02, calls=POOR, later=GOOD),
    Scene("windows that differ", 1, 14, 700, 4, window_likeness=0.05),
    Scene("twenty doors of all sizes, a week", 20, 7, 150, 1, 0.05, 0.02, sizes=tuple(np.geomspace(0.2, 3, 20))),
    Scene("twelve doors that are called differently", 12, 7, 300, 1, 0.02, 0.02, calls_likeness=0.01),
    Scene("one of these twelve", 12, 7, 300, 2, 0.02, 0.02, calls_likeness=0.01, asked=1),
    Scene("four weeks of a quiet door", 1, 28, 60, 2, day_likeness=0.02),
    Scene("the last of 21 days, poor model", 1, 21, 500, 3, day_likeness=0.02, calls=POOR, last_day=True),
    Scene("five very unlike days", 1, 5, 300, 10, day_likeness=0.1),
    Scene("three days, independent", 1, 3, 700, 12),
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the cloud would know of it, and what it would not."""

    strata: list[Stratum]
    cell: list[Stratum]  # those asked about
    others: list[Stratum]  # of days that are not asked about
    labelled: list[Labelled]  # the earliest first
    truth: Floats  # share of each class among the cell's passes with a face
    known: dict[str, Floats]  # by door of the cell: what all passes of each of its days were, (days, outcomes)


def fleet(scene: Scene, rng: np.random.Generator) -> Fleet:
    """One fleet of this kind."""
    strata, others, labelled, sums, known = [], [], [], np.zeros(len(OUTCOMES)), {}
    for number in range(scene.doors):
        name = f"door-{number}"
        size = scene.sizes[number] if scene.sizes else 1.0
        usual = _about(np.array(scene.truth), scene.door_likeness, rng)
        calls = {
            model: np.array([_about(np.array(row), scene.calls_likeness, rng) for row in rows])
            for model, rows in ((MODEL, scene.calls), (LATER, scene.later))
        }
        windows = np.broadcast_to(usual, (len(WINDOWS), len(usual)))
        if scene.window_likeness:
            windows = np.array([_about(usual, scene.window_likeness, rng) for _ in WINDOWS])
            usual = WINDOWS @ windows
        days: dict[str, dict[str, tuple[int, ...]]] = {MODEL: {}, LATER: {}}
        true = []
        for day in range(scene.days):
            model = LATER if scene.later and 2 * day >= scene.days else MODEL
            now = _about(usual, scene.day_likeness, rng)
            truths = np.broadcast_to(now, windows.shape) if scene.day_likeness else windows
            passes = int(rng.poisson(scene.passes * size * rng.uniform(0.6, 1.4)))
            begin = START + timedelta(days=day)
            called, was, some = _day(name, model, begin, truths, calls[model], passes, scene.control, rng)
            days[model][begin.date().isoformat()] = called
            true.append(was)
            labelled += some
        if scene.last_day:
            del days[model][begin.date().isoformat()]
            others += [Stratum(name, model, by_day) for model, by_day in days.items() if by_day]
            days, usual, true = {model: {begin.date().isoformat(): called}}, now, true[-1:]
        mine = [Stratum(name, model, by_day) for model, by_day in days.items() if by_day]
        strata += mine
        if number < scene.cell:
            sums += sum(one.passes for one in mine) * usual
            known[name] = np.array(true)
    cell = [one for one in strata if one.device in known]
    return Fleet(
        strata, cell, others, sorted(labelled, key=_at), sums[: len(LABELS)] / sums[: len(LABELS)].sum(), known
    )


def tables(one: Fleet, start: datetime, end: datetime) -> dict[str, Table]:
    """Each model's table for a span."""
    return {model: table_of(some, start, end) for model, some in by_model(one.labelled).items()}


def _at(one: Labelled) -> datetime:
    return one.at


def _about(mean: Floats, alike: float, rng: np.random.Generator) -> Floats:
    return rng.dirichlet(mean * (1 / alike - 1)) if alike else mean


def _day(
    device: str, model: str, day: datetime, truths: Floats, calls: Floats, passes: int, control: int,
    rng: np.random.Generator,
) -> tuple[tuple[int, ...], Floats, list[Labelled]]:  # fmt: skip
    """What was called, what was there, and the control labels: each window draws its own from all of its passes."""
    called, was, labels = np.zeros(len(LABELS), dtype=int), np.zeros(len(OUTCOMES)), []
    for window, number in enumerate(rng.multinomial(passes, WINDOWS)):
        table = rng.multinomial(number, (truths[window][:, None] * calls).ravel())
        called += table.reshape(calls.shape).sum(axis=0)
        was += table.reshape(calls.shape).sum(axis=1)
        taken = min(control, int(number))
        at = day + timedelta(hours=2 * window + 6)
        for index, times in enumerate(rng.multivariate_hypergeometric(table, taken)):
            if times:
                true, call = divmod(index, len(LABELS))
                one = Labelled(device, at, at.date().isoformat(), LABELS[call], OUTCOMES[true], number / taken, model)
                labels += [one] * int(times)
    return tuple(int(one) for one in called), was, labels
