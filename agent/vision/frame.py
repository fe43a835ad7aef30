"""What a camera gives: a picture, and when it was taken."""

from dataclasses import dataclass

from agent.vision.yolo import Pixels


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, uint8 BGR (height, width, 3), at a time in s that only grows.

    `larger` is the same view in the same moment with more pixels, where a camera gives both.
    """

    pixels: Pixels
    at_s: float
    larger: Pixels | None = None

    @property
    def full(self) -> Pixels:
        """What crops are cut from; boxes are in the unit square and so fit both pictures."""
        return self.pixels if self.larger is None else self.larger
