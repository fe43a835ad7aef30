"""Points, boxes, lines and zones in the unit square: x to the right, y down, both 0..1 of the frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from contract.errors import ContractError

MOST_CORNERS = 32  # of a zone
LEAST_AREA = 0.001  # of a zone, share of the frame


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
    name: str = ""  # which of a camera's lines; empty where there is only one

    @classmethod
    def parse(cls, text: str) -> Self:
        """`x0,y0,x1,y1` in the unit square, or `name=x0,y0,x1,y1`; raises ContractError for anything else."""
        name, _, numbers = text.rpartition("=")
        try:
            x0, y0, x1, y1 = (float(part) for part in numbers.split(","))
        except ValueError as error:
            raise ContractError(f"a line is four numbers x0,y0,x1,y1 between 0 and 1, not {text!r}") from error
        return cls.of(x0, y0, x1, y1, name=name)

    @classmethod
    def of(cls, x0: float, y0: float, x1: float, y1: float, name: str = "") -> Self:
        """Raises ContractError where a corner is outside the unit square or the line has no length."""
        if not all(0 <= value <= 1 for value in (x0, y0, x1, y1)):
            raise ContractError(f"a line lies in the unit square, 0 to 1; got {x0},{y0},{x1},{y1}")
        if (x0, y0) == (x1, y1):
            raise ContractError(f"a line needs two different points; got {x0},{y0} twice")
        return cls(Point(x0, y0), Point(x1, y1), name)

    def offset(self, point: Point) -> float:
        """Signed distance of `point` from the infinite line, positive to the right of start -> end (y down)."""
        dx, dy = self.end.x - self.start.x, self.end.y - self.start.y
        return float((dx * (point.y - self.start.y) - dy * (point.x - self.start.x)) / (dx * dx + dy * dy) ** 0.5)

    def reach(self, box: Box) -> float:
        """How far `box` extends across the line, both sides together."""
        dx, dy = abs(self.end.x - self.start.x), abs(self.end.y - self.start.y)
        return float((dy * box.width + dx * box.height) / (dx * dx + dy * dy) ** 0.5)

    def abreast(self, point: Point, slack: float = 0.0) -> bool:
        """Whether `point` lies beside the segment rather than beyond one of its ends (`slack` in lengths of it)."""
        dx, dy = self.end.x - self.start.x, self.end.y - self.start.y
        share = (dx * (point.x - self.start.x) + dy * (point.y - self.start.y)) / (dx * dx + dy * dy)
        return -slack <= share <= 1 + slack


@dataclass(frozen=True, slots=True)
class Zone:
    """A polygon in the unit square; what is on its edge may count as inside or outside."""

    corners: tuple[Point, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """`x,y x,y x,y ...` in the unit square; raises ContractError for anything else."""
        try:
            pairs = [tuple(float(part) for part in corner.split(",")) for corner in text.split()]
            return cls.of([(x, y) for x, y in pairs])
        except ValueError as error:
            raise ContractError(f"a zone is its corners x,y x,y x,y between 0 and 1, not {text!r}") from error

    @classmethod
    def of(cls, corners: Sequence[tuple[float, float]]) -> Self:
        """Raises ContractError for under 3 or over 32 corners, one outside the unit square, and sides that cross or have no area."""
        if not 3 <= len(corners) <= MOST_CORNERS:
            raise ContractError(f"a zone has 3 to {MOST_CORNERS} corners, not {len(corners)}")
        if not all(0 <= value <= 1 for corner in corners for value in corner):
            raise ContractError(f"a zone lies in the unit square, 0 to 1; got {_listed(corners)}")
        points = tuple(Point(x, y) for x, y in corners)
        sides = list(zip(points, (*points[1:], points[0]), strict=True))
        area = abs(sum(a.x * b.y - b.x * a.y for a, b in sides)) / 2
        if area < LEAST_AREA:
            raise ContractError(f"a zone needs an area; got {_listed(corners)}")
        last = len(sides) - 1
        for i, one in enumerate(sides):
            for j in range(i + 2, len(sides)):
                if (i, j) != (0, last) and _cross(one, sides[j]):
                    raise ContractError(
                        f"a zone's sides may not cross: list its corners in order; got {_listed(corners)}"
                    )
        return cls(points)

    def holds(self, point: Point) -> bool:
        """Whether `point` is inside."""
        inside, before = False, self.corners[-1]
        for corner in self.corners:
            if (corner.y > point.y) != (before.y > point.y):
                share = (point.y - corner.y) / (before.y - corner.y)
                if point.x < corner.x + share * (before.x - corner.x):
                    inside = not inside
            before = corner
        return inside


def _listed(corners: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in corners)


def _cross(one: tuple[Point, Point], other: tuple[Point, Point]) -> bool:
    """Whether two sides have a point in common."""
    (a, b), (c, d) = one, other
    turns = [_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)]
    if turns[0] != turns[1] and turns[2] != turns[3]:
        return True
    on = [(0, a, b, c), (1, a, b, d), (2, c, d, a), (3, c, d, b)]
    return any(turns[index] == 0 and _between(p, q, r) for index, p, q, r in on)


def _turn(a: Point, b: Point, c: Point) -> int:
    value = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x)
    return 0 if abs(value) < 1e-12 else 1 if value > 0 else -1


def _between(a: Point, b: Point, c: Point) -> bool:
    """Whether `c`, which is in line with a and b, lies between them."""
    return min(a.x, b.x) <= c.x <= max(a.x, b.x) and min(a.y, b.y) <= c.y <= max(a.y, b.y)
