"""What was seen of each face while it was there: facts of constant size and two small pictures, never a frame."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from agent.learning.privacy import Cutout, cut_out
from agent.learning.sampler import Look, TrackFacts
from agent.vision.detector import Detection
from agent.vision.frame import Frame
from agent.vision.geometry import Box, Zone
from agent.vision.tracker import Track, Tracker
from contract.errors import ContractError
from contract.labels import Label
from contract.release import Manifest

CANDIDATES = 5  # pictures a track keeps to take the median of
FIRST_PAUSE_S = 0.2  # between two of them; doubles whenever every other one is dropped
DOUBT_PAUSE_S = 0.1  # between two pictures for doubt, and each must be this share less certain than the last:
DOUBT_GAIN = 0.8
CUTS_A_FRAME = 2  # for all faces together; who is due later comes first in the next frame
FAINT_PAUSE_S = 0.2  # between two looks for what might have been a face
SAME_FACE = 0.7  # of the smaller box: a faint detection that shares this much with a face is that face once more
NEAR_FACE = 0.2  # IoU from which a faint thing is taken for a face that was detected
EDGE = 0.005  # of the frame: a face nearer to its edge than this may go on beyond it
SHARPNESS_SIDE = 64  # px to which a face is brought before its sharpness is measured


@dataclass(frozen=True, slots=True)
class Taken:
    """One picture of a face, minimised in the moment it was seen, and what the model said of it then."""

    cutout: Cutout
    scores: tuple[float, ...]  # 0..1 per label
    sharpness: float  # of what is left of the face after filling
    whole: bool  # whether the face lies inside the frame, away from its edges


@dataclass(frozen=True, slots=True)
class Sighting:
    """A closed track: a pass, or a near miss. A picture is None where the geometry never allowed one."""

    facts: TrackFacts
    typical: Taken | None  # of median sharpness, whatever the scores
    doubtful: Taken | None  # with the two best scores closest together
    model_digest: str  # of the only model that saw it
    at_s: float  # its last look
    label: Label | None = None  # what its pass was counted as; None: a near miss


@dataclass(slots=True)
class _Case:
    """A track under observation."""

    model_digest: str
    frame: int  # number of its last look's
    facts: TrackFacts = field(default_factory=TrackFacts)
    candidates: list[Taken] = field(default_factory=list)
    whole: bool = False  # pictures of faces that the frame's edge cuts are kept only until there is another
    due_s: float = float("-inf")
    pause_s: float = FIRST_PAUSE_S
    doubtful: Taken | None = None
    margin: float = float("inf")
    doubt_due_s: float = float("-inf")
    crossed: bool = False
    label: Label | None = None  # of its first crossing

    def doubt(self, scores: tuple[float, ...], at_s: float) -> bool:
        """Whether this look is doubtful enough for a picture."""
        return at_s >= self.doubt_due_s and _margin(scores) < DOUBT_GAIN * self.margin

    def wants(self, scores: tuple[float, ...], at_s: float) -> bool:
        """Whether a picture is due now, of either kind."""
        return at_s >= self.due_s or self.doubt(scores, at_s)

    def keep(self, taken: Taken, at_s: float) -> None:
        """Put a picture where it belongs."""
        if taken.whole and not self.whole:
            self.whole, self.candidates, self.doubtful, self.margin = True, [], None, float("inf")
            self.due_s = self.doubt_due_s = at_s
        if self.doubt(taken.scores, at_s):
            self.doubtful, self.margin, self.doubt_due_s = taken, _margin(taken.scores), at_s + DOUBT_PAUSE_S
        if at_s >= self.due_s:
            self.candidates.append(taken)
            if len(self.candidates) == CANDIDATES:
                self.candidates = self.candidates[::2]
                self.pause_s *= 2
            self.due_s = at_s + self.pause_s

    def put_off(self, at_s: float) -> None:
        """No picture was possible now; the next try is not in the next frame."""
        self.due_s = max(self.due_s, at_s + DOUBT_PAUSE_S)
        self.doubt_due_s = max(self.doubt_due_s, at_s + DOUBT_PAUSE_S)

    def sighting(self, at_s: float) -> Sighting:
        ranked = sorted(self.candidates, key=lambda one: one.sharpness)
        typical = ranked[len(ranked) // 2] if ranked else None
        return Sighting(self.facts, typical, self.doubtful or typical, self.model_digest, at_s, self.label)


class Witness:
    """Observes what the counter counts and changes none of it.

    A track becomes a sighting when it ends, if it crossed the line. Where another model takes over in the middle of
    a track, what the first one saw is dropped. Near misses are followed with a tracker of their own, five times a
    second at most, among detections below the threshold that no detected face ever came near to.
    """

    def __init__(self) -> None:
        self._frame = 0
        self._cases: dict[int, _Case] = {}
        self._faint = Tracker()
        self._faint_cases: dict[int, _Case] = {}
        self._faint_due_s = float("-inf")
        self.zone: Zone | None = None  # near misses outside are none of ours
        self.uncut = 0  # times that a picture was due and not allowed

    def see(
        self, frame: Frame, detections: Sequence[Detection], seen: Iterable[Track], *,
        manifest: Manifest, faint: Callable[[], Sequence[Detection]],
    ) -> Iterator[Sighting]:  # fmt: skip
        """Take one frame, what was detected in it and the tracks that were followed; yields ended near misses.

        `faint` gives this frame's detections below the threshold; it is asked only when they are needed.
        """
        self._frame += 1
        due: list[tuple[float, Track, _Case]] = []
        for track in seen:
            case = self._look(self._cases, track, manifest)
            useful = _whole(track.last.box) or not case.candidates
            if useful and track.confirmed and case.wants(track.last.scores, frame.at_s):
                due.append((min(case.due_s, case.doubt_due_s), track, case))
        looks_for_faint = frame.at_s >= self._faint_due_s
        unsure = faint() if due or looks_for_faint else ()
        for _, track, case in sorted(due, key=lambda one: (one[0], one[1].number))[:CUTS_A_FRAME]:
            self._take(frame, track.last, case, _others(track.last.box, detections, unsure))
        if looks_for_faint:
            self._faint_due_s = frame.at_s + FAINT_PAUSE_S
            yield from self._follow_faint(frame, detections, unsure, manifest)

    def ended(self, tracks: Iterable[Track], crossed: Mapping[int, Label]) -> Iterator[Sighting]:
        """Tracks that ended, and by number what was just counted, ended or not: a sighting for each pass."""
        for number, label in crossed.items():
            if number in self._cases:
                counted = self._cases[number]
                counted.crossed, counted.label = True, counted.label or label
        for track in tracks:
            case = self._cases.pop(track.number, None)
            if case and case.crossed and case.facts.looks:
                yield case.sighting(track.at_s)

    def _look(self, cases: dict[int, _Case], track: Track, manifest: Manifest) -> _Case:
        """The track's case with one look more."""
        case = cases.get(track.number)
        if case is None or case.model_digest != manifest.digest:
            before = case or _Case(manifest.digest, self._frame)
            case = _Case(manifest.digest, self._frame, crossed=before.crossed, label=before.label)
            cases[track.number] = case
        found = track.last
        overlap = found.box.iou(track.expected) if track.expected is not None and case.facts.looks else None
        missed = max(0, self._frame - case.frame - 1)
        threshold = manifest.thresholds[found.label]
        case.facts = case.facts.after(Look(found.scores, found.confidence, threshold, overlap, missed))
        case.frame = self._frame
        return case

    def _take(self, frame: Frame, found: Detection, case: _Case, others: Sequence[Box]) -> None:
        try:
            cutout = cut_out(frame.full, found.box, others)
        except ContractError:  # a frame of a size that is not cut: counting goes on
            cutout = None
        if cutout is None:
            self.uncut += 1
            case.put_off(frame.at_s)
        else:
            case.keep(Taken(cutout, found.scores, _sharpness(cutout), _whole(found.box)), frame.at_s)

    def _follow_faint(
        self, frame: Frame, detections: Sequence[Detection], faint: Sequence[Detection], manifest: Manifest
    ) -> Iterator[Sighting]:
        self._faint.zone = self.zone
        seen, ended = self._faint.update(faint, frame.at_s)
        for track in seen:
            case = self._look(self._faint_cases, track, manifest)
            case.crossed |= any(_shared(track.last.box, one.box) >= NEAR_FACE for one in detections)
            if track.confirmed and not case.crossed and case.doubt(track.last.scores, frame.at_s):
                self._take(frame, track.last, case, _others(track.last.box, detections, faint))
        for track in ended:
            case = self._faint_cases.pop(track.number)
            if track.confirmed and not case.crossed and case.facts.near_miss:
                yield case.sighting(track.at_s)


