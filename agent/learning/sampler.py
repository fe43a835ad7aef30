"""Which passes are worth a label: a uniform control share that may speak for all, and the doubtful ones, weighed."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, isfinite
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from contract.crops import Role
from contract.errors import ContractError
from contract.labels import LABELS

# What makes a pass doubtful; the shares sum to 1 (tune)
MARGIN_SHARE = 0.35
FLIP_SHARE = 0.30
GAP_SHARE = 0.15
LOC_SHARE = 0.10
BAND_SHARE = 0.10
CHANGES_FULL = 3  # changes of the winning class that count as a full flip (tune)
MISSED_FULL = 3  # missed frames that count as a full gap (tune)
GHOST_LOOKS = 2  # a track with at most this many looks above the threshold is a ghost (tune)
BAND_WIDTH = 0.12  # how near the threshold a confidence counts as doubtful (tune)
WEIGHT_FLOOR = 0.05  # what a pass without any doubt still weighs (tune)

WINDOW_S = 7200.0
LEAST_CONTROL = 0.2  # share of the budget
NEAR_MISS_FLOOR = 0.05  # confidence below which nothing is called a near miss

Payload = TypeVar("Payload")


class Uniform(Protocol):
    """A stream of independent numbers in [0, 1): `random.Random` and numpy's `Generator` are such."""

    def random(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Look:
    """One frame of a track in which its face was detected."""

    scores: tuple[float, ...]  # 0..1 per label, in label order
    confidence: float  # 0..1
    threshold: float  # 0..1, from which the winning label counts as detected
    overlap: float | None = None  # IoU of the detected box and the tracker's prediction; None in a track's first frame
    missed: int = 0  # frames without this face since the look before


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """What a track's looks add up to: of constant size, however long a person stands at the door."""

    looks: int = 0
    above: int = 0  # looks at or above the threshold
    pooled: tuple[float, ...] = (0.0,) * len(LABELS)  # scores summed, weighted by confidence
    votes: tuple[int, ...] = (0,) * len(LABELS)  # looks that each label won
    winner: int = -1  # index of the label that won the last look
    changes: int = 0  # of the winner, from look to look
    missed: int = 0  # frames inside the track without a look
    overlaps: int = 0
    overlap_sum: float = 0.0
    confidence: float = 0.0  # the highest
    excess: float = -1.0  # the highest confidence minus threshold

    def after(self, look: Look) -> "TrackFacts":
        """The facts with one look more."""
        winner = max(range(len(look.scores)), key=look.scores.__getitem__)
        return TrackFacts(
            looks=self.looks + 1,
            above=self.above + (look.confidence >= look.threshold),
            pooled=tuple(old + new * look.confidence for old, new in zip(self.pooled, look.scores, strict=True)),
            votes=tuple(count + (index == winner) for index, count in enumerate(self.votes)),
            winner=winner,
            changes=self.changes + (self.looks > 0 and winner != self.winner),
            missed=self.missed + look.missed,
            overlaps=self.overlaps + (look.overlap is not None),
            overlap_sum=self.overlap_sum + (look.overlap or 0.0),
            confidence=max(self.confidence, look.confidence),
            excess=max(self.excess, look.confidence - look.threshold),
        )

    @property
    def best(self) -> int:
        """Index of the label that the whole track speaks for."""
        return max(range(len(self.pooled)), key=self.pooled.__getitem__)

    @property
    def near_miss(self) -> bool:
        """Whether something face-like was there that never reached the threshold: not a pass."""
        return self.above == 0 and self.confidence > NEAR_MISS_FLOOR


def score(facts: TrackFacts) -> float:
    """How doubtful a track is, 0..1; raises ContractError for a track without a look."""
    if facts.looks == 0:
        raise ContractError("a track without a look has no score")
    ghost = 1.0 if facts.above <= GHOST_LOOKS else 0.0
    return (
        MARGIN_SHARE * _margin(facts)
        + FLIP_SHARE * _flip(facts)
        + GAP_SHARE * max(min(1.0, facts.missed / MISSED_FULL), ghost)
        + LOC_SHARE * (1 - facts.overlap_sum / facts.overlaps if facts.overlaps else 0.0)
        + BAND_SHARE * exp(-((facts.excess / BAND_WIDTH) ** 2))
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of a window is chosen; raises ContractError for numbers that make no sample."""

    budget: int  # crops a window, all roles together
    control_share: float = LEAST_CONTROL  # of the budget: .2 to 1; half in the first week of a door or a model
    class_weights: tuple[float, ...] = (1.0,) * len(LABELS)  # above 0, in label order
    window_s: float = WINDOW_S

    def __post_init__(self) -> None:
        if self.budget < 0:
            raise ContractError(f"a budget of {self.budget} crops a window")
        if not LEAST_CONTROL <= self.control_share <= 1:
            raise ContractError(f"a control share of {self.control_share}; {LEAST_CONTROL} to 1 are allowed")
        if len(self.class_weights) != len(LABELS) or not all(isfinite(w) and w > 0 for w in self.class_weights):
            raise ContractError(f"class weights are {len(LABELS)} numbers above 0, not {self.class_weights}")
        if not (isfinite(self.window_s) and self.window_s > 0):
            raise ContractError(f"a window of {self.window_s} s")

    @property
    def control(self) -> int:
        """Places for control passes."""
        return ceil(self.budget * self.control_share - 1e-9)


@dataclass(frozen=True, slots=True)
class Streams:
    """The sampler's randomness, one independent stream per role, so that no choice can lean on another."""

    control: Uniform
    priority: Uniform
    near_miss: Uniform


@dataclass(frozen=True, slots=True)
class Chosen(Generic[Payload]):
    """One pass, or one near miss, to be sent: the sampling fields of a `CropHeader`, and the caller's own payload."""

    role: Role
    window: UUID
    window_passes: int
    weight: float | None
    payload: Payload


@dataclass(frozen=True, slots=True, order=True)
class _Ranked:
    priority: float
    number: int  # of the pass in its window: never equal, so that an order never asks further
    weight: float


class Window(Generic[Payload]):
    """One window's sample as passes come: constant cost a pass, at most 2 * budget + 2 payloads held.

    Control is a uniform reservoir over all passes. Priority sampling (Duffield, Lund, Thorup 2007) picks from the
    others; for any value x of a pass, sum(x of control) + sum(weight * x of priority) is an unbiased total over the
    window, and so is sum(weight * x of control) alone.
    """

    def __init__(self, name: UUID, plan: Plan, streams: Streams) -> None:
        self.name = name
        self.passes = 0
        self._plan = plan
        self._streams = streams
        self._control: list[tuple[int, Payload]] = []
        self._ranked: list[tuple[_Ranked, Payload]] = []  # a heap of the highest priorities, the lowest first
        self._near_miss: Payload | None = None
        self._near_misses = 0

    @property
    def held(self) -> int:
        """Payloads that the window keeps alive now."""
        return len(self._control) + len(self._ranked) + (self._near_misses > 0)

    def offer(self, facts: TrackFacts, payload: Payload) -> None:
        """Take one closed, confirmed track; raises ContractError for one without a look."""
        doubt = score(facts)
        number, self.passes = self.passes, self.passes + 1
        if self._plan.budget == 0:
            return
        spot = int(self._streams.control.random() * self.passes)
        if number < self._plan.control:
            self._control.append((number, payload))
        elif spot < self._plan.control:
            self._control[spot] = (number, payload)
        weight = (WEIGHT_FLOOR + doubt) * self._plan.class_weights[facts.best]
        entry = _Ranked(weight / (1 - self._streams.priority.random()), number, weight)
        # One more than the budget: even when control takes its places, the next priority is still known.
        if len(self._ranked) <= self._plan.budget:
            heapq.heappush(self._ranked, (entry, payload))
        elif entry > self._ranked[0][0]:
            heapq.heapreplace(self._ranked, (entry, payload))

    def offer_near_miss(self, facts: TrackFacts, payload: Payload) -> None:
        """Take a closed track that never was a pass; every near miss of the window is kept with equal chance."""
        if not facts.near_miss or not self._near_miss_has_room():
            return
        self._near_misses += 1
        if self._streams.near_miss.random() * self._near_misses < 1:
            self._near_miss = payload

    def close(self, *, intact: bool = True) -> list[Chosen[Payload]]:
        """The window's sample: control, priority (highest first), near miss; never more than the budget.

        A window that was thinned, or lost some of its priority crops, is not `intact`: those only teach (no weight).
        Control keeps its weight, since it stays uniform; a near miss never has one, since it stands for no pass.
        """
        in_control = {number for number, _ in self._control}
        rest = sorted((one for one in self._ranked if one[0].number not in in_control), reverse=True, key=_rank)
        places = self._plan.budget - self._plan.control - (self._near_misses > 0)
        threshold = rest[places][0].priority if len(rest) > places else 0.0
        chosen = [self._chosen(Role.CONTROL, self.passes / len(self._control), payload) for _, payload in self._control]
        for entry, payload in rest[:places]:
            weight = max(1.0, threshold / entry.weight) if intact else None
            chosen.append(self._chosen(Role.PRIORITY, weight, payload))
        if self._near_miss is not None:
            chosen.append(self._chosen(Role.NEAR_MISS, None, self._near_miss))
        return chosen

    def _near_miss_has_room(self) -> bool:
        """A near miss takes one of the priority places, but never the only one."""
        return self._plan.budget - self._plan.control >= 2

    def _chosen(self, role: Role, weight: float | None, payload: Payload) -> Chosen[Payload]:
        return Chosen(role, self.name, self.passes, weight, payload)


class Sampler(Generic[Payload]):
    """Windows one after the other; times are s on a clock that never steps back."""

    def __init__(self, plan: Plan, streams: Streams, *, new_window: Callable[[], UUID], at_s: float) -> None:
        self.plan = plan  # a new one takes effect with the next window
        self._streams = streams
        self._new_window = new_window
        self.window: Window[Payload] = Window(new_window(), plan, streams)
        self._ends_at_s = at_s + plan.window_s

    def turn(self, at_s: float, *, stop: bool = False, intact: bool = True) -> list[Chosen[Payload]]:
        """Close the window if its time is over, or on `stop`, and open the next; nothing while it still runs."""
        if at_s < self._ends_at_s and not stop:
            return []
        closed = self.window.close(intact=intact)
        self.window = Window(self._new_window(), self.plan, self._streams)
        self._ends_at_s = at_s + self.plan.window_s
        return closed


def _rank(one: tuple[_Ranked, object]) -> _Ranked:
    return one[0]


def _margin(facts: TrackFacts) -> float:
    """1 - (best - second best) of the pooled scores as shares of their sum, 0..1."""
    total = sum(facts.pooled)
    if total <= 0:
        return 1.0
    second, best = sorted(facts.pooled)[-2:]
    return 1 - (best - second) / total


def _flip(facts: TrackFacts) -> float:
    """Half how often the winner changed, half how split the vote is (full at an even vote of two), 0..1."""
    split = min(1.0, 2 * (1 - max(facts.votes) / facts.looks))
    return (min(1.0, facts.changes / CHANGES_FULL) + split) / 2
