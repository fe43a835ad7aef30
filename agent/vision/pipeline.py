"""Frames to crossings: the straight line; no pixel and no track leaves here."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from agent.vision.camera import Frame
from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detection
from agent.vision.tracker import Tracker
from agent.vision.yolo import Pixels


class Eyes(Protocol):
    """Whatever finds faces in a frame."""

    def detect(self, pixels: Pixels) -> list[Detection]: ...


def crossings(frames: Iterable[Frame], *, detector: Eyes, tracker: Tracker, counter: Counter) -> Iterator[Crossing]:
    """One crossing per person over the line, each as soon as its label is settled."""
    looks = ((detector.detect(frame.pixels), frame.at_s) for frame in frames)
    return count_detections(looks, tracker=tracker, counter=counter)


def count_detections(
    looks: Iterable[tuple[list[Detection], float]], *, tracker: Tracker, counter: Counter
) -> Iterator[Crossing]:
    """The same from detections already made: (detections, time in s) per frame."""
    at_s = 0.0
    for detections, at_s in looks:
        seen, ended = tracker.update(detections, at_s)
        yield from counter.update(seen, ended, at_s)
    yield from counter.update([], tracker.close(), at_s)
