"""Precision and recall from stored matches: once per model, then again for any weighting of the images or threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.labels import Label

RECALLS = np.linspace(0, 1, 101)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Matches:
    """One class of one model on one split, at the ten overlaps .50 to .95; detections best first."""

    image: npt.NDArray[np.int64]  # of each detection
    hit: npt.NDArray[np.bool_]  # (overlaps, detections)
    counted: npt.NDArray[np.bool_]  # likewise; False for what was to be ignored
    positives: npt.NDArray[np.int64]  # per image: faces to find


@dataclass(frozen=True, slots=True)
class Ranking:
    """One class of one model on one split at IoU .5: what it said, surest first."""

    confidence: Floats  # (detections,) 0..1
    hit: npt.NDArray[np.bool_]  # (detections,)
    positives: int  # faces to find


@dataclass(frozen=True, slots=True)
class Operation:
    """What a door would get at each of some thresholds; all (thresholds,), 0 where nothing reaches one."""

    precision: Floats
    recall: Floats
    f1: Floats
    said: npt.NDArray[np.int64]  # detections that reach it


def at_thresholds(ranking: Ranking, thresholds: Sequence[float] | Floats) -> Operation:
    """Precision, recall and F1 of the detections whose confidence reaches each threshold."""
    rising = ranking.confidence[::-1]
    taken = len(rising) - np.searchsorted(rising, np.asarray(thresholds, float), side="left")
    right = np.concatenate([[0], np.cumsum(ranking.hit)])[taken].astype(float)
    return Operation(
        right / np.maximum(taken, 1),
        right / max(ranking.positives, 1),
        2 * right / np.maximum(taken + ranking.positives, 1),
        taken,
    )


def average_precision(matches: Matches, weights: Floats) -> Floats | None:
    """AP at each overlap with image i counted `weights[i]` times, COCO's arithmetic; None without a face to find."""
    positives = float(weights @ matches.positives)
    if positives == 0:
        return None
    recalls, precision = _envelopes(matches, weights, positives)
    result = np.zeros(len(precision))
    for row, (recall, curve) in enumerate(zip(recalls, precision, strict=True)):
        spots = np.searchsorted(recall, RECALLS, side="left")
        result[row] = curve[spots[spots < len(curve)]].sum() / len(RECALLS)
    return result


def map50_95(matches: Mapping[Label, Matches], weights: Floats) -> dict[Label, float]:
    """AP over all overlaps, by class; classes without a face to find are left out."""
    found = {label: average_precision(one, weights) for label, one in matches.items()}
    return {label: float(value.mean()) for label, value in found.items() if value is not None}


def precision_recall(matches: Matches) -> tuple[Floats, Floats]:
    """Recall and, for each, the best precision at it or beyond, both (detections,) at IoU .5: the area under it is AP50.

    Both are empty where there is no face to find.
    """
    positives = int(matches.positives.sum())
    if positives == 0:
        return np.empty(0), np.empty(0)
    recalls, precision = _envelopes(matches, np.ones(len(matches.positives)), positives)
    return recalls[0], precision[0]


def _envelopes(matches: Matches, weights: Floats, positives: float) -> tuple[Floats, Floats]:
    """Recall and interpolated precision, (overlaps, detections) each."""
    weight = weights[matches.image]
    right = np.cumsum(weight * (matches.hit & matches.counted), axis=1)
    wrong = np.cumsum(weight * (~matches.hit & matches.counted), axis=1)
    precision = right / (right + wrong + np.spacing(1))
    return right / positives, np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
