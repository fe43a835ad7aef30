"""The busiest statements for PostgreSQL: COPY into a temporary table, then one INSERT; everything in the order of its key."""

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from cloud.store.arrivals import BootTally, Pass, Seen, Source, rows_of, tally

COLUMNS = (
    "id, confidence, sequence, clock_synchronised, fingerprint, device, line, release, accelerator, boot, at, claimed_at,"
    " direction, label, received_at"
)
HOUR = "device, hour, direction, label, release, accelerator, line"

# COPY's binary format: its parsing costs the server a third less than the text's
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
OWN = struct.Struct("!hi16sidiqi?i16s")  # how many columns, then each one's length and value: id to fingerprint
NULL = struct.pack("!i", -1)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

INCOMING = "CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE events INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
COPY = f"COPY pg_temp.incoming ({COLUMNS}) FROM STDIN (FORMAT binary)"
COPY_NEW = f"COPY events ({COLUMNS}) FROM STDIN (FORMAT binary)"
COUNT = text(
    f"""
    INSERT INTO hours ({HOUR}, passes)
    SELECT {HOUR}, passes
    FROM unnest(
        CAST(:devices AS text[]), CAST(:hours AS timestamptz[]), CAST(:directions AS text[]), CAST(:labels AS text[]),
        CAST(:releases AS bigint[]), CAST(:accelerators AS text[]), CAST(:lines AS text[]), CAST(:passes AS bigint[])
    )
    WITH ORDINALITY AS given ({HOUR}, passes, place) ORDER BY place
    ON CONFLICT ({HOUR}) DO UPDATE SET passes = hours.passes + excluded.passes
    """  # noqa: S608 - constants of this file
)
COUNTED = ("devices", "hours", "directions", "labels", "releases", "accelerators", "lines", "passes")
STORE = text(
    f"""
    WITH new AS (
        INSERT INTO events ({COLUMNS}) SELECT {COLUMNS} FROM pg_temp.incoming ORDER BY id
        ON CONFLICT (id) DO NOTHING
        RETURNING device, at, direction, label, release, accelerator, line, boot, sequence
    ), counted AS (
        INSERT INTO hours ({HOUR}, passes)
        SELECT device, date_trunc('hour', at, 'UTC'), direction, label, release, accelerator, line, count(*)
        FROM new GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
        ON CONFLICT ({HOUR}) DO UPDATE SET passes = hours.passes + excluded.passes
    )
    SELECT device, boot, count(*), max(sequence) + 1 FROM new GROUP BY 1, 2
    """  # noqa: S608 - constants of this file
)
REGISTER = text(
    """
    INSERT INTO devices (name, first_seen, last_seen)
    SELECT name, :at, :at FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS given (name, place) ORDER BY place
    ON CONFLICT (name) DO NOTHING
    """
)
LOCK = text("SELECT name FROM devices WHERE name = ANY (CAST(:names AS text[])) ORDER BY name FOR NO KEY UPDATE")
TOUCH = text("UPDATE devices SET last_seen = greatest(last_seen, :at) WHERE name = ANY (CAST(:names AS text[]))")
MERGE = text(
    """
    INSERT INTO boots (device, boot, stored, expected, first_seen)
    SELECT device, boot, stored, expected, :at
    FROM unnest(CAST(:devices AS text[]), CAST(:boots AS uuid[]), CAST(:stored AS bigint[]), CAST(:expected AS bigint[]))
    WITH ORDINALITY AS given (device, boot, stored, expected, place) ORDER BY place
    ON CONFLICT (device, boot) DO UPDATE
    SET stored = boots.stored + excluded.stored, expected = greatest(boots.expected, excluded.expected)
    """
)


def register_devices(connection: Connection, names: Sequence[str], at: datetime) -> None:
    """Insert those that are not there."""
    connection.execute(REGISTER, {"names": _array(names), "at": at})


def lock_devices(connection: Connection, names: Sequence[str]) -> None:
    """Hold these rows, in this order."""
    connection.execute(LOCK, {"names": _array(names)})


def see_devices(connection: Connection, names: Sequence[str], at: datetime) -> None:
    """Move `last_seen` of rows that this transaction holds already."""
    connection.execute(TOUCH, {"names": _array(names), "at": at})


