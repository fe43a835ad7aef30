"""Frames to crossings: the straight line; no pixel and no track leaves here but to a witness."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detection
from agent.vision.frame import Frame
from agent.vision.tracker import Track, Tracker
from agent.vision.yolo import Pixels


class Eyes(Protocol):
    """Whatever finds faces in a frame."""

    def detect(self, pixels: Pixels) -> list[Detection]: ...


class KeenEyes(Eyes, Protocol):
    """Eyes that can say of the same frame what they are not sure enough of."""

    def faint(self) -> list[Detection]: ...


class Witness(Protocol):
    """Whoever may look on; what it does changes no count."""

    def see(
        self, frame: Frame, detections: Sequence[Detection], seen: Sequence[Track], ended: Sequence[Track],
        crossings: Sequence[Crossing],
    ) -> None: ...  # fmt: skip

    def close(self, ended: Sequence[Track], crossings: Sequence[Crossing], at_s: float) -> None: ...


def crossings(
    frames: Iterable[Frame], *, detector: KeenEyes, tracker: Tracker, counter: Counter, witness: Witness | None = None
) -> Iterator[Crossing]:
    """One crossing per person over the line, each as soon as its label is settled."""
    at_s = 0.0
    for frame in frames:
        at_s = frame.at_s
        detections = detector.detect(frame.pixels)
        seen, ended = tracker.update(detections, at_s, detector.faint)
        found = counter.update(seen, ended, at_s)
        if witness:
            witness.see(frame, detections, seen, ended, found)
        yield from found
    ended = tracker.close()
    found = counter.update([], ended, at_s)
    if witness:
        witness.close(ended, found, at_s)
    yield from found


def count_detections(
    looks: Iterable[tuple[list[Detection], float]], *, tracker: Tracker, counter: Counter
) -> Iterator[Crossing]:
    """The same from detections already made: (detections, time in s) per frame."""
    at_s = 0.0
    for detections, at_s in looks:
        seen, ended = tracker.update(detections, at_s)
        yield from counter.update(seen, ended, at_s)
    yield from counter.update([], tracker.close(), at_s)
