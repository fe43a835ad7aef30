"""PostgreSQL keeps events in one table a month, by the clock bits of their ids: made ahead by whoever consumes, dropped when old."""

import logging
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from cloud.store.database import reason
from cloud.store.schema import events

log = logging.getLogger("cloud.partitions")

AHEAD = 3  # months
EVERY_S = 6 * 3600.0
AGAIN_S = 60.0  # after a failure
DEFAULT = "events_default"  # ids whose clock is of no month we expect
WAIT = "SET LOCAL lock_timeout = '10s'"  # whoever waits for a lock on all events holds up those who come after
OLD = "at < :before AND received_at < :before"
COLUMNS = ", ".join(events.columns.keys())


class PartitionMaker:
    """Makes the coming months' tables, in a thread of its own; on SQLite there is nothing to do."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._done = engine, threading.Event()

    def run(self) -> None:
        """At once and then again and again until `stop`; a database that does not answer is asked again."""
        wait_s = 0.0
        while not self._done.wait(wait_s):
            wait_s = EVERY_S
            try:
                make_coming_months(self._engine, datetime.now(UTC))
            except SQLAlchemyError as error:
                log.warning("cannot make the coming months' tables (%s); trying again", reason(error))
                wait_s = AGAIN_S

    def stop(self) -> None:
        """Safe in any thread."""
        self._done.set()


def make_coming_months(engine: Engine, now: datetime) -> list[str]:
    """Tables for this month and the next ones; returns the names of those that are new. Raises SQLAlchemyError.

    Rows of such a month that already lie in the default table (a door's clock was ahead) move over in the same
    transaction.
    """
    if engine.dialect.name != "postgresql":
        return []
    with engine.begin() as connection:
        missing = set(_coming(now)) - set(known_months(connection))
    made = []
    for month in sorted(missing):
        with engine.begin() as connection:  # one at a time: writers wait for each only briefly
            # the lock keeps writers out of the default table, and a second housekeeper out of here
            connection.execute(text("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE"))
            if month not in set(known_months(connection)):
                make_month(connection, month)
                made.append(table_name(month))
    if made:
        log.info("made %s", ", ".join(made))
    return made


def make_month(connection: Connection, month: datetime) -> None:
    """The table of one month, with what the default table has of it. The caller holds the lock."""
    name, lower, upper = table_name(month), first_id(month), first_id(next_month(month))
    connection.execute(text(f"CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS)"))
    connection.execute(
        text(
            f"WITH moved AS (DELETE FROM {DEFAULT} WHERE id >= :lower AND id < :upper RETURNING *)"  # noqa: S608 - our names
            f" INSERT INTO {name} SELECT * FROM moved"
        ),
        {"lower": lower, "upper": upper},
    )
    connection.execute(text(f"ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('{lower}') TO ('{upper}')"))


def drop_old_month(connection: Connection, before: datetime) -> int:
    """Drop months of which every moment is before `before`, up to the first that holds a pass; returns how many went.

    A pass in there that came later, or that we dated later, moves to the default table: what goes is what deleting row by
    row would take. Raises SQLAlchemyError, also where a lock cannot be had within 10 s; nothing is changed then.
    """
    for month in sorted(known_months(connection)):
        if next_month(month) > before:
            return 0
        if gone := _drop(connection, table_name(month), before):
            return gone
    return 0


def delete_old_strays(connection: Connection, before: datetime, limit: int) -> int:
    """Of the default table, at most `limit` passes from before `before`; returns how many went."""
    some = f"SELECT id FROM {DEFAULT} WHERE {OLD} LIMIT :limit"  # noqa: S608 - our names
    query = text(f"DELETE FROM {DEFAULT} WHERE id IN ({some})")  # noqa: S608 - our names
    return int(connection.execute(query, {"before": before, "limit": limit}).rowcount)


def known_months(connection: Connection) -> Iterator[datetime]:
    """The months that have a table, oldest first."""
    query = text("SELECT relid::text FROM pg_partition_tree('events') WHERE isleaf ORDER BY 1")
    for name in connection.execute(query).scalars():
        year, _, month = name.removeprefix("events_").partition("_")
        if year.isdigit() and month.isdigit():
            yield datetime(int(year), int(month), 1, tzinfo=UTC)


def table_name(month: datetime) -> str:
    """`events_2027_01`."""
    return f"events_{month.year:04d}_{month.month:02d}"


def first_id(moment: datetime) -> UUID:
    """The least id whose 48 clock bits are not before `moment`."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def next_month(month: datetime) -> datetime:
    """The first of the month after it."""
    return datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)


def months_from(first: datetime, number: int) -> Iterable[datetime]:
    """So many months, the first that of `first`."""
    month = datetime(first.year, first.month, 1, tzinfo=UTC)
    for _ in range(number):
        yield month
        month = next_month(month)


def _drop(connection: Connection, name: str, before: datetime) -> int:
    connection.execute(text(WAIT))
    # what is late for this month waits while all of it is read; other months' passes come and go
    connection.execute(text(f"LOCK TABLE {name} IN SHARE MODE"))
    counted = text(f"SELECT count(*), count(*) FILTER (WHERE NOT ({OLD})) FROM {name}")  # noqa: S608 - our names
    number, young = connection.execute(counted, {"before": before}).one()
    connection.execute(text(f"ALTER TABLE events DETACH PARTITION {name}"))
    if young:
        moved = f"INSERT INTO events ({COLUMNS}) SELECT {COLUMNS} FROM {name} WHERE NOT ({OLD})"  # noqa: S608 - our names
        connection.execute(text(moved), {"before": before})
    connection.execute(text(f"DROP TABLE {name}"))
    log.info("dropped %s: %d passes, %d younger ones kept", name, number - young, young)
    return int(number - young)


def _coming(now: datetime) -> Iterable[datetime]:
    return months_from(now.astimezone(UTC), 1 + AHEAD)
