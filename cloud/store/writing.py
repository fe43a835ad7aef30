"""The statements that write: insert-or-ignore by primary key, and counts of what was really new."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Table, case, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store.schema import boots, changes, consumers, crops, devices, events, hours, quarantine

Row = dict[str, Any]
LOOKUP = 500  # ids in one query


@dataclass(frozen=True, slots=True)
class Written:
    """Which of the offered ids are new, and which were there with another body."""

    new: frozenset[UUID]
    conflicts: frozenset[UUID]


def touch_devices(connection: Connection, names: Iterable[str], at: datetime) -> None:
    """Register devices at their first message; move `last_seen` of the others."""
    insert = _insert(connection, devices)
    statement = insert.on_conflict_do_update(
        index_elements=[devices.c.name], set_={"last_seen": _greater(devices.c.last_seen, insert.excluded.last_seen)}
    )
    _execute(connection, statement, [{"name": name, "first_seen": at, "last_seen": at} for name in sorted(set(names))])


def write_events(connection: Connection, rows: Sequence[Row]) -> Written:
    """Store passes; feeds the hour counts and the boots' tallies with those that were new, in the same transaction."""
    written = _write_once(connection, events, rows)
    fresh = [row for row in rows if row["id"] in written.new]
    keys = [column.name for column in hours.primary_key]
    tally = Counter(
        tuple(row["at"].replace(minute=0, second=0, microsecond=0) if key == "hour" else row[key] for key in keys)
        for row in fresh
    )
    _add(connection, hours, [dict(zip(keys, key, strict=True), passes=number) for key, number in sorted(tally.items())])
    _tally_boots(connection, fresh)
    return written


def write_crops(connection: Connection, rows: Sequence[Row]) -> Written:
    """Store crops' rows; their pictures must already be among the blobs."""
    return _write_once(connection, crops, rows)


def write_heartbeat(connection: Connection, device: str, row: Row) -> None:
    """Replace what is known of a device's health."""
    connection.execute(update(devices).where(devices.c.name == device).values(**row))


def write_last_will(connection: Connection, device: str, boot: UUID) -> None:
    """The broker says the device is gone; a will of an earlier boot says nothing about this one."""
    connection.execute(
        update(devices)
        .where(devices.c.name == device, (devices.c.boot == boot) | devices.c.boot.is_(None))
        .values(state="offline", boot=boot)
    )


def expect_passes(connection: Connection, device: str, boot: UUID, passes: int, at: datetime) -> None:
    """The device says how many passes it counted in this boot."""
    row = {"device": device, "boot": boot, "stored": 0, "expected": passes, "first_seen": at}
    _merge_boots(connection, [row])


def write_quarantine(connection: Connection, rows: Iterable[Row]) -> None:
    """Keep what broke the contract; the same message again only adds to `deliveries`."""
    insert = _insert(connection, quarantine)
    statement = insert.on_conflict_do_update(
        index_elements=[quarantine.c.digest],
        set_={
            "deliveries": quarantine.c.deliveries + insert.excluded.deliveries,
            "last_received_at": insert.excluded.last_received_at,
        },
    )
    merged: dict[bytes, Row] = {}
    for row in rows:
        known = merged.setdefault(row["digest"], dict(row, deliveries=0))
        known["deliveries"] += row["deliveries"]
    _execute(connection, statement, [merged[key] for key in sorted(merged)])


def write_consumer(connection: Connection, name: str, *, connected: bool, since: datetime, alive_at: datetime) -> None:
    """A consumer's sign of life."""
    insert = _insert(connection, consumers)
    values = {"connected": connected, "since": since, "alive_at": alive_at}
    statement = insert.on_conflict_do_update(index_elements=[consumers.c.name], set_=values)
    connection.execute(statement, [{"name": name, **values}])


def mark_change(connection: Connection) -> None:
    """Tell whoever watches that this transaction changed something; the last statement, so that its lock is short."""
    connection.execute(update(changes).values(number=changes.c.number + 1))


def _write_once(connection: Connection, table: Table, rows: Sequence[Row]) -> Written:
    """Insert-or-ignore by id; the place for COPY on PostgreSQL. Rows must have distinct ids."""
    if not rows:
        return Written(frozenset(), frozenset())
    statement = _insert(connection, table).on_conflict_do_nothing(index_elements=[table.c.id]).returning(table.c.id)
    ordered = sorted(rows, key=lambda row: row["id"])  # one order for all writers: no deadlocks
    new = frozenset(connection.execute(statement, ordered).scalars())
    known = {row["id"]: row["fingerprint"] for row in ordered if row["id"] not in new}
    return Written(new, _conflicts(connection, table, known))


def _conflicts(connection: Connection, table: Table, offered: dict[UUID, bytes]) -> frozenset[UUID]:
    ids, found = list(offered), set()
    for start in range(0, len(ids), LOOKUP):
        query = select(table.c.id, table.c.fingerprint).where(table.c.id.in_(ids[start : start + LOOKUP]))
        found |= {one for one, fingerprint in connection.execute(query) if fingerprint != offered[one]}
    return frozenset(found)


def _tally_boots(connection: Connection, fresh: Collection[Row]) -> None:
    tally: dict[tuple[str, UUID], Row] = {}
    for row in fresh:
        key = (row["device"], row["boot"])
        known = tally.setdefault(
            key, {"device": key[0], "boot": key[1], "stored": 0, "expected": 0, "first_seen": row["received_at"]}
        )
        known["stored"] += 1
        known["expected"] = max(known["expected"], row["sequence"] + 1)
    _merge_boots(connection, [tally[key] for key in sorted(tally)])


def _merge_boots(connection: Connection, rows: Sequence[Row]) -> None:
    insert = _insert(connection, boots)
    statement = insert.on_conflict_do_update(
        index_elements=[boots.c.device, boots.c.boot],
        set_={
            "stored": boots.c.stored + insert.excluded.stored,
            "expected": _greater(boots.c.expected, insert.excluded.expected),
        },
    )
    _execute(connection, statement, rows)


def _add(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    insert = _insert(connection, table)
    statement = insert.on_conflict_do_update(
        index_elements=list(table.primary_key), set_={"passes": table.c.passes + insert.excluded.passes}
    )
    _execute(connection, statement, rows)


def _insert(connection: Connection, table: Table) -> Any:
    """The dialect's INSERT, both of which spell ON CONFLICT the same way."""
    makers: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return makers[connection.dialect.name](table)


def _execute(connection: Connection, statement: Any, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(statement, rows)


def _greater(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((other > one, other), else_=one)
