"""Hour counts gathered into the cells that people ask for."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from cloud.counts.claims import Share, share
from cloud.store.store import HourCount
from contract.events import Direction
from contract.labels import LABELS, Label

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Cell:
    """Passes of one group, by direction and label."""

    table: Mapping[tuple[Direction, Label], int]

    @property
    def passes(self) -> int:
        return sum(self.table.values())

    @property
    def compliance(self) -> Share | None:
        """Share of properly worn masks among all passes; None where they are too few to say."""
        return share(self.labelled(Label.WITH_MASK), self.passes)

    def labelled(self, label: Label) -> int:
        return sum(self.table.get((direction, label), 0) for direction in Direction)

    def directed(self, direction: Direction) -> int:
        return sum(self.table.get((direction, label), 0) for label in LABELS)

    def count(self, direction: Direction, label: Label) -> int:
        return self.table.get((direction, label), 0)


EMPTY = Cell({})


def gather(counts: Iterable[HourCount], key: Callable[[HourCount], Key]) -> dict[Key, Cell]:
    """One cell per value of `key`, in order of first appearance."""
    tables: dict[Key, dict[tuple[Direction, Label], int]] = defaultdict(lambda: defaultdict(int))
    for one in counts:
        tables[key(one)][Direction(one.direction), Label(one.label)] += one.passes
    return {group: Cell(dict(table)) for group, table in tables.items()}


def total(counts: Iterable[HourCount]) -> Cell:
    """All of them in one cell."""
    return gather(counts, lambda _: None).get(None, EMPTY)
