"""Narrower int8 ranges than the extremes seen: for each activation the range whose total error is least.

A converter takes the smallest and the largest value of all calibration images, so that one bright pixel makes every step
coarse. Clipping a few values costs less. Used by `trainer.convert`, in the export environment.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BINS = 2048
SHARES = np.concatenate([np.linspace(0.05, 0.3, 11), np.linspace(0.325, 1.0, 28)])  # of an extreme, that are tried
STEPS = 255  # of an int8 range
NO = -8.0  # a class logit, .0003: far under every threshold and under what scores are ranked from


@dataclass(frozen=True, slots=True)
class Histogram:
    """How often an activation took which value over all calibration images."""

    low: float
    high: float
    counts: Floats  # (BINS,), evenly spaced from low to high

    @property
    def centres(self) -> Floats:
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        return np.asarray((edges[:-1] + edges[1:]) / 2, np.float64)


def same(values: Floats) -> Floats:
    """An activation that counts as it is."""
    return values


def silu(values: Floats) -> Floats:
    """One that is next multiplied with its own sigmoid: far below zero nothing of it is left."""
    return np.asarray(values / (1 + np.exp(-np.clip(values, -60, 60))), np.float64)


def best_range(histogram: Histogram, after: Callable[[Floats], Floats] = same) -> tuple[float, float]:
    """The range (low <= 0 <= high) of least expected squared error of `after(value)`, clipping and rounding together."""
    values = histogram.centres
    weight = histogram.counts / max(1.0, histogram.counts.sum())
    wanted = after(values)
    small = 1e-3
    slope = (after(values + small) - after(values - small)) / (2 * small)
    rounding = weight * slope**2 / 12
    lows, highs = min(histogram.low, 0.0) * SHARES, max(histogram.high, 0.0) * SHARES
    too_low = np.array([np.sum((weight * (after(np.full(1, low)) - wanted) ** 2)[values < low]) for low in lows])
    too_high = np.array([np.sum((weight * (after(np.full(1, high)) - wanted) ** 2)[values > high]) for high in highs])
    below = np.array([rounding[values < low].sum() for low in lows])
    above = np.array([rounding[values > high].sum() for high in highs])
    inside = rounding.sum() - below[:, None] - above[None, :]
    step = (highs[None, :] - lows[:, None]) / STEPS
    error = too_low[:, None] + too_high[None, :] + inside * step**2
    low, high = np.unravel_index(int(np.argmin(error)), error.shape)
    return float(lows[low]), float(highs[high])


def class_range(histogram: Histogram) -> tuple[float, float]:
    """That of class logits: whole above, so that the few surest faces stay in order; below `NO` all is a no."""
    return max(histogram.low, NO), max(histogram.high, 0.0)


def histograms(
    extremes: Mapping[int, tuple[float, float]], looks: Iterable[Mapping[int, npt.NDArray[np.float32]]]
) -> dict[int, Histogram]:
    """Over all `looks` (one per image: activation by tensor number), between the extremes known for each tensor."""
    counts = {tensor: np.zeros(BINS) for tensor in extremes}
    for look in looks:
        for tensor, values in look.items():
            low, high = extremes[tensor]
            counts[tensor] += np.histogram(values, BINS, (low, max(high, low + 1e-6)))[0]
    return {tensor: Histogram(*extremes[tensor], counts[tensor]) for tensor in extremes}
