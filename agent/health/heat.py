"""How hard a hot door may work: a table, with a way back that does not flap."""

from dataclasses import dataclass
from enum import IntEnum

COOLER_BY_C = 5.0  # below a step's temperature before the step is taken back


class Heat(IntEnum):
    """Steps from well to too hot."""

    WELL = 0
    WARM = 1
    HOT = 2


@dataclass(frozen=True, slots=True)
class Measure:
    """What holds while a step holds."""

    from_c: float
    fps: float | None  # the most frames a second to look at; None: as set
    accelerator: bool  # whether the accelerator may work


# 8 frames a second cost 2 points of counting error, 5 cost 8 (simulated walkers; the design's own tracker).
MEASURES = {
    Heat.WELL: Measure(float("-inf"), None, True),
    Heat.WARM: Measure(75.0, 8.0, True),
    Heat.HOT: Measure(85.0, 5.0, False),
}


def heat_after(before: Heat, temperature_c: float | None) -> Heat:
    """The step after a reading; up at once, down only when it is cooler by 5 C. No reading, no heat."""
    if temperature_c is None:
        return Heat.WELL
    reached = max(step for step, measure in MEASURES.items() if temperature_c >= measure.from_c)
    while before > reached and temperature_c < MEASURES[before].from_c - COOLER_BY_C:
        before = Heat(before - 1)
    return max(before, reached)


class Pace:
    """Thins frames out to at most `fps` a second; all of them where that is None."""

    def __init__(self) -> None:
        self.fps: float | None = None
        self._due_s = float("-inf")

    def take(self, at_s: float) -> bool:
        """Whether the frame of this time, in s, is looked at; evenly, and never a burst after a pause."""
        if self.fps is None:
            return True
        step = 1 / self.fps
        if at_s < self._due_s - 1e-6:
            return False
        self._due_s = max(self._due_s + step, at_s) if self._due_s + step > at_s else at_s + step
        return True
