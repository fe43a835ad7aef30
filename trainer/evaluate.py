"""Score the int8 file that ships, through the device's own eyes, with COCO's arithmetic (pycocotools).

Average precision ranks every class score of every face found, as published figures do and as the votes along a track use
them; recall and precision count what the door would say: one label a face, where its score reaches the threshold.
"""

import contextlib
import io
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from agent.vision.detector import Detection, Detector
from agent.vision.yolo import Pixels
from contract.errors import ContractError
from contract.labels import LABELS, Label
from trainer.dataset import Split, label_path
from trainer.scores import Matches

LOWEST = 0.001  # confidence from which detections enter the precision-recall curves
Look = Callable[[Path, Pixels], list[Detection]]  # an image and its pixels (BGR) to what is found there


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
    best_thresholds: dict[Label, float]  # where each class's F1 peaks on this split
    matches: dict[Label, Matches] = field(default_factory=dict, repr=False)  # for drawing images again

    @property
    def map50(self) -> float:
        return _mean([score.ap50 for score in self.per_class.values()])

    @property
    def map50_95(self) -> float:
        return _mean([score.ap50_95 for score in self.per_class.values()])

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
    return judge(
        lambda _, pixels: detector.detect(pixels), split,
        thresholds=detector.manifest.thresholds, min_box=min_box, progress=progress,
    )  # fmt: skip


def judge(
    look: Look, split: Split, *, thresholds: Mapping[Label, float] | None = None, min_box: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Report:  # fmt: skip
    """Score whatever finds faces: `look` answers with every detection from LOWEST, boxes in the unit square.

    Recall and precision are taken at `thresholds`, or where each class's F1 peaks on this very split.
    Raises ContractError for unreadable images or labels.
    """
    truth, found = [], []
    for index, image in enumerate(split.images):
        pixels = read_pixels(image)
        height, width = pixels.shape[:2]
        truth.extend(true_boxes(image, index, width, height))
        found.extend(_found(look(image, pixels), index, width, height))
        if progress:
            progress(index + 1, len(split.images))
    return _score(truth, found, len(split.images), min_box, thresholds)


def read_pixels(image: Path) -> Pixels:
    """BGR (height, width, 3); raises ContractError where the image cannot be read."""
    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ContractError(f"cannot read the image {image}")
    return pixels.astype(np.uint8, copy=False)


def true_boxes(image: Path, index: int, width: int, height: int) -> list[dict[str, Any]]:
    """The labelled faces of `image` as COCO annotations: `bbox` is x, y, width, height in px, `share` its width's share.

    Raises ContractError for a row that is no label, by its number.
    """
    labels = label_path(image)
    rows = labels.read_text().split("\n") if labels.exists() else []
    boxes = []
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            kind, x, y, w, h = (float(part) for part in row.split())
            if int(kind) not in range(len(LABELS)):
                raise ValueError(f"class {kind:g}")  # noqa: TRY301 - one message for every fault of a row
        except ValueError as error:
            raise ContractError(f"{labels}, line {number}: expected `class x y w h` ({error})") from error
        corner = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
        boxes.append(
            {"image_id": index, "category_id": int(kind), "bbox": corner, "share": w * width / max(width, height)}
        )
    return boxes


def _found(detections: list[Detection], index: int, width: int, height: int) -> list[dict[str, Any]]:
    return [
        {
            "image_id": index, "category_id": kind, "score": score, "said": LABELS[kind] is one.label,
            "bbox": [one.box.x0 * width, one.box.y0 * height, one.box.width * width, one.box.height * height],
            "share": one.box.width * width / max(width, height),
        }
        for one in detections
        for kind, score in enumerate(one.scores)
        if score >= LOWEST
    ]  # fmt: skip


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
    for index, label in enumerate(LABELS):
        curve = precision[:, :, index, 0, 0]
        if (curve < 0).all():
            continue
        confidence, hit, positives = _matches(said, index)
        best[label] = _peak(confidence, hit, positives)
        threshold = best[label] if thresholds is None else thresholds[label]
        recall_at, precision_at = _operating(confidence, hit, positives, threshold)
        scores[label] = Score(float(curve[0].mean()), float(curve.mean()), recall_at, precision_at)
        kept[label] = _every_match(scored, index, images)
    return Report(scores, images, best, kept)


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


def _matches(scored: COCOeval, category: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], int]:
    """Of one class at IoU 0.5: confidences, best first; which of them hit; how many there were to find."""
    confidence, hit, positives = [], [], 0
    for one in scored.evalImgs:
        if one is None or one["category_id"] != category:
            continue
        counted = ~one["dtIgnore"][0].astype(bool)
        confidence.extend(np.asarray(one["dtScores"])[counted])
        hit.extend(one["dtMatches"][0][counted] > 0)
        positives += int((~np.asarray(one["gtIgnore"]).astype(bool)).sum())
    order = np.argsort(-np.asarray(confidence, float), kind="stable")
    return np.asarray(confidence, float)[order], np.asarray(hit, bool)[order], positives


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


def _operating(
    confidence: npt.NDArray[np.float64], hit: npt.NDArray[np.bool_], positives: int, threshold: float
) -> tuple[float, float]:
    taken = hit[confidence >= threshold]
    return float(taken.sum() / positives) if positives else 0.0, float(taken.mean()) if taken.size else 0.0


def _peak(confidence: npt.NDArray[np.float64], hit: npt.NDArray[np.bool_], positives: int) -> float:
    """The confidence at which F1 is highest, kept between 0.3 and 0.6: few examples make the peak a matter of luck."""
    if not hit.any():
        return 0.35
    right = np.cumsum(hit)
    f1 = 2 * right / (np.arange(1, len(hit) + 1) + positives)
    return float(np.clip(confidence[int(np.argmax(f1))], 0.3, 0.6))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def show_progress(done: int, total: int) -> None:
    """A line on stderr that rewrites itself, where somebody is watching."""
    if sys.stderr.isatty():
        print(f"\r{done} of {total} images", end="\n" if done == total else "", file=sys.stderr, flush=True)
