"""Whether a door plan makes sense, as the door itself will judge it: what it would refuse is not sent."""

from collections.abc import Sequence

from contract.errors import ContractError
from contract.fleet import DoorLine, DoorPlan

LEAST_CORNERS = 3  # of a zone
LEAST_AREA = 0.001  # of a zone, share of the picture
STEPS = 20  # of a line, to see whether a zone reaches it

Corner = tuple[float, float]


def require_sense(plan: DoorPlan) -> DoorPlan:
    """Return `plan`; raises ContractError that says what is wrong with which line or with the zone."""
    names = [one.name for one in plan.lines]
    if len(names) > 1 and not all(names):
        raise ContractError("each of several lines needs a name")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ContractError(f"two lines are called {twice!r}")
    for one in plan.lines:
        if one.line[:2] == one.line[2:]:
            raise ContractError(f"{_called(one)} needs two different points")
    if plan.zone:
        _require_zone(plan.zone)
        for one in plan.lines:
            if not any(_holds(plan.zone, point) for point in _along(one)):
                raise ContractError(f"{_called(one)} lies outside the zone: nobody could be counted")
    return plan


def _require_zone(zone: Sequence[Corner]) -> None:
    if len(zone) < LEAST_CORNERS:
        raise ContractError(f"a zone has at least {LEAST_CORNERS} corners, not {len(zone)}")
    sides = list(zip(zone, (*zone[1:], zone[0]), strict=True))
    if abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in sides)) / 2 < LEAST_AREA:
        raise ContractError("the zone needs an area")
    last = len(sides) - 1
    for i, one in enumerate(sides):
        for j in range(i + 2, len(sides)):
            if (i, j) != (0, last) and _meet(one, sides[j]):
                raise ContractError("the zone's sides may not cross: list its corners in order")


def _called(one: DoorLine) -> str:
    return f"the line {one.name}" if one.name else "the line"


def _along(one: DoorLine) -> list[Corner]:
    x0, y0, x1, y1 = one.line
    return [(x0 + (x1 - x0) * step / STEPS, y0 + (y1 - y0) * step / STEPS) for step in range(STEPS + 1)]


def _holds(zone: Sequence[Corner], point: Corner) -> bool:
    """Whether `point` is inside; on the edge it may count as either."""
    (x, y), inside, before = point, False, zone[-1]
    for corner in zone:
        if (corner[1] > y) != (before[1] > y):
            share = (y - corner[1]) / (before[1] - corner[1])
            inside ^= x < corner[0] + share * (before[0] - corner[0])
        before = corner
    return inside


def _meet(one: tuple[Corner, Corner], other: tuple[Corner, Corner]) -> bool:
    """Whether two sides have a point in common."""
    (a, b), (c, d) = one, other
    turns = [_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)]
    if turns[0] != turns[1] and turns[2] != turns[3]:
        return True
    on = [(turns[0], a, b, c), (turns[1], a, b, d), (turns[2], c, d, a), (turns[3], c, d, b)]
    return any(turn == 0 and _between(p, q, r) for turn, p, q, r in on)


def _turn(a: Corner, b: Corner, c: Corner) -> int:
    """1, 0 or -1: to which side of a-b c lies."""
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (area > 0) - (area < 0)


def _between(p: Corner, q: Corner, r: Corner) -> bool:
    return min(p[0], q[0]) <= r[0] <= max(p[0], q[0]) and min(p[1], q[1]) <= r[1] <= max(p[1], q[1])
