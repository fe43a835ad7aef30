"""YOLOv5's arithmetic on the device: letterbox, the cut graph's int8 maps to boxes, non-maximum suppression."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Int8 = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]

GREY = 114  # the padding that the network saw in training
BINS = 16  # distance bins per box side


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a frame came to lie in the square network input: input px = frame px * scale + offset."""

    scale: float
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class Scale:
    """int8 `q` stands for (q - zero) * step."""

    step: float
    zero: int

    def floats(self, values: Int8) -> Floats:
        """The numbers that `values` stand for."""
        return np.asarray((values.astype(np.float32) - self.zero) * self.step, np.float32)


@dataclass(frozen=True, slots=True)
class Maps:
    """The two output maps of one stride and their quantisation."""

    stride: int
    boxes: Int8  # (rows, columns, 4 * BINS)
    classes: Int8  # (rows, columns, classes)
    box_scale: Scale
    class_scale: Scale


def letterbox(pixels: Pixels, size: int) -> tuple[Int8, Placement]:
    """Fit a BGR frame (height, width, 3) into the network's input: int8 RGB (1, size, size, 3), grey around.

    int8 is the byte minus 128, which is what a scale of 1/255 and a zero point of -128 mean.
    """
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    inner_w, inner_h = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - inner_w) // 2, (size - inner_h) // 2
    canvas = np.full((1, size, size, 3), GREY, np.uint8)
    small = cv2.resize(pixels, (inner_w, inner_h), interpolation=cv2.INTER_LINEAR)
    cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=small)
    canvas[0, top : top + inner_h, left : left + inner_w] = small
    np.bitwise_xor(canvas, 0x80, out=canvas)
    return canvas.view(np.int8), Placement(scale, left, top)


def decode(
    maps: Sequence[Maps], thresholds: Sequence[float], *, below: Sequence[float] | None = None
) -> tuple[Floats, Floats]:
    """Boxes (n, 4) as corners in input px and class scores (n, classes), of cells where a class reaches its threshold.

    Cells where a class reaches its threshold of `below`, where that is given, are left out.

    The threshold is taken over into int8 logits, so that only survivors are ever turned into floats.
    """
    boxes, scores = [], []
    for level in maps:
        rows, columns, classes = level.classes.shape
        floor = [_lowest(threshold, level.class_scale) for threshold in thresholds]
        logits = level.classes.reshape(-1, classes)
        reached = (logits >= np.asarray(floor, np.int16)).any(axis=1)
        if below is not None:
            ceiling = [_lowest(threshold, level.class_scale) for threshold in below]
            reached &= (logits < np.asarray(ceiling, np.int16)).all(axis=1)
        kept = np.flatnonzero(reached)
        if not kept.size:
            continue
        scores.append(1 / (1 + np.exp(-level.class_scale.floats(logits[kept]))))
        bins = level.box_scale.floats(level.boxes.reshape(rows * columns, 4, BINS)[kept])
        boxes.append(corners(bins, kept, columns, level.stride))
    if not boxes:
        return np.empty((0, 4), np.float32), np.empty((0, len(thresholds)), np.float32)
    return np.concatenate(boxes), np.concatenate(scores)


def corners(bins: Floats, cells: npt.NDArray[np.intp], columns: int, stride: int) -> Floats:
    """Boxes (n, 4) as corners in input px, from the distance logits (n, 4, BINS) of `cells` in a map of `columns`."""
    weights = np.exp(bins - bins.max(axis=2, keepdims=True))
    sides = (weights @ np.arange(BINS, dtype=np.float32)) / weights.sum(axis=2) * stride
    centre = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32) * stride + stride / 2
    return np.concatenate([centre - sides[:, :2], centre + sides[:, 2:]], axis=1)


def suppress(boxes: Floats, scores: Floats, *, iou: float, most: int = 100) -> npt.NDArray[np.intp]:
    """Greedy NMS over all classes at once, since a face wears a mask in one way: kept indices, best first.

    boxes (n, 4) corners, scores (n, classes) of which each box's best counts.
    """
    best = scores.max(axis=1)
    order = np.argsort(-best, kind="stable")
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    while order.size and len(kept) < most:
        first, rest = order[0], order[1:]
        kept.append(int(first))
        wide = np.minimum(boxes[first, 2], boxes[rest, 2]) - np.maximum(boxes[first, 0], boxes[rest, 0])
        high = np.minimum(boxes[first, 3], boxes[rest, 3]) - np.maximum(boxes[first, 1], boxes[rest, 1])
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        order = rest[shared <= iou * (area[first] + area[rest] - shared)]
    return np.asarray(kept, np.intp)


def _lowest(threshold: float, scale: Scale) -> int:
    """The smallest int8 logit whose sigmoid reaches `threshold`; 128 where none does."""
    if threshold <= 0:
        return -128
    if threshold >= 1:
        return 128
    return min(128, max(-128, ceil(log(threshold / (1 - threshold)) / scale.step + scale.zero - 1e-6)))
