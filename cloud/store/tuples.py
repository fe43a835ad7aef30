"""The busiest statements for SQLite: tuples straight to the driver, in the form in which the columns' types keep them.

Many rows a statement: the driver lets go of the interpreter for each, and would have to wait for the network's thread to get it back.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection

from cloud.store.arrivals import BootTally, Pass, Seen, Source, rows_of, tally

Row = tuple[Any, ...]

SIZES = (2_000, 500, 100, 20, 5, 1)  # rows a statement

STORE = (
    "INSERT INTO events (received_at, id, device, at, direction, label, release, accelerator, boot, confidence, sequence,"
    " clock_synchronised, fingerprint, line) VALUES {rows} ON CONFLICT (id) DO NOTHING"
)
STORE_CLAIMED = STORE.replace(
    "line)", "line, claimed_at)"
)  # also what the device said, where it is counted under our time
WIDTH = 13  # values of `STORE`'s rows
LATEST = (
    "SELECT id FROM events ORDER BY rowid DESC LIMIT ?"  # who writes is alone, and a new row's number is the greatest
)
COUNT = (
    "INSERT INTO hours (device, hour, direction, label, release, accelerator, line, passes) VALUES {rows}"
    " ON CONFLICT (device, hour, direction, label, release, accelerator, line) DO UPDATE SET passes = passes + excluded.passes"
)
REGISTER = "INSERT INTO devices (first_seen, last_seen, name) VALUES {rows} ON CONFLICT (name) DO NOTHING"
TOUCH = "UPDATE devices SET last_seen = max(last_seen, ?) WHERE name IN (SELECT value FROM json_each(?))"
MERGE = (
    "INSERT INTO boots (first_seen, device, boot, stored, expected) VALUES {rows}"
    " ON CONFLICT (device, boot) DO UPDATE"
    " SET stored = stored + excluded.stored, expected = max(expected, excluded.expected)"
)


def row(
    known: str, device: str, seen: Seen, source: Source, line: str, confidence: str, sequence: int, synchronised: bool,
    fingerprint: bytes, received_at: datetime,  # noqa: ARG001 - the same for all of a statement
) -> Row:  # fmt: skip
    """The values in the order of `STORE` or `STORE_CLAIMED`; of types for which the driver looks for no adapter: not bytes, not None."""
    values = (
        known.replace("-", ""), device, *_seen(seen), *_source(source), float(confidence), sequence, int(synchronised),
        bytearray(fingerprint), line,
    )  # fmt: skip
    return values if seen.claimed is seen.at else (*values, _instant(seen.claimed))


def register_devices(connection: Connection, names: Sequence[str], at: datetime) -> None:
    """Insert those that are not there."""
    moment = _instant(at)
    _insert(connection, REGISTER, [(name,) for name in names], moment, moment)


def see_devices(connection: Connection, names: Sequence[str], at: datetime) -> None:
    """Move `last_seen`."""
    connection.exec_driver_sql(TOUCH, (_instant(at), json.dumps(names)))


def merge_boots(connection: Connection, tallies: Sequence[BootTally], at: datetime) -> None:
    """Add and raise."""
    _insert(connection, MERGE, [(one.device, one.boot.hex, one.stored, one.expected) for one in tallies], _instant(at))


def write_events(connection: Connection, passes: Sequence[Pass], at: datetime) -> tuple[int, tuple[BootTally, ...]]:
    """Insert-or-ignore and count; returns how many were new, and what they add to the boots' tallies."""
    rows: list[Row] = rows_of(passes, row, at)
    claimed = [one for one in rows if len(one) > WIDTH]
    plain = [one for one in rows if len(one) == WIDTH] if claimed else rows
    moment = _instant(at)
    stored = _insert(connection, STORE, plain, moment) + _insert(connection, STORE_CLAIMED, claimed, moment)
    if stored < len(rows):
        new = {one[0] for one in connection.exec_driver_sql(LATEST, (stored,))}
        passes = [one for one in passes if one.id.replace("-", "") in new]
    hours, boots = tally(passes)
    _insert(connection, COUNT, [(one[0], _instant(one[1]), *one[2:]) for one in hours])
    return stored, boots


def _insert(connection: Connection, statement: str, rows: Sequence[Row], *shared: str) -> int:
    """With what all rows share before each one's own; returns how many rows are new or changed."""
    changed = 0
    for some in _pieces(rows):
        sql = _with_places(statement, len(some), len(shared), len(some[0]))
        changed += connection.exec_driver_sql(sql, tuple(chain.from_iterable((shared, *some)))).rowcount
    return changed


def _pieces(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """In few sizes, so that the driver has their statements ready."""
    at = 0
    while at < len(rows):
        size = next(size for size in SIZES if size <= len(rows) - at)
        yield rows[at : at + size]
        at += size


@lru_cache(maxsize=64)
def _with_places(statement: str, rows: int, shared: int, own: int) -> str:
    row = ", ".join([f"?{number}" for number in range(1, shared + 1)] + ["?"] * own)
    return statement.format(rows=", ".join([f"({row})"] * rows))


@lru_cache(maxsize=20_000)
def _seen(seen: Seen) -> Row:
    return _instant(seen.at), seen.direction, seen.label


@lru_cache(maxsize=20_000)
def _source(source: Source) -> Row:
    return source.release, source.accelerator, source.boot.replace("-", "")


@lru_cache(maxsize=10_000)
def _instant(value: datetime) -> str:
    """As the schema's `Instant` keeps it."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
