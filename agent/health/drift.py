"""Whether a door still sees what it saw in its first weeks: anonymous counts, and a test that knows its own chance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from agent.vision.detector import Detection

MINUTE_SAMPLES = 10  # samples whose faces are counted together
DAY_SAMPLES = 24 * 60 * MINUTE_SAMPLES
FIRST_DAYS, LAST_DAYS = 14, 7  # whole weeks, since a Sunday is no Monday
SHUFFLES = 1999

HEIGHTS = (0.03, 0.04, 0.055, 0.075, 0.1, 0.14, 0.19, 0.26, 0.36, 0.5)  # of a face, shares of the frame's height
SCORES = (0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9)
FACES = (0.5, 1.5, 2.5, 4.5, 8.5, 16.5, 32.5)  # of a minute's samples together
BINS = (len(HEIGHTS) + 1, len(SCORES) + 1, len(FACES) + 1)

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Day:
    """24 hours of looking, whenever they were."""

    counts: Counts = field(default_factory=lambda: np.zeros(sum(BINS), np.int64))  # heights, scores, faces a minute
    samples: int = 0


class Drift:
    """`take` is called every few seconds of looking; no clock, so a wrong one does no harm.

    A new model sees otherwise: with it everything begins anew.
    """

    def __init__(self, shuffle: np.random.Generator) -> None:
        self.chance: float | None = None  # of what was found, were nothing changed; None: too young
        self._shuffle = shuffle
        self._release = -1
        self._first: list[Counts] = []
        self._last: list[Counts] = []
        self._day = _Day()
        self._minute = 0

    @classmethod
    def of(cls, remembered: Any, shuffle: np.random.Generator) -> Self:
        """From what `to_keep` gave an earlier start; what is not of that shape is begun anew."""
        drift = cls(shuffle)
        try:
            first, last, day = (_days(remembered[name]) for name in ("first", "last", "day"))
            release, samples = int(remembered["release"]), int(remembered["samples"])
        except (TypeError, KeyError, ValueError, OverflowError):
            return drift
        if len(day) == 1 and len(first) <= FIRST_DAYS and len(last) <= LAST_DAYS and 0 <= samples < DAY_SAMPLES:
            drift._first, drift._last, drift._day, drift._release = first, last, _Day(day[0], samples), release
            drift._judge()
        return drift

    def to_keep(self) -> dict[str, Any]:
        """All that is known, for JSON; at most a few kB."""
        return {
            "version": 1, "release": self._release, "samples": self._day.samples, "day": [self._day.counts.tolist()],
            "first": [one.tolist() for one in self._first], "last": [one.tolist() for one in self._last],
        }  # fmt: skip

    def take(self, faces: Sequence[Detection], release: int) -> None:
        """The faces of one frame, as this release found them."""
        if release != self._release:
            self._begin(release)
        day = self._day
        for face in faces:
            day.counts[np.searchsorted(HEIGHTS, face.box.height)] += 1
            day.counts[BINS[0] + np.searchsorted(SCORES, face.confidence)] += 1
        self._minute += len(faces)
        day.samples += 1
        if day.samples % MINUTE_SAMPLES == 0:
            day.counts[BINS[0] + BINS[1] + np.searchsorted(FACES, self._minute)] += 1
            self._minute = 0
        if day.samples >= DAY_SAMPLES:
            self._close()

    def _begin(self, release: int) -> None:
        self.chance, self._release = None, release
        self._first, self._last, self._day, self._minute = [], [], _Day(), 0

    def _close(self) -> None:
        if len(self._first) < FIRST_DAYS:
            self._first.append(self._day.counts)
        else:
            self._last = [*self._last, self._day.counts][-LAST_DAYS:]
        self._day = _Day()
        self._judge()

    def _judge(self) -> None:
        if len(self._last) == LAST_DAYS:
            self.chance = chance(np.array(self._first), np.array(self._last), self._shuffle)


def chance(first: Counts, last: Counts, shuffle: np.random.Generator, shuffles: int = SHUFFLES) -> float:
    """How often days dealt at random into such two heaps differ as much as these; counts are (days, sum of BINS).

    Whole days are dealt, never single faces: those of one day are alike, and a test that takes each for news of its own
    finds drift everywhere. So does a fixed limit, which knows nothing of how few faces there were.
    """
    days = np.concatenate([first, last])
    of_last = np.arange(len(days)) >= len(first)
    deals = np.stack([of_last, *(shuffle.permutation(of_last) for _ in range(shuffles))])
    heaps = (~deals).astype(np.int64) @ days, deals.astype(np.int64) @ days
    rarest = np.min([_rarity(apart) for apart in _distances(*heaps)], axis=0)
    return float(np.mean(rarest <= rarest[0] + 1e-12))


def _distances(ones: Counts, others: Counts) -> Iterator[Floats]:
    """Of each of the three statistics, the greatest difference between the cumulated shares, deal by deal."""
    begin = 0
    for size in BINS:
        pair = [heap[:, begin : begin + size].cumsum(axis=1) for heap in (ones, others)]
        shares = [cumulated / np.maximum(cumulated[:, -1:], 1) for cumulated in pair]
        both = (pair[0][:, -1] > 0) & (pair[1][:, -1] > 0)  # without a face there is no height to compare
        yield np.abs(shares[0] - shares[1]).max(axis=1) * both
        begin += size


def _rarity(apart: Floats) -> Floats:
    """The share of all deals that lie at least as far apart as each."""
    return 1 - np.searchsorted(np.sort(apart), apart - 1e-12) / len(apart)


def _days(value: Any) -> list[Counts]:
    days = [np.array(one, np.int64) for one in value]
    if any(one.shape != (sum(BINS),) or (one < 0).any() for one in days):
        raise ValueError("no counts of this agent's")
    return days