def merge_boots(connection: Connection, tallies: Sequence[BootTally], at: datetime) -> None:
    """Add and raise; `tallies` in order."""
    devices, boots, stored, expected = map(_array, zip(*tallies, strict=True))
    connection.execute(MERGE, {"devices": devices, "boots": boots, "stored": stored, "expected": expected, "at": at})


def write_events(connection: Connection, passes: Sequence[Pass], at: datetime) -> tuple[int, tuple[BootTally, ...]]:
    """Insert-or-ignore and count; returns how many were new, and what they add to the boots' tallies.

    As a rule all of them are new: then COPY puts them into the table itself, at less than half the cost.
    """
    rows: list[bytes] = rows_of(passes, row, at)
    data = b"".join((HEADER, *rows, TRAILER))
    if _of_one_month(rows[0], rows[-1]) and _all_new(connection, data):
        hours, boots = tally(passes)
        connection.execute(COUNT, dict(zip(COUNTED, map(_array, zip(*hours, strict=True)), strict=True)))
        return len(passes), boots
    connection.exec_driver_sql(INCOMING)
    _copy(connection, COPY, data)
    tallies = tuple(BootTally(*one) for one in connection.execute(STORE))
    return sum(one.stored for one in tallies), tallies


def row(
    known: str, device: str, seen: Seen, source: Source, line: str, confidence: str, sequence: int, synchronised: bool,
    fingerprint: bytes, received_at: datetime,
) -> bytes:  # fmt: skip
    """In COPY's binary format; the id comes first, so that rows sort by it. Raises OverflowError where a number has no room."""
    try:
        own = OWN.pack(
            15, 16, bytes.fromhex(known.replace("-", "")), 8, float(confidence), 8, sequence, 1, synchronised, 16, fingerprint
        )  # fmt: skip
        return own + _owner(device, line, source) + _seen(seen, received_at)
    except struct.error as error:
        raise OverflowError(str(error)) from error


def _of_one_month(first: bytes, last: bytes) -> bool:
    """Whether ids from the first row's to the last one's lie in one part of the table.

    COPY fills the parts one after the other, in an order of its own; two writers of the same ids might wait in a ring.
    """
    try:
        low, high = (datetime.fromtimestamp(int.from_bytes(one[6:12]) / 1000, UTC) for one in (first, last))
    except (ValueError, OverflowError, OSError):
        return False
    return (low.year, low.month) == (high.year, high.month)


def _all_new(connection: Connection, data: bytes) -> bool:
    """Store them if none is there; else store nothing."""
    attempt = connection.begin_nested()
    try:
        _copy(connection, COPY_NEW, data)
    except IntegrityError as error:
        attempt.rollback()
        if isinstance(error.orig, psycopg.errors.UniqueViolation):
            return False
        raise
    attempt.commit()
    return True


@lru_cache(maxsize=20_000)
def _owner(device: str, line: str, source: Source) -> bytes:
    release = struct.pack("!iq", 8, source.release)
    return _text(device) + _text(line) + release + _text(source.accelerator) + _value(UUID(source.boot).bytes)


@lru_cache(maxsize=20_000)
def _seen(seen: Seen, received_at: datetime) -> bytes:
    claimed = NULL if seen.claimed_at is None else _instant(seen.claimed_at)
    return _instant(seen.at) + claimed + _text(seen.direction) + _text(seen.label) + _instant(received_at)


def _instant(value: datetime) -> bytes:
    return struct.pack("!iq", 8, (value - EPOCH) // MICROSECOND)


def _text(value: str) -> bytes:
    return _value(value.encode())


def _value(value: bytes) -> bytes:
    return struct.pack("!i", len(value)) + value


def _array(values: Iterable[object]) -> str:
    """As PostgreSQL writes it; nothing in it needs escaping: names, lines and labels are of our own grammar."""
    return '{"' + '","'.join(map(str, values)) + '"}'


def _copy(connection: Connection, statement: str, data: bytes) -> None:
    """COPY within SQLAlchemy's transaction; its errors are SQLAlchemy's."""
    cursor: Any = connection.connection.cursor()
    try:
        with cursor.copy(statement) as copy:
            copy.write(data)
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error, dialect=connection.dialect) from error
    finally:
        cursor.close()
