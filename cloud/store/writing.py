"""The statements that write: insert-or-ignore by primary key, and counts of what was really new."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Table, bindparam, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store import copying, tuples
from cloud.store.arrivals import BootTally, MakeRow, Pass
from cloud.store.schema import consumers, crops, devices, events, quarantine

Row = dict[str, Any]
LOOKUP = 500  # ids in one query
MARK = text("UPDATE changes SET number = number + 1")


@dataclass(frozen=True, slots=True)
class Written:
    """What is stored under the offered ids that were there with another body, and what the new ones add to the tallies."""

    conflicts: Mapping[UUID, bytes]  # fingerprints
    boots: tuple[BootTally, ...] = ()


def row_maker(engine: Engine) -> MakeRow:
    """How this database's rows of passes are made ahead."""
    return tuples.row if engine.dialect.name == "sqlite" else copying.row


def register_devices(connection: Connection, names: Sequence[str], at: datetime) -> None:
    """Make rows for devices at their first message; `names` in order. Those that are there are not even locked."""
    if names:
        dialect(connection).register_devices(connection, names, at)


def see_devices(connection: Connection, names: Sequence[str], at: datetime) -> None:
    """Move `last_seen` of rows that are there; `names` in order."""
    if names:
        dialect(connection).see_devices(connection, names, at)


def touch_devices(connection: Connection, names: Iterable[str], at: datetime) -> None:
    """Both: register devices at their first message, move `last_seen` of the others."""
    ordered = sorted(set(names))
    register_devices(connection, ordered, at)
    see_devices(connection, ordered, at)


def write_events(connection: Connection, passes: Sequence[Pass], at: datetime) -> Written:
    """Store passes of distinct ids that came `at`; feeds the hour counts with those that were new, in the same transaction.

    The boots' tallies are returned: heartbeats speak of the same rows, which every writer must touch in one order.
    """
    if not passes:
        return Written({})
    new, tallies = dialect(connection).write_events(connection, passes, at)
    if new == len(passes):
        return Written({}, tallies)
    offered = {UUID(one.id): one.fingerprint for one in passes}
    return Written(_conflicts(connection, events, offered), tallies)


def merge_boots(connection: Connection, tallies: Iterable[BootTally], at: datetime) -> None:
    """Add what was stored of each boot, and raise what is expected of it."""
    merged: dict[tuple[str, UUID], BootTally] = {}
    for one in tallies:
        known = merged.get((one.device, one.boot), BootTally(one.device, one.boot, 0, 0))
        most = max(known.expected, one.expected)
        merged[one.device, one.boot] = BootTally(one.device, one.boot, known.stored + one.stored, most)
    if merged:
        dialect(connection).merge_boots(connection, [merged[key] for key in sorted(merged)], at)


def write_crops(connection: Connection, rows: Sequence[Row]) -> Mapping[UUID, bytes]:
    """Store crops' rows; their pictures must already be among the blobs. Returns what is stored under ids with another body."""
    return _write_once(connection, crops, rows)


def lock_devices(connection: Connection, names: Sequence[str]) -> None:
    """Hold these rows, `names` in order, so that they may be changed in any order; SQLite has one writer anyway."""
    if names and connection.dialect.name == "postgresql":
        copying.lock_devices(connection, names)


def write_heartbeats(connection: Connection, rows: Mapping[str, Row]) -> None:
    """Replace what is known of devices' health; every row has the same columns."""
    if not rows:
        return
    names = next(iter(rows.values()))
    statement = (
        update(devices)
        .where(devices.c.name == bindparam("device"))
        .values({name: bindparam(f"new_{name}") for name in names})
    )
    connection.execute(
        statement,
        [{"device": device, **{f"new_{name}": row[name] for name in row}} for device, row in sorted(rows.items())],
    )


def write_last_will(connection: Connection, device: str, boot: UUID) -> None:
    """The broker says the device is gone; a will of an earlier boot says nothing about this one."""
    connection.execute(
        update(devices)
        .where(devices.c.name == device, (devices.c.boot == boot) | devices.c.boot.is_(None))
        .values(state="offline", boot=boot)
    )


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
    connection.execute(MARK)


def dialect(connection: Connection) -> Any:
    """The database's own, faster statements."""
    return tuples if connection.dialect.name == "sqlite" else copying


def _write_once(connection: Connection, table: Table, rows: Sequence[Row]) -> Mapping[UUID, bytes]:
    """Insert-or-ignore by id; returns what is stored under ids with another body. Rows must have distinct ids."""
    if not rows:
        return {}
    statement = _insert(connection, table).on_conflict_do_nothing(index_elements=[table.c.id]).returning(table.c.id)
    ordered = sorted(rows, key=lambda row: row["id"])  # one order for all writers: no deadlocks
    new = frozenset(connection.execute(statement, ordered).scalars())
    return _conflicts(connection, table, {row["id"]: row["fingerprint"] for row in ordered if row["id"] not in new})


def _conflicts(connection: Connection, table: Table, offered: dict[UUID, bytes]) -> dict[UUID, bytes]:
    ids, found = list(offered), dict[UUID, bytes]()
    for start in range(0, len(ids), LOOKUP):
        query = select(table.c.id, table.c.fingerprint).where(table.c.id.in_(ids[start : start + LOOKUP]))
        found |= {one: fingerprint for one, fingerprint in connection.execute(query) if fingerprint != offered[one]}
    return found


def _insert(connection: Connection, table: Table) -> Any:
    """The dialect's INSERT, both of which spell ON CONFLICT the same way."""
    makers: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return makers[connection.dialect.name](table)


def _execute(connection: Connection, statement: Any, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(statement, rows)
