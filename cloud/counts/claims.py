"""What a count allows us to say: shares with their sampling error, and silence where there is too little."""

from dataclasses import dataclass
from math import sqrt

Z_95 = 1.959963984540054
LEAST_PASSES = 20  # a share of fewer passes is not shown


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval, all 0..1.

    The interval is sampling error only: how far chance moves a share of so few passes. What the detector gets wrong is
    not in it; `correction.py` makes intervals that hold that too.
    """

    rate: float
    low: float
    high: float


def share(hits: int, of: int) -> Share | None:
    """The share of `hits` among `of` passes, or None where they are fewer than LEAST_PASSES."""
    return wilson(hits, of) if of >= LEAST_PASSES else None


def wilson(hits: int, of: int, z: float = Z_95) -> Share:
    """Wilson's score interval (1927): sound for small counts and for shares near 0 and 1. Raises ValueError."""
    if not 0 <= hits <= of or of == 0:
        raise ValueError(f"{hits} of {of} is no share")
    rate = hits / of
    bend = 1 + z * z / of
    centre = (rate + z * z / (2 * of)) / bend
    half = z * sqrt(rate * (1 - rate) / of + z * z / (4 * of * of)) / bend
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == of else centre + half
    return Share(rate, low, high)
