"""Looking on while somebody walks: what was detected, the paths of the faces, and what a line would have counted."""

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from agent.commission.fit import Walk, fit
from agent.vision.counter import Counter
from agent.vision.doorway import Doorway
from agent.vision.frame import Frame
from agent.vision.geometry import Line, Point, Zone
from agent.vision.pipeline import Eyes, Look, count_detections
from agent.vision.tracker import Tracker
from contract.errors import ContractError
from contract.events import Direction

QUIET_S = 2.0  # without a face, after one was followed: the walk is over
PATIENCE_S = 30.0  # without any face that is followed: nobody came
LONGEST_S = 45.0  # of one walk: somebody else stands in the picture
TRIED = 8  # of the fitted lines, which the tracker and counter themselves must confirm

Looks = tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class Take:
    """What was said to happen in a stretch of time, and what was detected in each of its frames."""

    entered: int
    left: int
    looks: Looks

    @property
    def lasted_s(self) -> float:
        return self.looks[-1].at_s - self.looks[0].at_s if self.looks else 0.0


@dataclass(frozen=True, slots=True)
class Count:
    """People over the line, both ways."""

    entered: int
    left: int

    def off(self, take: Take) -> int:
        """Crossings too many and too few."""
        return abs(self.entered - take.entered) + abs(self.left - take.left)


def watch(frames: Iterator[Frame], eyes: Eyes, *, zone: Zone | None, tell: Callable[[str], None]) -> Looks:
    """Look on until the walk is over or nobody came; says when a face is followed. Fewer looks where the stream ends."""
    tracker = Tracker(zone)
    looks: list[Look] = []
    known: set[int] = set()
    begun = busy = None
    for frame in frames:
        at_s = frame.at_s
        begun = at_s if begun is None else begun
        look = Look.of(eyes.look(frame.pixels), at_s)
        looks.append(look)
        seen, _ = tracker.update(look.found, at_s, look.faint)
        for track in seen:
            if track.confirmed:
                busy = at_s
                if track.number not in known:
                    known.add(track.number)
                    tell(f"  a face is followed ({len(known)})")
        if (busy is None and at_s - begun > PATIENCE_S) or at_s - begun > LONGEST_S:
            break
        if busy is not None and at_s - busy > QUIET_S:
            break
    return tuple(looks)


def paths(looks: Looks, zone: Zone | None) -> tuple[tuple[Point, ...], ...]:
    """The places of every confirmed face, in the order of the faces' first look."""
    tracker = Tracker(zone)
    found: dict[int, list[Point]] = {}
    sure: set[int] = set()
    for look in looks:
        for track in tracker.update(look.found, look.at_s, look.faint)[0]:
            found.setdefault(track.number, []).append(track.box.centre)
            if track.confirmed:
                sure.add(track.number)
    return tuple(tuple(places) for number, places in found.items() if number in sure)


def count(take: Take, doorway: Doorway) -> Count:
    """What a door with these settings counts in it."""
    ways = Tally(_ways(take, doorway))
    return Count(ways[Direction.IN], ways[Direction.OUT])


def best_line(takes: Sequence[Take], zone: Zone | None) -> Line:
    """The line that counts them best; where two do, of one place and opposite directions, the first one over it goes in.

    Raises ContractError where no face was followed.
    """
    walks = [Walk(take.entered, take.left, paths(take.looks, zone)) for take in takes]
    if not any(walk.paths for walk in walks):
        raise ContractError(
            "no face was followed in any walk: look towards the camera, nearer to it, and with more light on the face"
        )
    tried = []
    for rank, one in enumerate(fit(walks)[:TRIED]):
        try:
            doorway = Doorway.of([one.line], zone)
        except ContractError:  # a line outside the zone
            continue
        first = next((way for take in takes for way in _ways(take, doorway)), None)
        off = sum(count(take, doorway).off(take) for take in takes)
        tried.append((off, first is Direction.OUT, rank, one.line))
    if not tried:
        raise ContractError("no line inside the zone explains the walks: make door.zone larger")
    return min(tried, key=lambda one: one[:3])[3]


def _ways(take: Take, doorway: Doorway) -> list[Direction]:
    found = count_detections(take.looks, tracker=Tracker(doorway.zone), counter=Counter(*doorway.lines))
    return [one.direction for one in sorted(found, key=lambda one: one.at_s)]


def course(path: Sequence[Point]) -> str:
    """Where a path leads, in words."""
    across, down = path[-1].x - path[0].x, path[-1].y - path[0].y
    if max(abs(across), abs(down)) < 0.1:
        return "on the spot"
    if abs(across) > abs(down):
        return "from left to right" if across > 0 else "from right to left"
    return "from top to bottom" if down > 0 else "from bottom to top"
