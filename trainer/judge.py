"""Candidate against champion on the same pictures, the same day: what the gate is asked, and what it answered."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from agent.vision.runtime import open_model
from agent.vision.yolo import letterbox
from contract.errors import ContractError
from contract.jobs import ClassScore, Comparison, Scores
from contract.release import read_manifest
from trainer.dataset import DOOR_FACE, Split
from trainer.evaluate import Report, evaluate
from trainer.gate import NOT_ASKED, Cost, Hard, Loss, Pair, Result, difference, objections, too_few
from trainer.pack import Pack

SEED = 1
TIMED = 60  # runs of each network, in turn, for their latency
LEAST_PICTURES = 100  # with fewer, what int8 costs is mostly chance


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Pictures to judge on; `groups` numbers each one's group (scene, door and day), of which all or none are drawn."""

    name: str
    split: Split
    groups: Sequence[int]

    @classmethod
    def of(cls, name: str, split: Split, group: Mapping[str, str] | None = None) -> "Exhibit":
        """`group` names groups by file name; a picture that is not in it is a group of its own."""
        names = [(group or {}).get(image.name, str(image)) for image in split.images]
        return cls(name, split, tuple(np.unique(names, return_inverse=True)[1].tolist()))


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gate's word, and what it rests on."""

    objections: tuple[str, ...]  # empty: it may ship
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    hard: tuple[Hard, ...] = ()  # by case; empty: no pack was shown


def judge(
    champion: Path,
    candidate: Path,
    exhibits: Sequence[Exhibit],
    progress: Callable[[int, int], None] | None = None,
    *,
    hard: Pack | None = None,
) -> Judgement:
    """Score both files on every exhibit, show them the hard cases, time them in turn, and ask the gate.

    What the candidate lost by its quantisation is taken from its manifest, where `trainer export` wrote it.
    Raises ContractError for files or images that cannot be read.
    """
    if not exhibits:
        raise ContractError("there is nothing to judge on: name a split")
    shown = [len(one.split.images) for one in exhibits] + ([len(hard.pictures)] if hard else [])
    steps, told = 2 * sum(shown), 0

    def step(_part: int, _whole: int) -> None:
        nonlocal told
        told += 1
        if progress:
            progress(told, steps)

    comparisons, pairs = [], []
    for one in exhibits:
        old, new = (evaluate(model, one.split, min_box=DOOR_FACE, progress=step) for model in (champion, candidate))
        comparisons.append(Comparison(split=one.name, champion=_scores(old), candidate=_scores(new)))
        pairs.append(Pair(one.name, one.groups, _result(old), _result(new)))
    cases = tuple(map(Hard, *(hard.show(model, step) for model in (champion, candidate)))) if hard else ()
    costs = _costs(champion, candidate, exhibits[0].split)
    losses = _losses(candidate)
    found = objections(pairs, champion=costs[0], candidate=costs[1], losses=losses, hard=cases, seed=SEED)
    notes = (
        *_gains(pairs),
        *too_few(pairs),
        f"its network takes {costs[1].latency_ms:.1f} ms a frame here, the champion's {costs[0].latency_ms:.1f} ms",
        *(
            f"{one.split}: int8 {'gains' if one.map50 < 0 else 'costs'} {abs(100 * one.map50):.1f} points mAP50"
            for one in losses
        ),
        *((NOT_ASKED,) if costs[1].streamed is None else ()),
    )
    return Judgement(found, tuple(comparisons), notes, cases)


def _scores(report: Report) -> Scores:
    return Scores(
        map50=report.map50, map50_95=report.map50_95, images=report.images,
        per_class={
            label: ClassScore(ap50=one.ap50, ap50_95=one.ap50_95, recall=one.recall, precision=one.precision)
            for label, one in report.per_class.items()
        },
    )  # fmt: skip


def _result(report: Report) -> Result:
    recall = {label: one.recall for label, one in report.per_class.items()}
    return Result(recall, report.matches, report.alarms, report.empty)


def _losses(candidate: Path) -> tuple[Loss, ...]:
    """By split, from the manifest; none where the float network was not scored at the same thresholds, or on few pictures."""
    found = []
    for split, told in read_manifest(candidate).metrics.items():
        before = told.get("float") if isinstance(told, dict) else None
        if before and "recall" in told and told["images"] >= LEAST_PICTURES:
            found.append(Loss(split, before["map50"] - told["map50"], before["recall"] - told["recall"]))
    return tuple(found)


def _gains(pairs: list[Pair]) -> list[str]:
    found = [(pair.split, difference(pair, seed=SEED)) for pair in pairs]
    return [
        f"{split}: {100 * gain.estimate:+.1f} points mAP50-95 (95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        for split, gain in found
        if gain
    ]


def _costs(champion: Path, candidate: Path, split: Split) -> tuple[Cost, Cost]:
    """Sizes, and the shortest run of each network, as both take turns at the same pictures: what else runs here only adds.

    The network alone is timed: a file that finds more faces has more boxes to decode, and that is no fault of it.
    """
    networks = []
    for path in (champion, candidate):
        network = open_model(path)
        networks.append((network, network.get_input_details()[0]["index"], read_manifest(path).input_size))
    took: list[list[float]] = [[], []]
    for index in range(TIMED):
        image = split.images[index % len(split.images)]
        pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ContractError(f"cannot read the image {image}")
        for times, (network, entry, size) in zip(took, networks, strict=True):
            tensor = letterbox(pixels.astype(np.uint8), size)[0]
            begun = time.perf_counter()
            network.set_tensor(entry, tensor)
            network.invoke()
            times.append(1000 * (time.perf_counter() - begun))
    costs = [
        Cost(path.stat().st_size, min(times), _streamed(path))
        for path, times in zip((champion, candidate), took, strict=True)
    ]
    return costs[0], costs[1]


def _streamed(path: Path) -> int | None:
    known = read_manifest(path).edge_tpu
    return known.off_chip_bytes if known else None
