"""May a candidate ship? It is compared with the champion on the same images; an empty list of objections is a yes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.labels import Label
from trainer.hard import Tally, share_right
from trainer.scores import Matches, map50_95

DRAWS = 1_000
WORST = -0.01  # the lower bound of the mAP50-95 difference must lie above
RECALL_LOSS, RARE_RECALL_LOSS = 0.03, 0.05
LEAST_FACES = 20  # of a class in a split: with fewer, one face more or less would decide
GROWTH = 1.1  # of size and latency
UNFELT_MS = 0.5  # a difference in latency that no door feels, and that a clock hardly tells from noise
RARE = Label.MASK_WORN_INCORRECTLY
MORE_ALARMS, LEAST_ALARMS = 1.1, 3  # times the champion's on empty frames, and by at least so many
LOST_MAP50, LOST_RECALL = 0.03, 0.02  # by quantisation, at most
NOT_ASKED = "not asked: whether the accelerator's memory holds it, since the Edge TPU's compiler was not at hand"
LOST_HARD = 0.03  # of the hard cases, said right


@dataclass(frozen=True, slots=True)
class Result:
    """One file on one split."""

    recall: Mapping[Label, float]  # at the file's own thresholds
    matches: Mapping[Label, Matches]
    alarms: int = 0  # what was said where the picture shows no face
    empty: int = 0  # pictures that show none


@dataclass(frozen=True, slots=True)
class Cost:
    """What a file takes to run."""

    size: int  # bytes
    latency_ms: float  # of the network alone
    streamed: int | None = None  # bytes outside the Edge TPU's memory, as its compiler said; None where it did not run


@dataclass(frozen=True, slots=True)
class Loss:
    """What the candidate's float network has more than its int8 file, on one split; ratios."""

    split: str
    map50: float
    recall: float  # of all faces, whatever their class, both at the thresholds that ship


@dataclass(frozen=True, slots=True)
class Pair:
    """Both files on one split; `groups` numbers each image's group, of which all or none are drawn."""

    split: str
    groups: Sequence[int]
    champion: Result
    candidate: Result


@dataclass(frozen=True, slots=True)
class Hard:
    """Both files on the same pictures of one hard case."""

    champion: Tally
    candidate: Tally


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus champion in mAP50-95, with the bounds between which 95 % of the draws lie."""

    estimate: float
    low: float
    high: float


def objections(
    pairs: Sequence[Pair],
    *,
    champion: Cost,
    candidate: Cost,
    losses: Sequence[Loss] = (),
    hard: Sequence[Hard] = (),
    seed: int,
    draws: int = DRAWS,
) -> tuple[str, ...]:
    """Why the candidate may not ship, in plain words; empty: it may."""
    found = [] if pairs else ["there are no images to judge on"]
    for pair in pairs:
        found += _about(pair, difference(pair, seed=seed, draws=draws)) + _alarmed(pair)
    for loss in losses:
        for lost, allowed, what in ((loss.map50, LOST_MAP50, "mAP50"), (loss.recall, LOST_RECALL, "recall")):
            if lost > allowed + 1e-9:
                found.append(
                    f"{loss.split}: int8 costs {100 * lost:.1f} points {what}; at most {100 * allowed:g} are allowed"
                )
    found += _fooled(hard)
    for what, old, new, unit, unfelt in (
        ("is larger", champion.size / 1e6, candidate.size / 1e6, "MB", 0.0),
        ("is slower", champion.latency_ms, candidate.latency_ms, "ms", UNFELT_MS),
    ):
        if new > GROWTH * old and new - old > unfelt:
            found.append(f"it {what}: {new:.2f} {unit} against {old:.2f}, at most {GROWTH:g} times as much is allowed")
    if candidate.streamed:
        found.append(f"{candidate.streamed / 1e6:.2f} MB of it lie outside the Edge TPU's memory")
    return tuple(found)


def difference(pair: Pair, *, seed: int, draws: int = DRAWS) -> Difference | None:
    """Paired bootstrap over groups: the same images are drawn for both. None where no class has a face to find."""
    groups = np.unique(np.asarray(pair.groups), return_inverse=True)[1]
    number, rng = int(groups.max(initial=-1)) + 1, np.random.default_rng(seed)
    estimate = _gain(pair, np.ones(len(groups)))
    if estimate is None:
        return None
    drawn = []
    for _ in range(draws):
        counts = np.bincount(rng.integers(0, number, number), minlength=number)
        gain = _gain(pair, counts[groups].astype(np.float64))
        if gain is not None:
            drawn.append(gain)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Difference(estimate, float(low), float(high))


def too_few(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Where recall was not judged, in words."""
    return tuple(
        f"{pair.split}: {_faces(pair, label)} faces {label.value}, too few to judge what share is found"
        for pair in pairs
        for label in pair.champion.recall
        if _faces(pair, label) < LEAST_FACES
    )


def _faces(pair: Pair, label: Label) -> int:
    return int(pair.champion.matches[label].positives.sum()) if label in pair.champion.matches else 0


def _about(pair: Pair, gain: Difference | None) -> list[str]:
    if gain is None:
        return [f"{pair.split}: there is no labelled face to judge on"]
    found = []
    if gain.estimate < 0:
        found.append(f"{pair.split}: it is worse by {-100 * gain.estimate:.1f} points mAP50-95")
    if gain.low <= WORST:
        found.append(
            f"{pair.split}: it may be worse by {-100 * gain.low:.1f} points mAP50-95 (95 % interval "
            f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}); less than {-100 * WORST:g} must be certain"
        )
    for label, before in pair.champion.recall.items():
        if _faces(pair, label) < LEAST_FACES:
            continue
        allowed = RARE_RECALL_LOSS if label is RARE else RECALL_LOSS
        after = pair.candidate.recall.get(label, 0.0)
        if before - after > allowed + 1e-9:
            found.append(
                f"{pair.split}: it finds {100 * after:.1f} % of {label.value} instead of {100 * before:.1f} %; "
                f"at most {100 * allowed:g} points fewer are allowed"
            )
    return found


def _alarmed(pair: Pair) -> list[str]:
    old, new, empty = pair.champion.alarms, pair.candidate.alarms, pair.candidate.empty
    if new <= MORE_ALARMS * old or new - old < LEAST_ALARMS:
        return []
    rates = [f"{1000 * alarms / empty:.0f}" for alarms in (new, old)]
    return [f"{pair.split}: it sees {rates[0]} faces in 1,000 empty pictures instead of {rates[1]}"]


def _fooled(hard: Sequence[Hard]) -> list[str]:
    """One case has too few faces to judge alone: the whole pack decides, and the case that lost most is named."""
    before, after = share_right([one.champion for one in hard]), share_right([one.candidate for one in hard])
    if before - after <= LOST_HARD + 1e-9:
        return []
    worst = max(hard, key=lambda one: share_right([one.champion]) - share_right([one.candidate]))
    return [
        f"hard cases: it says {100 * after:.1f} % right instead of {100 * before:.1f} %; at most {100 * LOST_HARD:g} points fewer "
        f"are allowed; worst is {worst.candidate.case}, {worst.candidate.right} right instead of {worst.champion.right} "
        f"of {worst.champion.faces}"
    ]


def _gain(pair: Pair, weights: npt.NDArray[np.float64]) -> float | None:
    old, new = map50_95(pair.champion.matches, weights), map50_95(pair.candidate.matches, weights)
    return float(np.mean([new.get(label, 0.0) - value for label, value in old.items()])) if old else None
