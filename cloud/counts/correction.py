"""Compliance as it was, not as the model called it: predicted shares through a model's control labels, with their interval."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cloud.counts.claims import LEAST_PASSES, Share
from cloud.counts.evidence import Table
from cloud.counts.likeness import Floats, dirichlet, draw_days_alike
from cloud.counts.rows import Drawing, draw
from contract.labels import LABELS, Label

SEED = 20_260_504  # the same question has the same answer
MOST_DRAWS, LEAST_DRAWS = 2_000, 400
PRIOR = 0.25  # of each outcome, where a sample of days speaks for others: together worth one pass
EFFORT = 600_000  # draws times strata of all cells: what bounds time and memory


@dataclass(frozen=True, slots=True)
class Stratum:
    """Passes of one door under one model: by day, how many were counted as each label, in label order."""

    device: str
    model: str
    days: Mapping[str, tuple[int, ...]]

    @property
    def passes(self) -> int:
        return sum(sum(day) for day in self.days.values())


@dataclass(frozen=True, slots=True)
class Corrected:
    """Shares among passes with a face, each with its 95 % interval; `no_face` is a share of all passes counted."""

    rates: Mapping[Label, Share]
    no_face: Share
    compliance: Floats = field(compare=False, repr=False)
    """Draws of the share of properly worn masks, together with those of the other cells of the answer."""


class Correction:
    """Corrects any cells of one answer from the same draws, so that they fit together.

    `strata` is everything the answer speaks of, `others` what was counted on other days and only tells how alike days are,
    `cells` about how many cells divide it; models without a usable table are not corrected.
    """

    def __init__(
        self, tables: Mapping[str, Table], strata: Sequence[Stratum], others: Sequence[Stratum] = (),
        *, cells: int = 1, seed: int = SEED, drawing: Drawing = draw,
    ) -> None:  # fmt: skip
        self._rng = np.random.default_rng(seed)
        devices: dict[str, list[str]] = {}
        for one in strata:
            if one.model in tables and tables[one.model].usable:
                devices.setdefault(one.model, []).append(one.device)
        self._draws = int(np.clip(EFFORT // max(1, cells * len(strata)), LEAST_DRAWS, MOST_DRAWS))
        self._places: dict[tuple[str, str], int] = {}
        self._rows: dict[str, Floats] = {}
        self._label_days: dict[str, Counter[tuple[str, str]]] = {}
        self._tables = tables
        for model, names in devices.items():
            ordered = list(dict.fromkeys(names))
            self._places |= {(model, name): place for place, name in enumerate(ordered)}
            self._label_days[model] = Counter((one.device, one.day) for one in tables[model].labels)
            self._rows[model] = drawing(tables[model], model, ordered, self._draws, seed)
        self._alike = draw_days_alike(
            [days for model in devices for days in self._days(model, (*others, *strata))], self._draws, self._rng
        )

    def of(self, cell: Sequence[Stratum]) -> Corrected | None:
        """One cell; None where it has fewer than LEAST_PASSES, or a part of it cannot be corrected."""
        whole = sum(one.passes for one in cell)
        if whole < LEAST_PASSES or any((one.model, one.device) not in self._places for one in cell if one.passes):
            return None
        outcomes = np.zeros((self._draws, len(LABELS) + 1))
        for model in dict.fromkeys(one.model for one in cell):
            mine = [one for one in cell if one.model == model and one.passes]
            if mine:
                outcomes += self._outcomes(model, mine)
        faces = outcomes[:, : len(LABELS)]
        shares = faces / faces.sum(axis=1, keepdims=True)
        rates = {label: _share(shares[:, place]) for place, label in enumerate(LABELS)}
        return Corrected(rates, _share(outcomes[:, -1] / outcomes.sum(axis=1)), shares[:, 0])

    def _days(self, model: str, strata: Sequence[Stratum]) -> Iterator[tuple[Floats, float]]:
        """What tells how alike days are: those counted, by how much of the truth shows there, and those known from labels alone."""
        mine = [one for one in strata if one.model == model and one.passes]
        counted: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
        for one in mine:
            counted[one.device] |= one.days
        called = np.array([day for one in mine for day in one.days.values()]).reshape(-1, len(LABELS)).sum(axis=0)
        shown = _tie(called / called.sum(), self._rows[model].mean(axis=(0, 1))) if mine else 1.0
        yield from ((np.array(list(days.values()), dtype=float), shown) for days in counted.values())
        yield from ((days, 1.0) for days in self._tables[model].other_days(counted).values())

    def _outcomes(self, model: str, cell: Sequence[Stratum]) -> Floats:
        """Passes by outcome, (draws, outcomes): through the rows, and then as the sample that they are."""
        counts = np.array([np.sum(list(one.days.values()), axis=0) for one in cell], dtype=float)
        sizes = counts.sum(axis=1)
        rows = self._rows[model][:, [self._places[model, one.device] for one in cell]]
        means = np.einsum("dk,sdko->sdo", counts / sizes[:, None], rows)
        foreign, uneven = _foreign(self._label_days[model], frozenset(day for one in cell for day in one.days))
        if foreign:
            tilt = _tilt(counts.sum(axis=0) / sizes.sum(), rows.mean(axis=(0, 1)))
            apart = np.array([foreign**2 / len(one.days) + uneven for one in cell])
            each = np.sqrt((tilt**2).sum(axis=0)) + 1e-12
            spread = np.log1p(
                (self._alike[:, None] * apart)[:, :, None] * each**2
            )  # of logarithms: shares stay positive
            moved = self._rng.standard_normal(means.shape) @ (tilt / each)
            means = means * np.exp(np.sqrt(spread) * moved - spread / 2)
            means /= means.sum(axis=2, keepdims=True)
        worth = np.stack([_worth(one, self._alike) for one in cell], axis=1)
        # One prior for the whole cell, or a fleet of small doors would be made of priors.
        prior = np.array([PRIOR * (len(one.days) > 1) for one in cell]) * sizes / sizes.sum()
        shape = means * worth[:, :, None] + prior[:, None]
        result: Floats = np.einsum("d,sdo->so", sizes, dirichlet(shape, self._rng))
        return result


def _foreign(labels: Mapping[tuple[str, str], int], own: Collection[str]) -> tuple[float, float]:
    """The share of a table's labels, told by door and day, that are of other days; and what each other day's share is, squared and summed."""
    others = [number for (_, day), number in labels.items() if day not in own]
    whole = sum(labels.values())
    return sum(others) / whole, sum(number**2 for number in others) / whole**2


def _worth(one: Stratum, alike: Floats) -> Floats:
    """How many passes drawn one by one say as much, (draws,); a single day speaks for itself, with all of its passes."""
    sizes = [sum(day) for day in one.days.values() if sum(day)]
    if len(sizes) < 2:
        return np.full(len(alike), float(sum(sizes)))
    crowd = sum(size**2 for size in sizes) / sum(sizes)
    result: Floats = sum(sizes) / (1 + alike * max(0.0, crowd - 1))
    return result


def _tie(called: Floats, row: Floats) -> float:
    """Goodman and Kruskal's tau, 0..1: how much of what is there shows in what was called; days differ by that much more in truth."""
    truth = called @ row
    plain = float((truth**2).sum())
    return float(np.clip((called @ (row**2).sum(axis=1) - plain) / max(1e-9, 1 - plain), 0.2, 1))


def _tilt(called: Floats, row: Floats) -> Floats:
    """How far one day's outcomes, relative to what the rows of other days make of it, go off as its truth differs from theirs.

    (outcomes, outcomes): standard normal numbers times this, times the root of how alike passes of a day are. The truth of days is
    taken as Dirichlet, and how each class is called as the same on all days; then what a row says of a day is off by
    what it does not pass on.
    """
    joint = called[:, None] * row
    truth = np.maximum(joint.sum(axis=0), 1e-9)
    lost = np.eye(len(truth)) - row.T @ (joint / truth)
    relative = lost @ (np.diag(truth) - np.outer(truth, truth)) @ lost.T / np.outer(truth, truth)
    values, vectors = np.linalg.eigh((relative + relative.T) / 2)
    result: Floats = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    return result


def _share(draws: Floats) -> Share:
    low, high = np.quantile(draws, (0.025, 0.975))
    rate = float(draws.mean())
    return Share(rate, min(float(low), rate), max(float(high), rate))
