"""Detections to tracks: where a face may be by now and how sure that is; made for a few faces at a door and clocked in seconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf, log

from agent.vision.detector import Detection
from agent.vision.geometry import Box, Point, Zone
from agent.vision.pairing import pair

FORGET_AFTER_S = 1.4  # a face unseen this long is gone
CONFIRM_HITS = 3  # detections before a track is believed
BELIEF = 16.0  # and how much likelier one face must be than as many strangers, as natural logarithm
MISSED = 2.0  # what a frame without it takes away from that

# Lengths are in face sizes, widths across and heights down, so that one set serves near and far.
NOISE = 0.1  # a detection lies this far from the face
NEW_SPEED = 4.0  # a second; spread of a new face's unknown velocity: people come from anywhere and run
AGILITY = 6.0  # a second, every second; spread of the change of a velocity: people stop, turn and sway
FAR = 11.7  # squared distance in spreads beyond which it is another face: 1 in 350
FARTHEST = 3.5  # from a face seen once to its second place, however uncertain
GROWTH = 0.7  # natural logarithm of the width's change, likewise
FAINT = 0.15  # confidence from which a detection below its threshold may go on with a face that was seen before
FAINT_FAR = 0.5  # and how far from where that should be
LOOSE = 5.0  # how loose a match may be, distance and spread together, before a new face is likelier


@dataclass(slots=True)
class Track:
    """One face followed through frames; local, short-lived, never sent."""

    number: int
    box: Box
    at_s: float
    birth: Point
    evidence: list[float]  # per label: scores summed over the frames, weighted by confidence
    last: Detection  # as it was detected last, not smoothed
    expected: Box | None = None  # where it was predicted before that detection; None in its first frame
    hits: int = 1
    frame: int = 0  # the tracker's number of the frame that it was seen in last
    belief: float = 0.0  # how much likelier one face is than strangers, natural logarithm; stays once it is enough
    vx: float = 0.0  # unit square a second
    vy: float = 0.0
    ended: bool = False
    # Variances along either axis, in face sizes: of the place, of the velocity, and what they share.
    place: float = NOISE**2
    speed: float = NEW_SPEED**2
    shared: float = 0.0

    @property
    def confirmed(self) -> bool:
        return self.hits >= CONFIRM_HITS and self.belief >= BELIEF

    def predict(self, at_s: float) -> Box:
        """Where the face should be by now."""
        gone = at_s - self.at_s
        dx, dy = self.vx * gone, self.vy * gone
        return Box(self.box.x0 + dx, self.box.y0 + dy, self.box.x1 + dx, self.box.y1 + dy)

    def spread(self, at_s: float) -> tuple[float, float, float]:
        """`place`, `shared` and `speed` by now."""
        gone = at_s - self.at_s
        bend = (AGILITY * gone) ** 2
        return (
            self.place + gone * (2 * self.shared + gone * (self.speed + bend / 4)),
            self.shared + gone * (self.speed + bend / 2),
            self.speed + bend,
        )


class Tracker:
    """Follows faces from frame to frame; frames may be dropped, time is what counts.

    A Kalman filter of constant velocity per face, and the matches of all faces together that are likeliest.
    """

    def __init__(self, zone: Zone | None = None) -> None:
        self.zone = (
            zone  # faces whose middle is outside are not there; may be exchanged in any thread, between two frames
        )
        self._tracks: list[Track] = []
        self._frame = 0
        self._numbers = count(1)

    def update(
        self, detections: Sequence[Detection], at_s: float, faint: Callable[[], Sequence[Detection]] = list
    ) -> tuple[list[Track], list[Track]]:
        """Take one frame's detections; returns (tracks seen in this frame, tracks that have just ended).

        `faint` gives the frame's detections below the thresholds, and is asked only while a face is missing: they begin no
        track, but go on with one.
        """
        detections = self._within(detections)
        self._frame += 1
        seen, used = self._match(self._tracks, detections, at_s)
        missing = [one for one in self._tracks if one.frame != self._frame and one.hits > 1]
        if missing:
            unsure = self._within([one for one in faint() if one.confidence >= FAINT])
            seen += self._match(missing, unsure, at_s, FAINT_FAR)[0]
        for d, detection in enumerate(detections):
            if d not in used:
                seen.append(self._begin(detection, at_s))
        return seen, self._retire(at_s)

    def _within(self, detections: Sequence[Detection]) -> Sequence[Detection]:
        zone = self.zone
        return detections if zone is None else [one for one in detections if zone.holds(one.box.centre)]

    def _match(
        self, tracks: Sequence[Track], detections: Sequence[Detection], at_s: float, farthest: float = inf
    ) -> tuple[list[Track], set[int]]:
        """Follow the likeliest matches; returns the tracks that were seen, and which detections were used."""
        seen: list[Track] = []
        used: set[int] = set()
        costs = _costs(tracks, detections, at_s, farthest)
        for t, d in pair(costs):
            track = tracks[t]
            if not track.confirmed:
                track.belief -= costs[t, d] + MISSED * (self._frame - track.frame - 1)
            track.frame = self._frame
            _follow(track, detections[d], at_s)
            used.add(d)
            seen.append(track)
        return seen, used

    def close(self) -> list[Track]:
        """End of the stream: every track ends."""
        ended, self._tracks = self._tracks, []
        for track in ended:
            track.ended = True
        return ended

    def _begin(self, detection: Detection, at_s: float) -> Track:
        track = Track(
            next(self._numbers), detection.box, at_s, detection.box.centre,
            [score * detection.confidence for score in detection.scores], detection, frame=self._frame,
        )  # fmt: skip
        self._tracks.append(track)
        return track

    def _retire(self, at_s: float) -> list[Track]:
        ended = [track for track in self._tracks if at_s - track.at_s > FORGET_AFTER_S]
        for track in ended:
            track.ended = True
        if ended:
            self._tracks = [track for track in self._tracks if not track.ended]
        return ended


def _costs(
    tracks: Sequence[Track], detections: Sequence[Detection], at_s: float, farthest: float
) -> dict[tuple[int, int], float]:
    """How much likelier than a new face each detection is each track's, as negative logarithm; only the possible ones."""
    faces = [(one.box.x0 + one.box.x1, one.box.y0 + one.box.y1, one.box.width, one.box.height) for one in detections]
    found: dict[tuple[int, int], float] = {}
    for t, track in enumerate(tracks):
        box, gone = track.box, at_s - track.at_s
        x, y = box.x0 + box.x1 + 2 * track.vx * gone, box.y0 + box.y1 + 2 * track.vy * gone
        width, height = box.width, box.height
        variance = track.spread(at_s)[0] + NOISE**2
        reach = min(FAR * variance, (farthest if track.hits > 1 else min(farthest, FARTHEST)) ** 2)
        looseness = log(variance) - LOOSE
        if width <= 0 or height <= 0:
            continue
        for d, (face_x, face_y, wide, high) in enumerate(faces):
            # The middles' distance is halved and so is the sum of the sizes: the ratio stays.
            across, down = (face_x - x) / (width + wide), (face_y - y) / (height + high)
            distance = across * across + down * down
            if distance > reach or wide <= 0:
                continue
            growth = log(wide / width)
            if -GROWTH <= growth <= GROWTH:
                found[t, d] = distance / variance / 2 + looseness + growth * growth
    return found


def _follow(track: Track, detection: Detection, at_s: float) -> None:
    place, shared, speed = track.spread(at_s)
    track.last, track.expected = detection, track.predict(at_s)
    expected, seen = track.expected.centre, detection.box.centre
    gain, velocity_gain = place / (place + NOISE**2), shared / (place + NOISE**2)
    off_x, off_y = seen.x - expected.x, seen.y - expected.y
    x, y = expected.x + gain * off_x, expected.y + gain * off_y
    track.vx += velocity_gain * off_x
    track.vy += velocity_gain * off_y
    track.place, track.shared = (1 - gain) * place, (1 - gain) * shared
    track.speed = speed - velocity_gain * shared
    half_w, half_h = (track.box.width + detection.box.width) / 4, (track.box.height + detection.box.height) / 4
    track.box = Box(x - half_w, y - half_h, x + half_w, y + half_h)
    track.at_s = at_s
    track.hits += 1
    for index, score in enumerate(detection.scores):
        track.evidence[index] += score * detection.confidence
