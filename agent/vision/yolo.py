"""YOLOv5's arithmetic on the device: letterbox, the cut graph's int8 maps to boxes, non-maximum suppression."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
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


Fitted = tuple[Int8, Placement]


def letterbox(pixels: Pixels, size: int) -> Fitted:
    """Fit a BGR frame (height, width, 3) into the network's input: int8 RGB (1, size, size, 3), grey around.

    int8 is the byte minus 128, which is what a scale of 1/255 and a zero point of -128 mean.
    """
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    inner_w, inner_h = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - inner_w) // 2, (size - inner_h) // 2
    canvas = np.empty((1, size, size, 3), np.uint8)
    inner = canvas[0, top : top + inner_h, left : left + inner_w]
    small = cv2.resize(pixels, (inner_w, inner_h), interpolation=cv2.INTER_LINEAR)
    cv2.cvtColor(small, cv2.COLOR_BGR2RGB, dst=small)
    np.bitwise_xor(small, 0x80, out=inner)
    for border in (
        canvas[0, :top], canvas[0, top + inner_h :],
        canvas[0, top : top + inner_h, :left], canvas[0, top : top + inner_h, left + inner_w :],
    ):  # fmt: skip
        border[...] = GREY ^ 0x80
    return canvas.view(np.int8), Placement(scale, left, top)


def decode(
    maps: Sequence[Maps], thresholds: Sequence[float], *, below: Sequence[float] | None = None
) -> tuple[Floats, Floats]:
    """Boxes (n, 4) as corners in input px and class scores (n, classes), of cells where a class reaches its threshold.

    Cells where a class reaches its threshold of `below`, where that is given, are left out.

    The threshold is taken over into int8 logits, so that only survivors are ever turned into floats.
    """
    floors, ceilings = tuple(thresholds), None if below is None else tuple(below)
    found = [(level, kept) for level in maps if (kept := _survivors(level, floors, ceilings)).size]
    if not found:
        return np.empty((0, 4), np.float32), np.empty((0, len(floors)), np.float32)
    bins, logits, cells = [], [], []
    for level, kept in found:
        rows, columns, classes = level.classes.shape
        bins.append(level.box_scale.floats(level.boxes.reshape(-1, 4 * BINS)[kept]))
        logits.append(level.class_scale.floats(level.classes.reshape(-1, classes)[kept]))
        cells.append(_cells(rows, columns, level.stride)[kept])
    spots = np.concatenate(cells)
    boxes = spots[:, 0] + _distances(np.concatenate(bins)) * spots[:, 1]
    return boxes, 1 / (1 + np.exp(-np.concatenate(logits)))


def corners(bins: Floats, cells: npt.NDArray[np.intp], columns: int, stride: int) -> Floats:
    """Boxes (n, 4) as corners in input px, from the distance logits (n, 4, BINS) of `cells` in a map of `columns`."""
    rows = int(cells.max()) // columns + 1 if cells.size else 0
    spots = _cells(rows, columns, stride)[cells]
    return np.asarray(spots[:, 0] + _distances(bins) * spots[:, 1], np.float32)


def suppress(boxes: Floats, scores: Floats, *, iou: float, most: int = 100) -> npt.NDArray[np.intp]:
    """Greedy NMS over all classes at once, since a face wears a mask in one way: kept indices, best first.

    boxes (n, 4) corners, scores (n, classes) of which each box's best counts.
    """
    order = np.argsort(-scores.max(axis=1), kind="stable")
    ranked = boxes[order]
    kept: list[int] = []
    for start in range(0, len(order), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(order)))
        if kept:
            block = block[~_overlapping(ranked[kept], ranked[block], iou).any(axis=0)]
        overlapping = _overlapping(ranked[block], ranked[block], iou)
        gone = np.zeros(len(block), np.bool_)
        for place, box in enumerate(block.tolist()):
            if gone[place]:
                continue
            kept.append(box)
            if len(kept) == most:
                return order[kept]
            gone |= overlapping[place]
    return order[kept]


_BLOCK = 64  # boxes compared with each other in one go: nearly always all that a frame has


def _overlapping(some: Floats, others: Floats, iou: float) -> npt.NDArray[np.bool_]:
    """Whether each of `some` (m, 4) overlaps each of `others` (n, 4) by more than `iou`: (m, n)."""
    left, top, right, bottom = some.T[:, :, None]
    x0, y0, x1, y1 = others.T.copy()
    wide, high = np.minimum(right, x1), np.minimum(bottom, y1)
    wide -= np.maximum(left, x0)
    high -= np.maximum(top, y0)
    shared = np.maximum(wide, 0, out=wide)
    shared *= np.maximum(high, 0, out=high)
    joint: npt.NDArray[np.float32] = (right - left) * (bottom - top) + (x1 - x0) * (y1 - y0)
    joint -= shared
    joint *= iou
    return np.asarray(shared > joint, np.bool_)


def _survivors(level: Maps, thresholds: tuple[float, ...], below: tuple[float, ...] | None) -> npt.NDArray[np.intp]:
    """Cells of which a class reaches its threshold, and none its threshold of `below`, ascending."""
    logits = level.classes.reshape(-1)
    classes = len(thresholds)
    hits = (logits >= _floors(thresholds, level.class_scale, logits.size)).nonzero()[0] // classes
    if hits.size > 1:  # a cell once, though several of its classes may reach
        hits = hits[np.concatenate(([True], hits[1:] != hits[:-1]))]
    if below is None or not hits.size:
        return hits
    over = level.classes.reshape(-1, classes)[hits] >= _floors(below, level.class_scale, logits.size)[:classes]
    return np.asarray(hits[~over.any(axis=1)], np.intp)


def _distances(bins: Floats) -> Floats:
    """Expected distances (n, 4), in strides, from logits (n, 4, BINS) or (n, 4 * BINS)."""
    turned = bins.reshape(-1, BINS).T.copy()  # bins in rows: numpy reduces over rows several times as fast
    weights = np.exp(turned - turned.max(axis=0))
    return np.asarray((_STEPS @ weights / weights.sum(axis=0)).reshape(-1, 4), np.float32)


_STEPS = np.arange(BINS, dtype=np.float32)


@lru_cache(maxsize=16)
def _cells(rows: int, columns: int, stride: int) -> Floats:
    """Per cell (2, 4): its centre as x, y, x, y in input px, and which way, times the stride, each distance goes."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    centre = np.stack([x, y, x, y], axis=1) * stride + stride / 2
    outward = np.broadcast_to(np.array([-stride, -stride, stride, stride]), centre.shape)
    return np.asarray(np.stack([centre, outward], axis=1), np.float32)


@lru_cache(maxsize=32)
def _floors(thresholds: tuple[float, ...], scale: Scale, size: int) -> npt.NDArray[np.int8 | np.int16]:
    """The least logit of each class over and over, `size` in all, so that a whole map is compared in one go."""
    floors = [_lowest(threshold, scale) for threshold in thresholds]
    return np.tile(np.array(floors, np.int8 if max(floors) < 128 else np.int16), size // len(floors))


def _lowest(threshold: float, scale: Scale) -> int:
    """The smallest int8 logit whose sigmoid reaches `threshold`; 128 where none does."""
    if threshold <= 0:
        return -128
    if threshold >= 1:
        return 128
    return min(128, max(-128, ceil(log(threshold / (1 - threshold)) / scale.step + scale.zero - 1e-6)))
