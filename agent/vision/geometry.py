"""Points, boxes and lines in the unit square: x to the right, y down, both 0..1 of the frame."""

from dataclasses import dataclass
from typing import Self

from contract.errors import ContractError


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the frame."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Box:
    """Corners; `x0 <= x1`, `y0 <= y1`. A box may reach out of the unit square."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def centre(self) -> Point:
        return Point((self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2)

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    def iou(self, other: Self) -> float:
        """Shared area over joint area, 0..1."""
        wide = min(self.x1, other.x1) - max(self.x0, other.x0)
        high = min(self.y1, other.y1) - max(self.y0, other.y0)
        if wide <= 0 or high <= 0:
            return 0.0
        shared = wide * high
        return shared / (self.width * self.height + other.width * other.height - shared)


@dataclass(frozen=True, slots=True)
class Line:
    """A door's threshold from `start` to `end`; its right-hand side, y down, is inside."""

    start: Point
    end: Point

    @classmethod
    def parse(cls, text: str) -> Self:
        """`x0,y0,x1,y1` in the unit square; raises ContractError for anything else."""
        try:
            x0, y0, x1, y1 = (float(part) for part in text.split(","))
        except ValueError as error:
            raise ContractError(f"a line is four numbers x0,y0,x1,y1 between 0 and 1, not {text!r}") from error
        return cls.of(x0, y0, x1, y1)

    @classmethod
    def of(cls, x0: float, y0: float, x1: float, y1: float) -> Self:
        """Raises ContractError where a corner is outside the unit square or the line has no length."""
        if not all(0 <= value <= 1 for value in (x0, y0, x1, y1)):
            raise ContractError(f"a line lies in the unit square, 0 to 1; got {x0},{y0},{x1},{y1}")
        if (x0, y0) == (x1, y1):
            raise ContractError(f"a line needs two different points; got {x0},{y0} twice")
        return cls(Point(x0, y0), Point(x1, y1))

    def offset(self, point: Point) -> float:
        """Signed distance of `point` from the infinite line, positive to the right of start -> end (y down)."""
        dx, dy = self.end.x - self.start.x, self.end.y - self.start.y
        return float((dx * (point.y - self.start.y) - dy * (point.x - self.start.x)) / (dx * dx + dy * dy) ** 0.5)

    def abreast(self, point: Point, slack: float = 0.0) -> bool:
        """Whether `point` lies beside the segment rather than beyond one of its ends (`slack` in lengths of it)."""
        dx, dy = self.end.x - self.start.x, self.end.y - self.start.y
        share = (dx * (point.x - self.start.x) + dy * (point.y - self.start.y)) / (dx * dx + dy * dy)
        return -slack <= share <= 1 + slack
