"""The statements about what was erased and must not come back: spans, single crops, and the ids they do not catch."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, text, true, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store.pictures import chunks, doom
from cloud.store.schema import crops, erasures, events, hours, labels, leases, quarantine, tombstones

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to be gone: one crop, or whatever a door (or every door) saw in [start, end)."""

    id: UUID
    device: str | None
    crop: UUID | None
    start: datetime | None
    end: datetime
    events: bool  # passes and their hour counts too
    asked_at: datetime
    done_at: datetime | None = None

    def covers(self, device: str, *moments: datetime) -> bool:
        """Whether something that `device` dates at one of `moments` is in its span."""
        if self.crop is not None or self.device not in (None, device):
            return False
        return any((self.start is None or self.start <= one) and one < self.end for one in moments)


@dataclass(frozen=True, slots=True)
class Share:
    """How much of everything an erasure takes."""

    crops: int = 0
    pictures: int = 0  # of those crops, the ones whose picture is still kept
    labels: int = 0
    events: int = 0
    passes: int = 0  # in hour counts
    quarantined: int = 0


def read(connection: Connection, *, unfinished: bool = False) -> tuple[Erasure, ...]:
    """All of them, oldest first; there are few."""
    query = select(erasures).order_by(erasures.c.asked_at, erasures.c.id)
    query = query.where(erasures.c.done_at.is_(None)) if unfinished else query
    return tuple(Erasure(**row) for row in connection.execute(query).mappings())


def spans(connection: Connection) -> tuple[Erasure, ...]:
    """Those of doors; none is added before this transaction ends, so that nothing slips in between."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE erasures IN SHARE MODE"))
    return tuple(one for one in read(connection) if one.crop is None)


def adopt(connection: Connection, known: Iterable[Erasure]) -> int:
    """Write those that are not here yet, as not done; returns how many."""
    there = set(connection.execute(select(erasures.c.id)).scalars())
    rows = [{**_values(one), "done_at": None} for one in known if one.id not in there]
    if rows:
        connection.execute(erasures.insert(), rows)
    return len(rows)


def claim(connection: Connection, erasure: UUID) -> bool:
    """Whether it is still to be done; if so, nobody else does a step of it before this transaction ends."""
    mine = (erasures.c.id == erasure) & erasures.c.done_at.is_(None)
    if connection.dialect.name == "sqlite":  # whoever writes has the database to itself
        return bool(connection.execute(update(erasures).where(mine).values(done_at=None)).rowcount)
    return connection.execute(select(erasures.c.id).where(mine).with_for_update()).first() is not None


def finish(connection: Connection, erasure: UUID, now: datetime) -> None:
    """It is done."""
    connection.execute(update(erasures).where(erasures.c.id == erasure).values(done_at=now))


def buried(connection: Connection, ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of `ids` that were erased by themselves."""
    found: set[UUID] = set()
    for some in chunks(ids):
        found |= set(connection.execute(select(tombstones.c.id).where(tombstones.c.id.in_(some))).scalars())
    return frozenset(found)


def share(connection: Connection, erasure: Erasure) -> Share:
    """What is here now of an erasure's."""
    mine = crops_of(erasure)
    number, pictures = connection.execute(
        select(func.count(), func.count().filter(crops.c.gone_at.is_(None))).select_from(crops).where(mine)
    ).one()
    answers = select(func.count()).select_from(labels).where(labels.c.crop.in_(select(crops.c.id).where(mine)))
    held = select(func.count()).select_from(quarantine).where(_quarantine_of(erasure))
    passes = seen = 0
    if erasure.events:
        seen = int(connection.execute(select(func.count()).select_from(events).where(_events_of(erasure))).scalar_one())
        inside = select(func.coalesce(func.sum(hours.c.passes), 0)).where(_whole_hours(erasure))
        edge = select(func.count()).select_from(events).where(_events_of(erasure), ~_in_whole_hours(erasure))
        passes = int(connection.execute(inside).scalar_one()) + int(connection.execute(edge).scalar_one())
    return Share(
        int(number), int(pictures), int(connection.execute(answers).scalar_one()), seen, passes,
        int(connection.execute(held).scalar_one()),
    )  # fmt: skip


