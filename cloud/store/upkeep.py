"""The statements of the housekeeper: what has had its time goes, in small transactions, and is counted."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Engine, Table, delete, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store import partitions
from cloud.store.pictures import CHUNK, is_labelled, mark_gone
from cloud.store.schema import consumers, crops, devices, events, labels, leases, quarantine, upkeep

PASSES = 5_000  # in one transaction
Step = Callable[[Connection], int]


@dataclass(frozen=True, slots=True)
class Done:
    """What was taken away of one kind."""

    subject: str
    at: datetime
    removed: int  # in the latest turn that found something
    total: int


def pictures_gone(before: datetime, now: datetime, *, labelled: bool) -> Step:
    """Pictures that came before `before` and are labelled, or not."""
    wanted = crops.c.received_at < before
    wanted &= is_labelled() if labelled else ~is_labelled()
    return lambda connection: mark_gone(connection, wanted, now, CHUNK)


def rows_of_unlabelled(before: datetime) -> Step:
    """Crops' rows whose picture is gone and which nobody ever answered."""
    answered = exists().where(labels.c.crop == crops.c.id)
    wanted = (crops.c.received_at < before) & crops.c.gone_at.is_not(None) & ~answered

    def step(connection: Connection) -> int:
        ids = list(connection.execute(select(crops.c.id).where(wanted).limit(CHUNK)).scalars())
        connection.execute(delete(leases).where(leases.c.crop.in_(ids)))
        return int(connection.execute(delete(crops).where(crops.c.id.in_(ids))).rowcount) if ids else 0

    return step


def passes_of(before: datetime) -> Step:
    """Passes; their hour counts stay. By the later of the two times, so that nothing goes on the day it came.

    On PostgreSQL a month goes when all of it may, and only what lies in no month goes row by row.
    """
    old = (events.c.at < before) & (events.c.received_at < before)

    def step(connection: Connection) -> int:
        if connection.dialect.name == "postgresql":
            gone = partitions.drop_old_month(connection, before)
            return gone or partitions.delete_old_strays(connection, before, PASSES)
        total = 0
        for name in connection.execute(select(devices.c.name)).scalars().all():  # by door, as the index is
            some = select(events.c.id).where(events.c.device == name, old).limit(PASSES).scalar_subquery()
            total += int(connection.execute(delete(events).where(events.c.id.in_(some))).rowcount)
            if total >= PASSES:
                break
        return total

    return step


def heads_of(before: datetime) -> Step:
    """What is kept of a misfit's bytes: they may hold a picture."""
    wanted = (quarantine.c.received_at < before) & (quarantine.c.head != b"")

    def step(connection: Connection) -> int:
        some = select(quarantine.c.digest).where(wanted).limit(CHUNK).scalar_subquery()
        return int(
            connection.execute(update(quarantine).where(quarantine.c.digest.in_(some)).values(head=b"")).rowcount
        )

    return step


def misfits_of(before: datetime) -> Step:
    """Misfits that were not sent again since."""
    return _rows(quarantine, quarantine.c.digest, quarantine.c.last_received_at < before)


def consumers_of(before: datetime) -> Step:
    """Consumers that are no more."""
    return _rows(consumers, consumers.c.name, consumers.c.alive_at < before)


def leases_of(now: datetime) -> Step:
    """Crops that a labeller no longer holds."""
    return _rows(leases, leases.c.crop, leases.c.until <= now)


def repeat(
    engine: Engine, step: Step, wanted: Callable[[], bool], before_each: Callable[[Connection], None] = lambda _: None
) -> int:  # fmt: skip
    """`step` in a transaction each, until nothing is left of it or `wanted` says no; returns how much went."""
    total = 0
    while wanted():
        with engine.begin() as connection:
            before_each(connection)
            number = step(connection)
        total += number
        if not number:
            break
    return total


def note(connection: Connection, subject: str, removed: int, now: datetime) -> None:
    """Keep for the pages what went."""
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(upkeep)
    more = insert.on_conflict_do_update(
        index_elements=[upkeep.c.subject], set_={"at": now, "removed": removed, "total": upkeep.c.total + removed}
    )
    connection.execute(more, [{"subject": subject, "at": now, "removed": removed, "total": removed}])


def read(connection: Connection) -> tuple[Done, ...]:
    """All that was noted, by subject."""
    return tuple(Done(**row) for row in connection.execute(select(upkeep).order_by(upkeep.c.subject)).mappings())


def _rows(table: Table, key: ColumnElement[object], wanted: ColumnElement[bool]) -> Step:
    def step(connection: Connection) -> int:
        some = select(key).where(wanted).limit(CHUNK).scalar_subquery()
        return int(connection.execute(delete(table).where(key.in_(some))).rowcount)

    return step
