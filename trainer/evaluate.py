"""Score the int8 file that ships, through the device's own eyes, with COCO's arithmetic (pycocotools).

Average precision ranks every class score of every face found, as published figures do and as the votes along a track use
them; recall and precision count what the door would say: one label a face, where its score reaches the threshold.
"""

import contextlib
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from agent.vision.detector import Detector
from agent.vision.geometry import Box
from contract.labels import LABELS, Label
from trainer.dataset import Split
from trainer.look import Seen, look
from trainer.scores import Matches, Ranking, at_thresholds

FLAT = 0.01  # of F1, that a surer threshold may cost
LOWEST = 0.001  # confidence from which detections enter the precision-recall curves


@dataclass(frozen=True, slots=True)
class Score:
    """One class: average precision over all thresholds, recall and precision at the operating one."""

    ap50: float
    ap50_95: float
    recall: float
    precision: float


@dataclass(frozen=True, slots=True)
class Report:
    """What a model file is worth on one split; ratios 0..1, NaN-free (a class without ground truth is left out)."""

    per_class: dict[Label, Score]
    images: int
    best_thresholds: dict[Label, float]  # the surest at which each class's F1 is still about its best on this split
    matches: dict[Label, Matches] = field(default_factory=dict, repr=False)  # for drawing images again
    said: dict[Label, Ranking] = field(default_factory=dict, repr=False)  # one label a face, as a door decides
    alarms: int = 0  # what was said, at the thresholds, on images without a labelled face
    empty: int = 0  # images without one

    @property
    def map50(self) -> float:
        return _mean([score.ap50 for score in self.per_class.values()])

    @property
    def map50_95(self) -> float:
        return _mean([score.ap50_95 for score in self.per_class.values()])

    @property
    def recall(self) -> float:
        """Share of all labelled faces that are found and told right, whatever their class, at the operating thresholds."""
        faces = {label: int(self.matches[label].positives.sum()) for label in self.per_class}
        return sum(self.per_class[label].recall * faces[label] for label in faces) / max(1, sum(faces.values()))

    def as_json(self) -> dict[str, Any]:
        """The shape that `trainer evaluate --json` prints."""
        return {
            "map50": round(self.map50, 4),
            "map50_95": round(self.map50_95, 4),
            "per_class": {
                str(label): {
                    "ap50": round(score.ap50, 4), "ap50_95": round(score.ap50_95, 4),
                    "recall": round(score.recall, 4), "precision": round(score.precision, 4),
                }
                for label, score in self.per_class.items()
            },
            "images": self.images,
        }  # fmt: skip


