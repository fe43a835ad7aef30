"""The fast arithmetic against the same written plainly: cell by cell, box by box, in double precision."""

from collections.abc import Iterator
from math import exp
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import FACTORY_MODEL
from agent.vision.camera import Clip
from agent.vision.detector import NMS_IOU, Detector
from agent.vision.runtime import open_model
from agent.vision.yolo import BINS, Int8, Pixels, letterbox, suppress
from contract.labels import LABELS
from contract.release import read_manifest
from rehearsal.scene import Scene

Corners = tuple[float, float, float, float]
Candidate = tuple[Corners, list[float]]  # corners in input px, score per label
MANIFEST = read_manifest(FACTORY_MODEL)
SIZE = MANIFEST.input_size


def plain_letterbox(pixels: Pixels) -> Int8:
    height, width = pixels.shape[:2]
    scale = SIZE / max(height, width)
    wide, high = round(width * scale), round(height * scale)
    canvas = np.full((SIZE, SIZE, 3), 114, np.int16)
    left, top = (SIZE - wide) // 2, (SIZE - high) // 2
    canvas[top : top + high, left : left + wide] = cv2.resize(pixels, (wide, high))[..., ::-1]
    return (canvas - 128).astype(np.int8)[None]


def plain_iou(one: Corners, other: Corners) -> float:
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * high / (sum(areas) - wide * high) if wide * high else 0.0


def plain_suppress(found: list[Candidate], iou: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(found)), key=lambda index: -max(found[index][1])):
        if all(plain_iou(found[index][0], found[other][0]) <= iou for other in kept):
            kept.append(index)
    return kept


class PlainEyes:
    """The factory model through the bare interpreter."""

    def __init__(self) -> None:
        self._interpreter = open_model(FACTORY_MODEL)
        self._outputs = {tuple(one["shape"][1:]): one for one in self._interpreter.get_output_details()}

    def look(self, pixels: Pixels) -> list[Candidate]:
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], plain_letterbox(pixels))
        self._interpreter.invoke()
        found = [one for stride in (8, 16, 32) for one in self._cells(stride)]
        return [found[index] for index in plain_suppress(found, NMS_IOU)]

    def _cells(self, stride: int) -> Iterator[Candidate]:
        side = SIZE // stride
        bins, logits = self._floats(side, 4 * BINS), self._floats(side, len(LABELS))
        for row in range(side):
            for column in range(side):
                scores = [1 / (1 + exp(-logit)) for logit in logits[row, column].tolist()]
                if all(score < MANIFEST.thresholds[label] for score, label in zip(scores, LABELS, strict=True)):
                    continue
                left, up, right, down = (self._distance(bins[row, column, at : at + BINS]) for at in range(0, 64, 16))
                x, y = column + 0.5, row + 0.5
                x0, y0, x1, y1 = ((at * stride) for at in (x - left, y - up, x + right, y + down))
                yield (x0, y0, x1, y1), scores

    @staticmethod
    def _distance(logits: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        weights = [exp(logit) for logit in logits.tolist()]
        return sum(index * weight for index, weight in enumerate(weights)) / sum(weights)

    def _floats(self, side: int, channels: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.float64]]:
        details = self._outputs[(side, side, channels)]
        step, zero = details["quantization"]
        levels = self._interpreter.get_tensor(details["index"])[0].astype(np.float64)
        return np.asarray((levels - zero) * step, np.float64)


def drawn() -> list[Pixels]:
    scenes = [Scene("passage", seed=41, people=8, gap_s=0.4), Scene("entrance", seed=42, people=8, gap_s=0.4)]
    return [scene.render(index)[0] for scene in scenes for index in range(20, scene.frames, 25)]


def compare(frames: list[Pixels]) -> int:
    """Every detection of each against the other's; returns how many there were."""
    eyes, detector, total = PlainEyes(), Detector.load(FACTORY_MODEL), 0
    for pixels in frames:
        height, width = pixels.shape[:2]
        assert (letterbox(pixels, SIZE)[0] == plain_letterbox(pixels)).all()
        ours, plain = detector.detect(pixels), eyes.look(pixels)
        assert len(ours) == len(plain)
        scale = SIZE / max(height, width)
        left, top = (SIZE - round(width * scale)) // 2, (SIZE - round(height * scale)) // 2
        for one, (corners, scores) in zip(ours, plain, strict=True):
            box = [one.box.x0 * width, one.box.y0 * height, one.box.x1 * width, one.box.y1 * height]
            spot = [(at - offset) / scale for at, offset in zip(corners, (left, top, left, top), strict=True)]
            np.testing.assert_allclose(box, np.clip(spot, 0, [width, height] * 2), atol=0.01)
            np.testing.assert_allclose(one.scores, scores, atol=1e-5)
            assert one.label == LABELS[int(np.argmax(scores))]
        total += len(ours)
    return total


def test_in_drawn_frames_the_detector_finds_what_plain_arithmetic_finds() -> None:
    assert compare(drawn()) > 15


@pytest.mark.photographs
def test_in_a_real_clip_too(photographs: Path) -> None:
    clip = sorted((photographs / "video").rglob("*.mp4"))[0]
    frames = [frame.pixels for frame in Clip(clip).frames()]
    compare(frames[:: max(1, len(frames) // 12)])


@given(
    centres=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(4, 30)), min_size=1, max_size=200),
    iou=st.sampled_from([0.10007, 0.45003, 0.60011]),  # no ratio of small integers: no tie to round
)
def test_suppression_of_any_number_of_boxes_keeps_what_one_by_one_would(
    centres: list[tuple[int, int, int]], iou: float
) -> None:
    boxes = [(float(x), float(y), float(x + side), float(y + side)) for x, y, side in centres]
    scores = [[0.9 - 0.001 * index, 0.0, 0.1] for index in range(len(boxes))]
    expected = plain_suppress(list(zip(boxes, scores, strict=True)), iou)
    kept = suppress(np.array(boxes, np.float32), np.array(scores, np.float32), iou=iou, most=1000)
    assert kept.tolist() == expected
    assert suppress(np.array(boxes, np.float32), np.array(scores, np.float32), iou=iou, most=3).tolist() == expected[:3]
