"""Which line explains the walks that were seen: geometry over the paths of faces, no picture and no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
import numpy.typing as npt

from agent.vision.counter import MARGIN
from agent.vision.geometry import Line, Point

DIRECTIONS = 24  # that `in` may have, evenly around
STEP = 0.02  # between parallel lines
SHORTEST = 0.3  # of the picture: a line in its corner is no door
DIGITS = 3  # of a line's coordinates

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Walk:
    """What somebody says has happened, and the paths of the faces that were seen meanwhile, first place first."""

    entered: int
    left: int
    paths: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """A line that may be the door's."""

    line: Line
    error: int  # crossings too many and too few, summed over walks and directions
    clearance: float  # how far the crossing paths go beyond it on their shorter side, 0..1


def fit(walks: Sequence[Walk]) -> list[Fit]:
    """For each direction that `in` may have the line across the picture that explains the walks best; the best one first."""
    choices = [fit_along(2 * pi * turn / DIRECTIONS, walks) for turn in range(DIRECTIONS)]
    return sorted(choices, key=_rank)


def fit_along(angle: float, walks: Sequence[Walk]) -> Fit:
    """The same for one direction: of `in`, in radians from the right, downwards positive."""
    across, down = cos(angle), sin(angle)
    lines = [line for offset in np.arange(-1.4, 1.4, STEP) if (line := _chord(across, down, float(offset)))]
    offsets = np.array([across * line.start.x + down * line.start.y for line in lines])
    error = np.zeros(len(lines), np.int64)
    clearance = np.zeros(len(lines))
    crossing = np.zeros(len(lines))
    for walk in walks:
        entered, left = np.zeros(len(lines), np.int64), np.zeros(len(lines), np.int64)
        for path in walk.paths:
            places = np.array([across * one.x + down * one.y for one in path])[:, None] - offsets
            ins, outs = _crossings(places)
            entered, left = entered + ins, left + outs
            crosses = ins + outs > 0
            room = np.minimum(places.max(axis=0).clip(0), (-places).max(axis=0).clip(0))
            clearance += np.where(
                crosses, np.sqrt(room), 0
            )  # a root, so that one long path does not outweigh short ones
            crossing += crosses
        error += abs(entered - walk.entered) + abs(left - walk.left)
    mean = (clearance / np.maximum(crossing, 1)) ** 2
    best = min(range(len(lines)), key=lambda index: (error[index], -mean[index]))
    return Fit(lines[best], int(error[best]), float(mean[best]))


def _rank(one: Fit) -> tuple[int, float]:
    return one.error, -one.clearance


def _crossings(places: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Changes of side per column, from below -MARGIN to above MARGIN and back; `places` is (moments, lines)."""
    sides = np.where(np.abs(places) < MARGIN, 0, np.sign(places)).astype(np.int64)
    known = np.where(sides != 0, np.arange(len(places))[:, None], -1)
    newest = np.maximum.accumulate(known, axis=0)
    held = np.where(newest >= 0, np.take_along_axis(sides, newest.clip(0), axis=0), 0)
    change = np.diff(held, axis=0)
    return (change == 2).sum(axis=0), (change == -2).sum(axis=0)


def _chord(across: float, down: float, offset: float) -> Line | None:
    """The part in the unit square of the line whose points have `across * x + down * y == offset`, `in` beyond it."""
    dx, dy = down, -across  # so that (across, down) is to its right, y down
    x, y = across * offset, down * offset
    first, last = -9.0, 9.0
    for place, speed in ((x, dx), (y, dy)):
        if abs(speed) < 1e-9:
            if not 0 <= place <= 1:
                return None
            continue
        bounds = sorted((-place / speed, (1 - place) / speed))
        first, last = max(first, bounds[0]), min(last, bounds[1])
    if last - first < SHORTEST:
        return None
    corners = (x + dx * first, y + dy * first, x + dx * last, y + dy * last)
    x0, y0, x1, y1 = (min(1.0, max(0.0, round(value, DIGITS))) for value in corners)
    return Line.of(x0, y0, x1, y1)
