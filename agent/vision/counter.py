"""Tracks to crossings: one line, a direction, and no count for swaying on it."""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.vision.geometry import Line
from agent.vision.tracker import Track
from contract.events import Direction
from contract.labels import LABELS, Label

MARGIN = 0.025  # of the frame: a side is taken only this far from the line
SETTLE_S = 1.5  # a crossing waits this long for more looks at the face


@dataclass(frozen=True, slots=True)
class Crossing:
    """One person over the line once."""

    at_s: float
    direction: Direction
    label: Label
    confidence: float  # 0..1, the label's share of the evidence
    age_s: float = 0.0  # how long ago it was when it was reported
    track: int = 0  # whose; local, never sent


@dataclass(slots=True)
class _Open:
    track: Track
    at_s: float
    direction: Direction


class Counter:
    """Counts a confirmed track that was on one side of the line, from its birth on, and is then on the other."""

    def __init__(self, line: Line, *, margin: float = MARGIN, settle_s: float = SETTLE_S) -> None:
        self._line = line
        self._margin = margin
        self._settle_s = settle_s
        self._sides: dict[int, int] = {}
        self._open: list[_Open] = []

    def update(self, seen: Iterable[Track], ended: Iterable[Track], at_s: float) -> list[Crossing]:
        """Take one frame's tracks; returns the crossings whose label is settled by now, in order."""
        for track in seen:
            self._look(track, at_s)
        done = [one for one in self._open if one.track.ended or at_s - one.at_s >= self._settle_s]
        self._open = [one for one in self._open if one not in done]
        for track in ended:
            self._sides.pop(track.number, None)
        return [_crossing(one, at_s) for one in done]

    def _look(self, track: Track, at_s: float) -> None:
        if track.number not in self._sides:
            self._sides[track.number] = self._side_of_birth(track)
        if not track.confirmed:
            return
        offset = self._line.offset(track.box.centre)
        if abs(offset) < self._margin:
            return
        side = 1 if offset > 0 else -1
        before = self._sides[track.number]
        self._sides[track.number] = side
        if before and before != side and self._line.abreast(track.box.centre, slack=0.1):
            self._open.append(_Open(track, at_s, Direction.IN if side > 0 else Direction.OUT))

    def _side_of_birth(self, track: Track) -> int:
        offset = self._line.offset(track.birth)
        return 0 if abs(offset) < self._margin / 2 else 1 if offset > 0 else -1


def _crossing(one: _Open, at_s: float) -> Crossing:
    evidence = one.track.evidence
    best = max(range(len(LABELS)), key=evidence.__getitem__)
    total = sum(evidence)
    confidence = evidence[best] / total if total else 0.0
    return Crossing(one.at_s, one.direction, LABELS[best], confidence, max(0.0, at_s - one.at_s), one.track.number)