def _others(face: Box, detections: Iterable[Detection], faint: Iterable[Detection]) -> list[Box]:
    """Every other face of the frame; a faint detection on the face itself is no other."""
    boxes = [one.box for one in detections if one.box != face]
    return boxes + [one.box for one in faint if one.box != face and _shared(one.box, face) < SAME_FACE]


def _shared(one: Box, other: Box) -> float:
    """Shared area as a share of the smaller box, 0..1."""
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    smaller = min(one.width * one.height, other.width * other.height)
    return wide * high / smaller if wide > 0 and high > 0 and smaller > 0 else 0.0


def _whole(box: Box) -> bool:
    return min(box.x0, box.y0, 1 - box.x1, 1 - box.y1) > EDGE


def _margin(scores: Sequence[float]) -> float:
    """Best minus second best score; below .01 nothing is less certain."""
    second, best = sorted(scores)[-2:]
    return max(0.01, best - second)


def _sharpness(cutout: Cutout) -> float:
    """Variance of the Laplacian of the face as it will leave, so that no choice leans on what was filled."""
    grey = np.asarray(cv2.imdecode(np.frombuffer(cutout.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
    height, width = grey.shape
    x0, y0, x1, y1 = cutout.box
    face = grey[int(y0 * height) : int(np.ceil(y1 * height)), int(x0 * width) : int(np.ceil(x1 * width))]
    if not face.size:
        return 0.0
    small = cv2.resize(face, (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(small, cv2.CV_32F).var())