def evaluate(
    model: Path,
    split: Split,
    *,
    min_box: float = 0.0,
    runtime: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Detect on every image of `split` and score it.

    `min_box` ignores ground truth and detections narrower than that share of the image's longer side.
    Raises ContractError for unreadable images or labels.
    """
    detector = Detector.load(model, thresholds=dict.fromkeys(LABELS, LOWEST), runtime=runtime)
    return score(tuple(look(detector.detect, split, progress)), detector.manifest.thresholds, min_box=min_box)


def score(seen: Sequence[Seen], thresholds: Mapping[Label, float] | None, *, min_box: float = 0.0) -> Report:
    """Score what a detector with thresholds of `LOWEST` saw.

    Recall and precision are taken at `thresholds`, or at the `best_thresholds` of these very images.
    """
    truth = [row for one in seen for row in _truth(one)]
    found = [row for one in seen for row in _found(one)]
    return _score(truth, found, len(seen), min_box, thresholds)


def _truth(seen: Seen) -> list[dict[str, Any]]:
    return [
        {
            "image_id": seen.image, "category_id": LABELS.index(face.label), "bbox": _corner(seen, face.box),
            "share": face.share,
        }
        for face in seen.truth
    ]  # fmt: skip


def _found(seen: Seen) -> list[dict[str, Any]]:
    return [
        {
            "image_id": seen.image, "category_id": kind, "score": confidence, "said": LABELS[kind] is one.label,
            "bbox": _corner(seen, one.box), "share": seen.share(one.box),
        }
        for one in seen.found
        for kind, confidence in enumerate(one.scores)
        if confidence >= LOWEST
    ]  # fmt: skip


def _corner(seen: Seen, box: Box) -> list[float]:
    """COCO's way to write a box: left, top, width, height in px."""
    return [box.x0 * seen.width, box.y0 * seen.height, box.width * seen.width, box.height * seen.height]


def _score(
    truth: list[dict[str, Any]],
    found: list[dict[str, Any]],
    images: int,
    min_box: float,
    thresholds: Mapping[Label, float] | None,
) -> Report:
    scored = _matched(truth, found, images, min_box)
    said = _matched(truth, [one for one in found if one["said"]], images, min_box)
    precision = scored.eval["precision"]  # (IoU thresholds, recall steps, classes, areas, limits)
    scores: dict[Label, Score] = {}
    best: dict[Label, float] = {}
    kept: dict[Label, Matches] = {}
    decided: dict[Label, Ranking] = {}
    for index, label in enumerate(LABELS):
        curve = precision[:, :, index, 0, 0]
        if (curve < 0).all():
            continue
        decided[label] = _ranking(said, index)
        best[label] = _surest(decided[label])
        operating = at_thresholds(decided[label], [thresholds[label] if thresholds else best[label]])
        scores[label] = Score(
            float(curve[0].mean()), float(curve.mean()), float(operating.recall[0]), float(operating.precision[0])
        )
        kept[label] = _every_match(scored, index, images)
    taken = thresholds or best
    empty = set(range(images)) - {one["image_id"] for one in truth}
    alarms = sum(
        one["said"] and one["image_id"] in empty and one["share"] >= min_box
        and one["score"] >= taken.get(LABELS[one["category_id"]], 1.0)
        for one in found
    )  # fmt: skip
    return Report(scores, images, best, kept, decided, alarms, len(empty))


def _matched(truth: list[dict[str, Any]], found: list[dict[str, Any]], images: int, min_box: float) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
        scored = COCOeval(_coco(truth, images), _coco(found, images), "bbox")
        # COCO leaves out what lies outside an area range. Its "area" is here a box's share of the image's longer side, so
        # that the range is `--min-box`.
        scored.params.areaRng, scored.params.areaRngLbl = [[min_box, 2.0]], ["all"]
        scored.params.maxDets = [100]
        scored.evaluate()
        scored.accumulate()
    return scored


def _coco(boxes: list[dict[str, Any]], images: int) -> COCO:
    listing = COCO()
    listing.dataset = {
        "images": [{"id": index} for index in range(images)],
        "categories": [{"id": index, "name": str(label)} for index, label in enumerate(LABELS)],
        "annotations": [
            box | {"id": number, "area": box["share"], "iscrowd": 0} for number, box in enumerate(boxes, start=1)
        ],
    }
    listing.createIndex()
    return listing


def _ranking(scored: COCOeval, category: int) -> Ranking:
    confidence, hit, positives = [], [], 0
    for one in scored.evalImgs:
        if one is None or one["category_id"] != category:
            continue
        counted = ~one["dtIgnore"][0].astype(bool)
        confidence.extend(np.asarray(one["dtScores"])[counted])
        hit.extend(one["dtMatches"][0][counted] > 0)
        positives += int((~np.asarray(one["gtIgnore"]).astype(bool)).sum())
    order = np.argsort(-np.asarray(confidence, float), kind="stable")
    return Ranking(np.asarray(confidence, float)[order], np.asarray(hit, bool)[order], positives)


def _every_match(scored: COCOeval, category: int, images: int) -> Matches:
    """Of one class, in the order in which COCO accumulates."""
    ones = [one for one in scored.evalImgs if one is not None and one["category_id"] == category]
    positives = np.zeros(images, np.int64)
    for one in ones:
        positives[one["image_id"]] = int((~np.asarray(one["gtIgnore"]).astype(bool)).sum())
    confidence = np.concatenate([np.asarray(one["dtScores"], float) for one in ones])
    order = np.argsort(-confidence, kind="stable")
    image = np.concatenate([np.full(len(one["dtScores"]), one["image_id"], np.int64) for one in ones])
    hit = np.concatenate([one["dtMatches"] > 0 for one in ones], axis=1)
    counted = np.concatenate([~one["dtIgnore"].astype(bool) for one in ones], axis=1)
    return Matches(image[order], hit[:, order], counted[:, order], positives)


def _surest(ranking: Ranking) -> float:
    """The highest confidence at which F1 is still within FLAT of its peak, between 0.3 and 0.6.

    Around the peak F1 is flat: where it decides nothing, fewer false alarms and fewer faces on the brink do.
    """
    if not ranking.hit.any():
        return 0.35
    right = np.cumsum(ranking.hit)
    f1 = 2 * right / (np.arange(1, len(right) + 1) + ranking.positives)
    first = int(np.argmax(f1 >= f1.max() - FLAT))
    return float(np.clip(ranking.confidence[first], 0.3, 0.6))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def show_progress(done: int, total: int) -> None:
    """A line on stderr that rewrites itself, where somebody is watching."""
    if sys.stderr.isatty():
        print(f"\r{done} of {total} images", end="\n" if done == total else "", file=sys.stderr, flush=True)