def erase_crops(connection: Connection, erasure: Erasure, now: datetime, limit: int) -> list[UUID]:
    """Delete at most `limit` crops with their labels, leave tombstones and doom the pictures; returns the crops' ids."""
    query = select(crops.c.id, crops.c.jpeg_digest).where(crops_of(erasure)).order_by(crops.c.id).limit(limit)
    rows = connection.execute(query.with_for_update()).all()  # a label on the way waits, and then finds no crop
    ids = [row.id for row in rows]
    if erasure.crop is not None:
        _bury(connection, [erasure.crop], now)  # also where it never came
    _bury(connection, ids, now)
    for some in chunks(ids):
        connection.execute(delete(leases).where(leases.c.crop.in_(some)))
        connection.execute(delete(labels).where(labels.c.crop.in_(some)))
        connection.execute(delete(crops).where(crops.c.id.in_(some)))
    doom(connection, (row.jpeg_digest for row in rows), now)
    return ids


def erase_events(connection: Connection, erasure: Erasure, now: datetime, limit: int) -> int:
    """Delete at most `limit` passes and their share of the hour counts, each once, whoever else does it; returns how many."""
    told = ("device", "at", "direction", "label", "release", "accelerator", "line")
    some = select(events.c.id).where(_events_of(erasure)).order_by(events.c.id).limit(limit).with_for_update()
    taken = delete(events).where(events.c.id.in_(some))
    rows = connection.execute(
        taken.returning(events.c.id, events.c.claimed_at, *(events.c[name] for name in told))
    ).all()
    tally = Counter((row.device, row.at.replace(minute=0, second=0, microsecond=0), *row[4:]) for row in rows)
    names = ("device", "hour", *told[2:])
    for key, number in sorted(tally.items()):
        same = and_(*(hours.c[name] == value for name, value in zip(names, key, strict=True)))
        connection.execute(update(hours).where(same).values(passes=hours.c.passes - number))
        connection.execute(delete(hours).where(same, hours.c.passes <= 0))
    _bury(connection, [row.id for row in rows if row.claimed_at is not None], now)
    return len(rows)


def erase_rest(connection: Connection, erasure: Erasure) -> None:
    """What no crop and no pass stands for any more: whole hours whose passes went at their term, and quarantine."""
    if erasure.events:
        connection.execute(delete(hours).where(_whole_hours(erasure)))
    connection.execute(delete(quarantine).where(_quarantine_of(erasure)))


def crops_of(erasure: Erasure) -> ColumnElement[bool]:
    """Which crops it takes."""
    return crops.c.id == erasure.crop if erasure.crop is not None else _span(erasure, crops.c.device, crops.c.at)


def _events_of(erasure: Erasure) -> ColumnElement[bool]:
    return _span(erasure, events.c.device, events.c.at)


def _quarantine_of(erasure: Erasure) -> ColumnElement[bool]:
    if erasure.crop is not None:
        return ~true()
    return _span(erasure, quarantine.c.device, quarantine.c.received_at)


def _whole_hours(erasure: Erasure) -> ColumnElement[bool]:
    return _span(erasure, hours.c.device, hours.c.hour) & (hours.c.hour <= erasure.end - HOUR)


def _in_whole_hours(erasure: Erasure) -> ColumnElement[bool]:
    """Whether a pass lies in an hour that goes whole."""
    last = erasure.end.replace(minute=0, second=0, microsecond=0)
    inside = events.c.at < last
    if erasure.start is not None:
        first = erasure.start.replace(minute=0, second=0, microsecond=0)
        inside &= events.c.at >= (first if first == erasure.start else first + HOUR)
    return inside


def _span(erasure: Erasure, device: ColumnElement[Any], at: ColumnElement[Any]) -> ColumnElement[bool]:
    wanted = at < erasure.end
    if erasure.start is not None:
        wanted &= at >= erasure.start
    return wanted if erasure.device is None else wanted & (device == erasure.device)


def _bury(connection: Connection, ids: Sequence[UUID], now: datetime) -> None:
    if ids:
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(tombstones)
        rows = [{"id": one, "at": now} for one in ids]
        connection.execute(insert.on_conflict_do_nothing(), rows)


def _values(erasure: Erasure) -> dict[str, Any]:
    return {name: getattr(erasure, name) for name in Erasure.__dataclass_fields__}
