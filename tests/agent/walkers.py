"""Walks as tables of detections, for tests of what is counted."""

from collections.abc import Sequence

import numpy as np

from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detection
from agent.vision.geometry import Box, Line, Zone
from agent.vision.pipeline import Look, count_detections
from agent.vision.tracker import Tracker
from contract.labels import LABELS, Label

DOWN = Line.of(0, 0.5, 1, 0.5)
FPS = 15
Frames = list[list[Detection]]


def face(x: float, y: float, label: Label = Label.WITH_MASK, confidence: float = 0.8, size: float = 0.1) -> Detection:
    scores = tuple(confidence if one == label else (1 - confidence) / 4 for one in LABELS)
    return Detection(Box(x - size / 2, y - size / 2, x + size / 2, y + size / 2), label, confidence, scores)


def path(*stops: tuple[float, float], speed: float = 0.5, fps: float = FPS, size: float = 0.1) -> Frames:
    """One face going from stop to stop, `speed` of the frame a second; at a stop that comes twice it waits a second."""
    places = [stops[0]]
    for x, y in stops[1:]:
        from_x, from_y = places[-1]
        far = float(np.hypot(x - from_x, y - from_y))
        steps = max(1, round(far / speed * fps)) if far else round(fps)
        places += [(from_x + (x - from_x) * k / steps, from_y + (y - from_y) * k / steps) for k in range(1, steps + 1)]
    return [[face(x, y, size=size)] for x, y in places]


def together(*walks: Frames, late: Sequence[int] = ()) -> Frames:
    """Several at once; `late` frames later than the first."""
    shifted: list[Frames] = [
        [[] for _ in range(after)] + walk for walk, after in zip(walks, [*late, *[0] * len(walks)], strict=False)
    ]
    return [
        [one for each in shifted if index < len(each) for one in each[index]] for index in range(max(map(len, shifted)))
    ]


def count(frames: Frames, *lines: Line, zone: Zone | None = None, fps: float = FPS) -> list[Crossing]:
    looks = (Look(detections, index / fps) for index, detections in enumerate(frames))
    return list(count_detections(looks, tracker=Tracker(zone), counter=Counter(*(lines or (DOWN,)))))


def told(found: Sequence[Crossing]) -> list[str]:
    """`way` or `way line`, sorted."""
    return sorted(f"{one.direction} {one.line}".strip() for one in found)
