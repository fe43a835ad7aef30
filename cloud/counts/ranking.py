"""Which doors may be ranked: those that differ by more than chance makes the furthest of so many equal doors differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import erf, exp, pi, sqrt

import numpy as np

from cloud.counts.claims import Z_95, Share
from cloud.counts.likeness import Floats

FALSE = 0.05  # of answers about equal doors may put one before another


@dataclass(frozen=True, slots=True)
class Rank:
    """The best and the worst place that a door may have, 1 for the highest rate; equal where its place is sure."""

    best: int
    worst: int

    @property
    def sure(self) -> bool:
        return self.best == self.worst


def ranks(shares: Mapping[str, Share | None], draws: Mapping[str, Floats]) -> dict[str, Rank | None]:
    """By door: one more than the doors that are surely above it, and all without those surely below it.

    None for a door without a share: it is nowhere, and not counted. Two doors are apart where their intervals do not touch, and
    where they differ by more than the furthest of so many equal doors do in 95 of 100 answers (Tukey and Kramer). How
    unsure a difference is comes from the `draws` of both, taken together: errors that doors have in common do not matter to it.
    """
    known = {name: share for name, share in shares.items() if share is not None}
    if not known:
        return dict.fromkeys(shares)
    rate, low, high = np.array([(one.rate, one.low, one.high) for one in known.values()]).reshape(-1, 3).T
    spread = np.cov(np.array([draws[name] for name in known])).reshape(len(known), len(known))
    alone = np.diag(spread)
    unsure = Z_95 * np.sqrt(np.maximum(alone[:, None] + alone[None, :] - 2 * spread, 0))
    apart = (low[:, None] > high[None, :]) & (rate[:, None] - rate[None, :] > widened(len(known)) * unsure)
    places = {
        name: Rank(1 + int(above), len(known) - int(below))
        for name, above, below in zip(known, apart.sum(axis=0), apart.sum(axis=1), strict=True)
    }
    return {name: places.get(name) for name in shares}


@cache
def widened(doors: int) -> float:
    """By how much wider the interval of a difference is where all pairs of so many doors are looked at, at least 1."""
    if doors < 2:
        return 1.0
    low, high = 1.0, 20.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if _range_within(middle, doors) < 1 - FALSE else (low, middle)
    return max(1.0, high / sqrt(2) / Z_95)


def _range_within(width: float, doors: int) -> float:
    """The probability that so many standard normal numbers lie within `width` of each other (the studentised range)."""
    step = 0.05
    places = [number * step for number in range(-160, 161)]
    inside = (exp(-at * at / 2) * (_normal(at) - _normal(at - width)) ** (doors - 1) for at in places)
    return doors * step / sqrt(2 * pi) * sum(inside)


def _normal(z: float) -> float:
    return (1 + erf(z / sqrt(2))) / 2
