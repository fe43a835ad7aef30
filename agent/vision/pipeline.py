"""Frames to crossings: the straight line; no pixel and no track leaves here but to a witness."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.vision.counter import Counter, Crossing
from agent.vision.detector import Detection, Faces
from agent.vision.frame import Frame
from agent.vision.tracker import Track, Tracker
from agent.vision.yolo import Pixels


class Eyes(Protocol):
    """Whatever finds faces in a frame."""

    def look(self, pixels: Pixels) -> Faces: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in one frame, to be counted again and again."""

    found: Sequence[Detection]
    at_s: float
    unsure: Sequence[Detection] = ()  # below the thresholds

    @classmethod
    def of(cls, faces: Faces, at_s: float) -> "Look":
        """All that is in there."""
        return cls(faces.found, at_s, faces.faint())

    def faint(self) -> Sequence[Detection]:
        """As `Faces` has it."""
        return self.unsure


class Witness(Protocol):
    """Whoever may look on; what it does changes no count."""

    def see(
        self, frame: Frame, faces: Faces, seen: Sequence[Track], ended: Sequence[Track], crossings: Sequence[Crossing]
    ) -> None: ...

    def close(self, ended: Sequence[Track], crossings: Sequence[Crossing], at_s: float) -> None: ...


def crossings(
    frames: Iterable[Frame], *, eyes: Eyes, tracker: Tracker, counter: Counter, witness: Witness | None = None
) -> Iterator[Crossing]:
    """One crossing per person over the line, each as soon as its label is settled."""
    looks = ((frame, eyes.look(frame.pixels)) for frame in frames)
    yield from count_looks(looks, tracker=tracker, counter=counter, witness=witness)


def count_looks(
    looks: Iterable[tuple[Frame, Faces]], *, tracker: Tracker, counter: Counter, witness: Witness | None = None
) -> Iterator[Crossing]:
    """The same from frames and what was seen in them."""
    at_s = 0.0
    for frame, faces in looks:
        at_s = frame.at_s
        seen, ended = tracker.update(faces.found, at_s, faces.faint)
        found = counter.update(seen, ended, at_s)
        if witness:
            witness.see(frame, faces, seen, ended, found)
        yield from found
    ended = tracker.close()
    found = counter.update([], ended, at_s)
    if witness:
        witness.close(ended, found, at_s)
    yield from found


def count_detections(looks: Iterable[Look], *, tracker: Tracker, counter: Counter) -> Iterator[Crossing]:
    """The same from detections already made."""
    at_s = 0.0
    for look in looks:
        at_s = look.at_s
        seen, ended = tracker.update(look.found, at_s, look.faint)
        yield from counter.update(seen, ended, at_s)
    yield from counter.update([], tracker.close(), at_s)
