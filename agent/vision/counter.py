"""Tracks to crossings: one line or several, a direction, and no count for swaying on one."""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.vision.geometry import Line, Point
from agent.vision.tracker import Track
from contract.events import Direction
from contract.labels import LABELS, Label

MARGIN = 0.025  # of the frame: a side is taken only this far from the line
SURE = 3.0  # and this many times as far as the face's place is uncertain
SETTLE_S = 1.5  # a crossing waits this long for more looks at the face


@dataclass(frozen=True, slots=True)
class Crossing:
    """One person over a line once."""

    at_s: float
    direction: Direction
    label: Label
    confidence: float  # 0..1, the label's share of the evidence
    age_s: float = 0.0  # how long ago it was when it was reported
    track: int = 0  # whose; local, never sent
    line: str = ""  # the line's name; empty where there is only one


@dataclass(slots=True)
class _Open:
    track: Track
    at_s: float
    direction: Direction
    line: str


class Counter:
    """Counts a confirmed track that was on one side of a line, from its birth on, and is then on the other: for each line."""

    def __init__(self, *lines: Line, margin: float = MARGIN, settle_s: float = SETTLE_S) -> None:
        self._lines = self._wanted = lines
        self._margin = margin
        self._settle_s = settle_s
        self._sides: dict[int, list[int]] = {}  # of each track, by line: -1, 1, or 0 while it is not known
        self._elders: set[int] = set()  # tracks that are older than the lines
        self._open: list[_Open] = []

    def exchange(self, lines: tuple[Line, ...]) -> None:
        """Count at these lines from the next frame on, each track from where it is then. Safe in any thread."""
        self._wanted = lines

    def update(self, seen: Iterable[Track], ended: Iterable[Track], at_s: float) -> list[Crossing]:
        """Take one frame's tracks; returns the crossings whose label is settled by now, in order."""
        if self._wanted is not self._lines:
            self._lines, self._elders, self._sides = self._wanted, self._elders | set(self._sides), {}
        for track in seen:
            self._look(track, at_s)
        done = [one for one in self._open if one.track.ended or at_s - one.at_s >= self._settle_s]
        if done:
            self._open = [one for one in self._open if one not in done]
        for track in ended:
            self._sides.pop(track.number, None)
            self._elders.discard(track.number)
        return [_crossing(one, at_s) for one in done]

    def _look(self, track: Track, at_s: float) -> None:
        sides = self._sides.get(track.number)
        if sides is None:
            start = track.box.centre if track.number in self._elders else track.birth
            sides = self._sides[track.number] = [self._side_of_birth(line, start) for line in self._lines]
        if not track.confirmed:
            return
        centre, doubt = track.box.centre, SURE * track.place**0.5
        for index, line in enumerate(self._lines):
            offset = line.offset(centre)
            if abs(offset) < self._margin or abs(offset) < doubt * line.reach(track.box):
                continue
            side = 1 if offset > 0 else -1
            before, sides[index] = sides[index], side
            if before and before != side and line.abreast(centre, slack=0.1):
                way = Direction.IN if side > 0 else Direction.OUT
                self._open.append(_Open(track, at_s, way, line.name))

    def _side_of_birth(self, line: Line, start: Point) -> int:
        offset = line.offset(start)
        return 0 if abs(offset) < self._margin / 2 else 1 if offset > 0 else -1


def _crossing(one: _Open, at_s: float) -> Crossing:
    evidence = one.track.evidence
    best = max(range(len(LABELS)), key=evidence.__getitem__)
    total = sum(evidence)
    confidence = evidence[best] / total if total else 0.0
    age_s = max(0.0, at_s - one.at_s)
    return Crossing(one.at_s, one.direction, LABELS[best], confidence, age_s, one.track.number, one.line)
