"""Detections to tracks: constant velocity, nearest first; made for a few faces at a door and clocked in seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import exp, hypot, log

from agent.vision.detector import Detection
from agent.vision.geometry import Box, Point

FORGET_AFTER_S = 1.0  # a face unseen this long is gone
CONFIRM_HITS = 3  # detections before a track is believed
TOP_SPEED = 5.0  # face widths a second that a new face may have moved without a known velocity
GAIN = 0.55  # share of a new position that is believed over the prediction
VELOCITY_GAIN = 0.35


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
    vx: float = 0.0  # unit square a second
    vy: float = 0.0
    ended: bool = False

    @property
    def confirmed(self) -> bool:
        return self.hits >= CONFIRM_HITS

    def predict(self, at_s: float) -> Box:
        """Where the face should be by now; trust in an old velocity fades."""
        gone = at_s - self.at_s
        reach = 0.6 * (1 - exp(-gone / 0.6))
        dx, dy = self.vx * reach, self.vy * reach
        return Box(self.box.x0 + dx, self.box.y0 + dy, self.box.x1 + dx, self.box.y1 + dy)


class Tracker:
    """Follows faces from frame to frame; frames may be dropped, time is what counts."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._numbers = count(1)

    def update(self, detections: Sequence[Detection], at_s: float) -> tuple[list[Track], list[Track]]:
        """Take one frame's detections; returns (tracks seen in this frame, tracks that have just ended)."""
        pairs = sorted(
            (cost, t, d)
            for t, track in enumerate(self._tracks)
            for d, detection in enumerate(detections)
            if (cost := _cost(track, detection.box, at_s)) is not None
        )
        seen: list[Track] = []
        used_tracks: set[int] = set()
        used_detections: set[int] = set()
        for _, t, d in pairs:
            if t in used_tracks or d in used_detections:
                continue
            used_tracks.add(t)
            used_detections.add(d)
            _follow(self._tracks[t], detections[d], at_s)
            seen.append(self._tracks[t])
        for d, detection in enumerate(detections):
            if d not in used_detections:
                seen.append(self._begin(detection, at_s))
        return seen, self._retire(at_s)

    def close(self) -> list[Track]:
        """End of the stream: every track ends."""
        ended, self._tracks = self._tracks, []
        for track in ended:
            track.ended = True
        return ended

    def _begin(self, detection: Detection, at_s: float) -> Track:
        track = Track(
            next(self._numbers), detection.box, at_s, detection.box.centre,
            [score * detection.confidence for score in detection.scores], detection,
        )  # fmt: skip
        self._tracks.append(track)
        return track

    def _retire(self, at_s: float) -> list[Track]:
        ended = [track for track in self._tracks if at_s - track.at_s > FORGET_AFTER_S]
        for track in ended:
            track.ended = True
        self._tracks = [track for track in self._tracks if not track.ended]
        return ended


def _cost(track: Track, box: Box, at_s: float) -> float | None:
    """Distance in face sizes between a detection and where the track should be; None where it cannot be the same face."""
    expected = track.predict(at_s)
    gone = at_s - track.at_s
    wide, high = (expected.width + box.width) / 2, (expected.height + box.height) / 2
    if wide <= 0 or high <= 0 or gone <= 0:
        return None
    growth = abs(log(max(box.width, 1e-6) / max(expected.width, 1e-6)))
    if growth > 0.7:
        return None
    there, here = expected.centre, box.centre
    distance = hypot((here.x - there.x) / wide, (here.y - there.y) / high)
    reach = 0.45 + TOP_SPEED * gone if track.hits < 2 else 0.5 + 1.6 * gone
    return distance + 0.5 * growth if distance <= min(reach, 2.2) else None


def _follow(track: Track, detection: Detection, at_s: float) -> None:
    gone = at_s - track.at_s
    track.last, track.expected = detection, track.predict(at_s)
    expected, seen = track.expected.centre, detection.box.centre
    if track.hits == 1:
        track.vx, track.vy = (seen.x - track.birth.x) / gone, (seen.y - track.birth.y) / gone
        gain = 1.0
    else:
        gain = GAIN
        track.vx += VELOCITY_GAIN * (seen.x - expected.x) / gone
        track.vy += VELOCITY_GAIN * (seen.y - expected.y) / gone
    x, y = expected.x + gain * (seen.x - expected.x), expected.y + gain * (seen.y - expected.y)
    half_w = (0.5 * track.box.width + 0.5 * detection.box.width) / 2
    half_h = (0.5 * track.box.height + 0.5 * detection.box.height) / 2
    track.box = Box(x - half_w, y - half_h, x + half_w, y + half_h)
    track.at_s = at_s
    track.hits += 1
    for index, score in enumerate(detection.scores):
        track.evidence[index] += score * detection.confidence
