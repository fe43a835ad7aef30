"""Which crops a labeller sees next: values in, an order out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from random import Random
from uuid import UUID

from contract.crops import Role
from contract.labels import LABELS, Label

RARE = LABELS.index(Label.MASK_WORN_INCORRECTLY)
RARE_SHARE = 0.4  # of the places for crops whose top or runner-up class is the rare one
DOOR_SHARE = 0.15  # the most places of one door, where there are doors enough


@dataclass(frozen=True, slots=True)
class Candidate:
    """A crop without a label."""

    crop: UUID
    device: str
    day: str  # of the crossing, ISO
    role: Role
    jpeg_digest: str
    scores: tuple[float, float, float]  # in label order
    weight: float | None = None

    @property
    def rare(self) -> bool:
        """Whether the rare class is the model's first or second guess."""
        return RARE in sorted(range(len(LABELS)), key=lambda index: -self.scores[index])[:2]

    @property
    def doubt(self) -> float:
        """1 - (best - second best) of the scores, 0..1."""
        best, second, *_ = sorted(self.scores, reverse=True)
        return 1 - (best - second)


def order(candidates: Sequence[Candidate], places: int, rng: Random) -> list[Candidate]:
    """At most `places` of them, best first: control crops all and at random, the others curated and mixed in.

    Control crops are never thinned out. Of the others the same picture of one door and day comes once; the rare class has
    40 % of the places, a door at least one and, where there are doors enough, at most 15 %.
    """
    control = [one for one in candidates if one.role is Role.CONTROL]
    rest = _curated([one for one in candidates if one.role is not Role.CONTROL], places)
    mixed = [*control, *rest]
    rng.shuffle(mixed)  # else a labeller could tell from the place which crops are control
    return mixed[:places]


def _curated(candidates: Sequence[Candidate], places: int) -> list[Candidate]:
    ranked = sorted(_once(candidates), key=lambda one: (-one.doubt, one.crop.bytes))
    doors = {one.device for one in ranked}
    most = places if len(doors) * DOOR_SHARE < 1 else ceil(places * DOOR_SHARE)
    chosen: list[Candidate] = []
    taken: Counter[str] = Counter()

    def take(some: Sequence[Candidate], number: int) -> None:
        for one in some:
            if number <= 0 or len(chosen) == places:
                return
            if one not in chosen and taken[one.device] < most:
                chosen.append(one)
                taken[one.device] += 1
                number -= 1

    first = {one.device: one for one in reversed(ranked)}  # each door's best
    take(sorted(first.values(), key=lambda one: (-one.doubt, one.crop.bytes)), places)
    take([one for one in ranked if one.rare], ceil(places * RARE_SHARE) - sum(one.rare for one in chosen))
    take(ranked, places)
    return chosen


def _once(candidates: Sequence[Candidate]) -> list[Candidate]:
    seen: set[tuple[str, str, str]] = set()
    kept = []
    for one in candidates:
        key = (one.device, one.day, one.jpeg_digest)
        if key not in seen:
            seen.add(key)
            kept.append(one)
    return kept
