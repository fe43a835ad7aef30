"""What counts as passing at one camera: its lines, and where in the picture faces are followed at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from agent.vision.geometry import Line, Point, Zone
from contract.errors import ContractError
from contract.fleet import MOST_LINES, DoorPlan

STEPS = 20  # of a line, to see whether a zone reaches it


@dataclass(frozen=True, slots=True)
class Doorway:
    """One line without a name, or several that each have one; without a zone the whole picture counts."""

    lines: tuple[Line, ...]
    zone: Zone | None = None

    @classmethod
    def of(cls, lines: Sequence[Line], zone: Zone | None = None) -> Self:
        """Raises ContractError for no line, too many, a missing name, one name twice, and a line that the zone leaves out."""
        if not 1 <= len(lines) <= MOST_LINES:
            raise ContractError(f"a door has 1 to {MOST_LINES} lines, not {len(lines)}")
        names = [line.name for line in lines]
        if len(lines) > 1 and not all(names):
            raise ContractError("each of several lines needs a name")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ContractError(f"two lines are called {twice!r}")
        for line in lines:
            if zone is not None and not any(zone.holds(point) for point in _along(line)):
                raise ContractError(
                    f"the line {line.name or 'of this door'} lies outside the zone: nobody could be counted"
                )
        return cls(tuple(lines), zone)

    @classmethod
    def planned(cls, plan: DoorPlan) -> Self:
        """What the cloud wants; raises ContractError where it makes no sense."""
        lines = [Line.of(*one.line, name=one.name) for one in plan.lines]
        return cls.of(lines, Zone.of(plan.zone) if plan.zone else None)


def _along(line: Line) -> list[Point]:
    dx, dy = line.end.x - line.start.x, line.end.y - line.start.y
    return [Point(line.start.x + dx * step / STEPS, line.start.y + dy * step / STEPS) for step in range(STEPS + 1)]
