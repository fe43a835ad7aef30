"""Whether the camera still sees the door: a picture that stalls, is frozen, black, covered, or was moved.

Only anonymous statistics of a thumbnail are kept. The view is learned anew at every start: who moves the camera or
the line restarts the agent, which takes what it then sees for right.
"""

import zlib

import cv2
import numpy as np

from agent.vision.yolo import Floats, Pixels

STALL_S = 5.0  # without a frame
FROZEN_LOOKS, FROZEN_S = (
    60,
    10.0,
)  # equal to the last bit; a network camera's still scene is coded anew sooner than that
BLIND_S = 5.0  # black or covered
LOOK_S, LONGEST_LOOK_S = 1.0, 5.0  # between two looks at the thumbnail; what one of them stands for at most
DARK, FLAT = 24.0, 5.0  # grey levels of 255: mean and spread of a thumbnail that shows nothing
THUMB = (64, 48)
EDGE, LEAST_EDGE = 0.15, 1.5  # of the spread, and grey levels, over two px of the thumbnail: below is no edge
LEARN_LOOKS = 60  # before the view is known
SLOWLY = 1 / 600  # share of the reference that a look replaces: light that changes in half an hour is followed
LATELY = 1 / 30  # the same of the recent picture: who stands for seconds leaves little in it
STEADY = 0.6  # an edge of the reference is there in this share of the looks
LEAST_EDGES = 60  # below that a view says nothing
MOVED, BACK = 0.5, 0.65  # agreement of recent and lasting edges: below, it may have been moved; above, it was not
MOVED_S = 120.0

STALLED = "the camera has sent no frame for 5 s"
FROZEN = "the picture is frozen: frame after frame is the same to the last bit; restart the camera"
BLACK = "the picture is black: is the lens covered, or the light off?"
COVERED = "the picture shows one flat surface: is the lens covered?"
SHIFTED = "the camera shows another view than before: if it was moved, check the line and restart the agent"


class Watch:
    """Looks at a door's frames once a second; `see` and `wait` are for one thread, `trouble` for any.

    Times are in s of any clock that only grows.
    """

    def __init__(self, now_s: float) -> None:
        self._waits_since: float | None = now_s
        self._hash, self._same, self._same_since = 0, 0, now_s
        self._looked_s = float("-inf")
        self._view = View()
        self._blind, self._blind_s = "", 0.0
        self._unlike_s = 0.0  # how long the picture has not been the view that was learned

    def wait(self, now_s: float) -> None:
        """The next frame is awaited from now on; time between `see` and `wait` is not the camera's."""
        self._waits_since = now_s

    def see(self, pixels: Pixels, now_s: float) -> None:
        """Take a frame, uint8 BGR (height, width, 3)."""
        self._waits_since = None
        step = max(1, pixels.shape[1] // 40)
        found = zlib.crc32(pixels[::step, ::step].tobytes())
        if found != self._hash:
            self._hash, self._same, self._same_since = found, 0, now_s
        self._same += 1
        if now_s - self._looked_s >= LOOK_S:
            self._look(pixels, min(now_s - self._looked_s, LONGEST_LOOK_S))
            self._looked_s = now_s

    def trouble(self, now_s: float) -> list[str]:
        """What is wrong now, in words for a heartbeat."""
        waits = self._waits_since
        if waits is not None and now_s - waits > STALL_S:
            return [STALLED]
        if self._blind_s > BLIND_S:
            return [self._blind]
        found = [FROZEN] if self._same >= FROZEN_LOOKS and now_s - self._same_since > FROZEN_S else []
        return found + ([SHIFTED] if self._unlike_s > MOVED_S else [])

    def _look(self, pixels: Pixels, passed_s: float) -> None:
        thumb = thumbnail(pixels)
        self._blind = _blindness(thumb)
        if self._blind:  # it tells nothing of the view
            self._blind_s += passed_s
            return
        self._blind_s = 0.0
        agreement = self._view.look(thumb)
        alike = agreement is None or agreement > (BACK if self._unlike_s > MOVED_S else MOVED)
        self._unlike_s = 0.0 if alike else self._unlike_s + passed_s


class View:
    """The edges that stay, learned slowly, against those of the last half minute."""

    def __init__(self) -> None:
        self._looks = 0
        self._reference = self._recent = np.zeros((2, THUMB[1] - 2, THUMB[0] - 2), np.float32)

    def look(self, thumb: Floats) -> float | None:
        """Take a thumbnail; 1 where every lasting edge is where it was, about 0 in another view, None where unknown."""
        edges = _edges(thumb)
        self._looks += 1
        self._recent = self._recent + max(LATELY, 1 / self._looks) * (edges - self._recent)
        agreement = None if self._looks <= LEARN_LOOKS else self._agreement()
        rate = SLOWLY if self._looks > LEARN_LOOKS else 1 / self._looks
        if agreement is None or agreement > BACK:
            self._reference = self._reference + rate * (edges - self._reference)
        return agreement

    def _agreement(self) -> float | None:
        """The worse of both directions: a camera that looks along stairs can slide sideways and keep most edges."""
        known = []
        for reference, recent in zip(self._reference, self._recent, strict=True):
            strength = np.abs(reference)
            steady = strength > STEADY
            if np.count_nonzero(steady) >= LEAST_EDGES:
                known.append(float((recent * np.sign(reference))[steady].sum() / strength[steady].sum()))
        return min(known, default=None)


def thumbnail(pixels: Pixels) -> Floats:
    """Grey (48, 64), the mean of the px around."""
    step = max(1, pixels.shape[1] // 256)
    small = cv2.resize(np.ascontiguousarray(pixels[::step, ::step]), THUMB, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)


def _blindness(thumb: Floats) -> str:
    if thumb.std() > FLAT:
        return ""
    return BLACK if thumb.mean() < DARK else COVERED


def _edges(thumb: Floats) -> Floats:
    """The direction of each edge across and down, -1, 0 or 1, (2, 46, 62): it stays while the light changes."""
    least = max(LEAST_EDGE, EDGE * float(thumb.std()))
    across, down = thumb[1:-1, 2:] - thumb[1:-1, :-2], thumb[2:, 1:-1] - thumb[:-2, 1:-1]
    slopes = np.stack([across, down])
    return np.asarray(np.sign(slopes) * (np.abs(slopes) > least), np.float32)
