"""Average precision from stored matches: once per model, then again for any weighting of the images."""

from collections.abc import Mapping
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


def average_precision(matches: Matches, weights: Floats) -> Floats | None:
    """AP at each overlap with image i counted `weights[i]` times, COCO's arithmetic; None without a face to find."""
    positives = float(weights @ matches.positives)
    if positives == 0:
        return None
    weight = weights[matches.image]
    right = np.cumsum(weight * (matches.hit & matches.counted), axis=1)
    wrong = np.cumsum(weight * (~matches.hit & matches.counted), axis=1)
    precision = right / (right + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    result = np.zeros(len(precision))
    for row, (recall, curve) in enumerate(zip(right / positives, precision, strict=True)):
        spots = np.searchsorted(recall, RECALLS, side="left")
        result[row] = curve[spots[spots < len(curve)]].sum() / len(RECALLS)
    return result


def map50_95(matches: Mapping[Label, Matches], weights: Floats) -> dict[Label, float]:
    """AP over all overlaps, by class; classes without a face to find are left out."""
    found = {label: average_precision(one, weights) for label, one in matches.items()}
    return {label: float(value.mean()) for label, value in found.items() if value is not None}
