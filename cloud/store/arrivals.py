"""Sound passes on their way into the tables, in the shape that both databases' writers take, and what they add to the counts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """When and what; one for all passes of a minute that look the same, so that texts of it are made once."""

    at: datetime  # what it is counted under
    claimed: datetime  # what the device said
    direction: str
    label: str
    hour: datetime  # of `at`, UTC

    @property
    def claimed_at(self) -> datetime | None:
        """What the device said, where `at` is our own clock instead."""
        return None if self.at == self.claimed else self.claimed

    @staticmethod
    def of(at: datetime, claimed: datetime, direction: str, label: str) -> "Seen":
        """With its hour."""
        return Seen(at, claimed, direction, label, at.astimezone(UTC).replace(minute=0, second=0, microsecond=0))


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What saw it; one for all passes of a boot."""

    release: int
    accelerator: str
    boot: str  # a UUID's text


class Pass(NamedTuple):
    """A sound event; a tuple of texts, since tens of thousands a second are made."""

    id: str  # a UUID's text, as `str` writes it
    device: str
    seen: Seen
    source: Source
    line: str  # empty: the camera has only one
    confidence: str  # as `repr` writes it
    sequence: int
    synchronised: bool
    fingerprint: bytes  # of device and body: tells a repeat from a conflict
    row: Any = None  # as the database's writer takes it, where it was made ahead


class MakeRow(Protocol):
    """Makes a pass's row in a database's own form, before there is a transaction to hold up."""

    def __call__(
        self, known: str, device: str, seen: Seen, source: Source, line: str, confidence: str, sequence: int,
        synchronised: bool, fingerprint: bytes, received_at: datetime,
    ) -> Any:  # fmt: skip
        """The row, of a pass's fields in their order, which came at `received_at`; SQLite's is told that when it is written."""


class BootTally(NamedTuple):
    """What one batch says of one boot of one device."""

    device: str
    boot: UUID
    stored: int  # passes that are new
    expected: int  # passes the device is known to have counted in it


class HourTally(NamedTuple):
    """What one batch adds to one row of the hours; the fields before the last are its key."""

    device: str
    hour: datetime
    direction: str
    label: str
    release: int
    accelerator: str
    line: str
    passes: int


_ALIKE = itemgetter(*map(Pass._fields.index, ("device", "seen", "source", "line")))
_OWNER = itemgetter(*map(Pass._fields.index, ("device", "source")))
_SEQUENCE = itemgetter(Pass._fields.index("sequence"))


def rows_of(passes: Sequence[Pass], make_row: MakeRow, at: datetime) -> list[Any]:
    """Their rows in the order of their ids, with which both databases' rows begin."""
    return sorted([one[9] or make_row(*one[:9], at) for one in passes])


def tally(passes: Sequence[Pass]) -> tuple[list[HourTally], tuple[BootTally, ...]]:
    """What new passes add to hours, in the order of their key, and to boots."""
    hours: Counter[tuple[str, datetime, str, str, int, str, str]] = Counter()
    stored: Counter[tuple[str, str]] = Counter()
    for (device, seen, source, line), number in Counter(map(_ALIKE, passes)).items():
        hours[device, seen.hour, seen.direction, seen.label, source.release, source.accelerator, line] += number
        stored[device, source.boot] += number
    latest: dict[tuple[str, Source], int] = {}
    known = latest.get
    for key, sequence in zip(map(_OWNER, passes), map(_SEQUENCE, passes), strict=True):
        if sequence >= known(key, 0):
            latest[key] = sequence
    expected: dict[tuple[str, str], int] = {}
    for (device, source), sequence in latest.items():
        expected[device, source.boot] = max(expected.get((device, source.boot), 0), sequence + 1)
    boots = tuple(
        BootTally(device, UUID(boot), stored[device, boot], expected[device, boot]) for device, boot in stored
    )
    return [HourTally(*key, passes=hours[key]) for key in sorted(hours)], boots
