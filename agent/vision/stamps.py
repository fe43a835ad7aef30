"""When a frame was taken, from what is known: the stamp of whoever took it, and when it came here."""

from math import isfinite

OLDEST_S = 1.0  # a stamp of our own clock that is older than this at its arrival is no stamp
LEAK = 0.05  # s per s that the least delay is forgotten: some cameras keep time that badly
JUMP_S = 2.0  # a frame later than this after its expected arrival: the sender has set its clock, or begun anew
LONGEST_GAP_S = 60.0  # between two frames of one stream
EARLY, LATE = 0.3, 0.5  # of the time between two looks, that a frame may be off it: no camera keeps time exactly
BACKWARDS = 1.5  # more of it than can be left to wait: the time has gone back


class SenderClock:
    """A sender's stamps on our clock: the shortest way here, lately, is taken for no way at all.

    So the network's hiccups move no frame in time; a constant delay is in every frame alike and harms nothing.
    """

    def __init__(self) -> None:
        self._stamp_s = float("-inf")
        self._offset_s = 0.0

    def taken(self, stamp_s: float, now_s: float) -> float:
        """When a frame was taken that arrives now, s of our clock: never later than now."""
        if not isfinite(stamp_s):
            return now_s
        passed_s, offset_s = stamp_s - self._stamp_s, now_s - stamp_s
        self._stamp_s = stamp_s
        slack_s = offset_s - self._offset_s
        if not 0 < passed_s < LONGEST_GAP_S or slack_s > JUMP_S:
            self._offset_s = offset_s
        else:
            self._offset_s += min(slack_s, LEAK * passed_s)
        return stamp_s + self._offset_s


def own_clock(stamp_s: float, now_s: float) -> float:
    """When a frame was taken that bears a stamp of our own clock; now, where the stamp cannot be one."""
    return stamp_s if 0 <= now_s - stamp_s < OLDEST_S else now_s


class Pace:
    """Which frames to look at so that they are no more than `fps` a second, whatever rate they come at."""

    def __init__(self, fps: float) -> None:
        self._step_s = 1 / fps
        self._next_s = float("-inf")

    def due(self, at_s: float) -> bool:
        """Whether to look at the frame of this time, s."""
        early = (self._next_s - at_s) / self._step_s
        if EARLY < early < BACKWARDS:
            return False
        grid_s = self._next_s if -LATE < early < BACKWARDS else at_s - LATE * self._step_s
        self._next_s = grid_s + self._step_s
        return True
