"""How alike the things of one group are, drawn from what the groups say of it: days of a door, doors of a fleet."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Of two passes of one door and day, beyond two of one door: 0..1.
DAYS_ALIKE = np.geomspace(5e-4, 0.8, 24)
MOST_DAYS = 4_000  # door-days that are asked: more would say the same


def log_likelihood(tallies: Floats, alike: Floats, prior: Floats | float = 0.0) -> Floats:
    """Of each value of `alike`, from groups, (groups, outcomes), that say how often which outcome came.

    Groups are Dirichlet-multinomial around their common mean. It is known from them alone, and a `prior`; the last term
    says how much less they tell by that (a profile likelihood without it takes few groups for too alike).
    """
    tallies = tallies[tallies.sum(axis=1) > 0]
    tallies = tallies[:, tallies.sum(axis=0) > 0]
    if len(tallies) < 2:
        return np.zeros(len(alike))
    sizes = tallies.sum(axis=1)
    mean = tallies.sum(axis=0) + prior
    whole = (1 / alike - 1)[:, None]
    shape = whole * (mean / mean.sum())
    each = (_log_gamma(shape[:, None, :] + tallies) - _log_gamma(shape)[:, None, :]).sum(axis=(1, 2))
    sums = (_log_gamma(whole + sizes) - _log_gamma(whole)).sum(axis=1)
    worth = (sizes / (1 + alike[:, None] * (sizes - 1))).sum(axis=1)
    result: Floats = each - sums - (tallies.shape[1] - 1) / 2 * np.log(np.maximum(worth, 1e-9))
    return result


def draw_days_alike(days: Sequence[tuple[Floats, float]], draws: int, rng: np.random.Generator) -> Floats:
    """How alike two passes of one door and day are, (draws,), from the days, (days, outcomes), of each of some doors.

    The number with each door's days is how much of the truth shows in its outcomes, 0..1. Before anything is known the
    standard deviation of days is as likely to be anywhere: with few days the interval must not count on their being alike.
    """
    step = -(-sum(len(table) for table, _ in days) // MOST_DAYS) or 1
    likely = np.log(DAYS_ALIKE) / 2
    for table, shown in days:
        likely += log_likelihood(table[::step], DAYS_ALIKE * shown)
    drawn: Floats = DAYS_ALIKE[draw_places(likely, draws, rng)]
    return drawn


def draw_places(likely: Floats, draws: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Places in a grid of values, by their log likelihood."""
    chance = np.exp(likely - likely.max())
    places: npt.NDArray[np.int64] = rng.choice(len(likely), size=draws, p=chance / chance.sum())
    return places


def dirichlet(shape: Floats, rng: np.random.Generator) -> Floats:
    """Draws along the last axis."""
    gammas = rng.standard_gamma(np.maximum(shape, 1e-6)) + 1e-300
    result: Floats = gammas / gammas.sum(axis=-1, keepdims=True)
    return result


def _log_gamma(x: Floats) -> Floats:
    """Stirling's series eight steps up; error below 1e-9 for x > 0."""
    steps = x.copy()
    for step in range(1, 8):
        steps *= x + step
    y = x + 8
    series = (y - 0.5) * np.log(y) - y + 0.9189385332046727 + 1 / (12 * y) - 1 / (360 * y**3) + 1 / (1260 * y**5)
    result: Floats = series - np.log(steps)
    return result
