"""The statements about pictures: which rows name them, which are doomed, and the steps of a deletion that may be killed anywhere.

A picture goes in three steps, each a transaction or a repeatable act: its row is marked or deleted and its digest becomes
doomed; it is marked `deleting`, unless a row names it again; it is deleted among the blobs, and then forgotten here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Engine, delete, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store.blobs import Blobs
from cloud.store.schema import crops, doomed, labels, snapshots

CHUNK = 500  # values in one statement


class Swept(NamedTuple):
    """What one round of a sweep did."""

    gone: int  # pictures that were deleted
    more: bool  # whether there may be others that were due when it began


def known_digests(connection: Connection, digests: Collection[str]) -> frozenset[str]:
    """Those of which a row says that the picture is kept."""
    return _found(connection, crops.c.jpeg_digest, digests, crops.c.gone_at.is_(None))


def gone_ids(connection: Connection, ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of the crops `ids` whose picture has gone: they came, and had their time."""
    return _found(connection, crops.c.id, ids, crops.c.gone_at.is_not(None))


def hold(connection: Connection, digests: Collection[str]) -> frozenset[str]:
    """As `known_digests`, and no such row goes before this transaction ends."""
    found: set[str] = set()
    for some in chunks(digests):
        query = select(crops.c.jpeg_digest).where(crops.c.jpeg_digest.in_(some), crops.c.gone_at.is_(None))
        found |= set(connection.execute(query.with_for_update(read=True)).scalars())
    return frozenset(found)


def rescue(connection: Connection, digests: Collection[str]) -> frozenset[str]:
    """Take these off the list of the doomed; returns those for which it is too late: they are being deleted."""
    if not _found(connection, doomed.c.digest, digests):
        return frozenset()
    for some in chunks(digests):
        connection.execute(delete(doomed).where(doomed.c.digest.in_(some), doomed.c.deleting.is_(False)))
    return _found(connection, doomed.c.digest, digests)


def doom(connection: Connection, digests: Iterable[str], due_at: datetime) -> None:
    """Let these be deleted from `due_at` on, unless a row names them then."""
    rows = [{"digest": one, "due_at": due_at, "deleting": False} for one in sorted(set(digests))]
    if rows:
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(doomed)
        earlier = insert.on_conflict_do_update(
            index_elements=[doomed.c.digest], set_={"due_at": insert.excluded.due_at},
            where=doomed.c.due_at > insert.excluded.due_at,
        )  # fmt: skip
        connection.execute(earlier, rows)


def mark_gone(connection: Connection, wanted: ColumnElement[bool], now: datetime, limit: int) -> int:
    """Mark at most `limit` crops of which `wanted` holds as gone and doom their pictures; returns how many."""
    query = select(crops.c.id, crops.c.jpeg_digest).where(wanted, crops.c.gone_at.is_(None))
    rows = connection.execute(query.order_by(crops.c.received_at, crops.c.id).limit(limit)).all()
    for some in chunks([row.id for row in rows]):
        connection.execute(update(crops).where(crops.c.id.in_(some)).values(gone_at=now))
    doom(connection, (row.jpeg_digest for row in rows), now)
    return len(rows)


def mark_missing(connection: Connection, present: Collection[str], now: datetime) -> int:
    """Mark the crops as gone whose picture is not among `present`; returns how many."""
    missing = 0
    for some in chunks(one for one in list(digests_kept(connection)) if one not in present):
        wanted = crops.c.jpeg_digest.in_(some) & crops.c.gone_at.is_(None)
        missing += int(connection.execute(update(crops).where(wanted).values(gone_at=now)).rowcount)
    return missing


def is_labelled() -> ColumnElement[bool]:
    """Whether a crop has an answer that nobody took back."""
    undo = labels.alias()
    return exists().where(
        labels.c.crop == crops.c.id, labels.c.answer.is_not(None), ~exists().where(undo.c.undoes == labels.c.id)
    )


def sweep(engine: Engine, blobs: Blobs, now: datetime, limit: int = CHUNK) -> Swept:
    """Delete some of the doomed pictures that are due. Raises OSError: what is left is left for the next time.

    Whoever repeats it ends with the first round that was not full: everything that was due at the start has gone then. To
    go on until nothing is due could take forever, since a door may send what was erased again as fast as it is deleted.
    """
    with engine.begin() as connection:
        named = exists().where(crops.c.jpeg_digest == doomed.c.digest, crops.c.gone_at.is_(None))
        listing = exists().where(snapshots.c.digest == doomed.c.digest)
        connection.execute(delete(doomed).where(named | listing, doomed.c.deleting.is_(False)))
        ready = select(doomed.c.digest).where(doomed.c.due_at <= now).order_by(doomed.c.due_at).limit(limit)
        connection.execute(
            update(doomed).where(doomed.c.digest.in_(ready.scalar_subquery()), ~named, ~listing).values(deleting=True)
        )
        digests = list(connection.execute(select(doomed.c.digest).where(doomed.c.deleting.is_(True))).scalars())
    gone = 0
    for digest in digests:
        with engine.begin() as connection:
            # Its entry is held until the bytes are gone: whoever stalls here cannot take away what came again meanwhile.
            mine = delete(doomed).where(doomed.c.digest == digest, doomed.c.deleting.is_(True))
            if connection.execute(mine).rowcount:
                blobs.delete(digest)
                gone += 1
    return Swept(gone, more=len(digests) >= limit)


def doom_orphans(
    engine: Engine, blobs: Blobs, *, older_than: datetime, due_at: datetime, wanted: Callable[[], bool] = lambda: True
) -> int:  # fmt: skip
    """Doom what was kept before `older_than` and no row names: a crash came between picture and row. Returns how many.

    It reads a listing of everything, until `wanted` says no.
    """
    found = 0
    listed = takewhile(lambda _: wanted(), blobs.entries())
    old = (one.digest for one in listed if one.kept_at < older_than)
    for some in chunks(old):
        with engine.begin() as connection:
            named = known_digests(connection, some) | _found(connection, snapshots.c.digest, some)
            waiting = _found(connection, doomed.c.digest, some)
            doom(connection, set(some) - named - waiting, due_at)
            found += len(set(some) - named - waiting)
    return found


def kept(connection: Connection) -> tuple[int, datetime | None]:
    """How many crops have a picture here, and since when the oldest one is here."""
    query = select(func.count(), func.min(crops.c.received_at)).where(crops.c.gone_at.is_(None))
    number, oldest = connection.execute(query).one()
    return int(number), oldest


def waiting(connection: Connection) -> int:
    """Pictures on their way out."""
    return int(connection.execute(select(func.count()).select_from(doomed)).scalar_one())


def digests_kept(connection: Connection) -> Iterator[str]:
    """Every picture that a row says is kept, in order, without holding them all."""
    last = ""
    while True:
        query = select(crops.c.jpeg_digest).where(crops.c.jpeg_digest > last, crops.c.gone_at.is_(None)).distinct()
        some = list(connection.execute(query.order_by(crops.c.jpeg_digest).limit(CHUNK)).scalars())
        yield from some
        if len(some) < CHUNK:
            return
        last = some[-1]


def chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Lists of at most CHUNK."""
    some: list[Any] = []
    for value in values:
        some.append(value)
        if len(some) == CHUNK:
            yield some
            some = []
    if some:
        yield some


def _found(
    connection: Connection, column: ColumnElement[Any], values: Collection[Any], also: ColumnElement[bool] | None = None
) -> frozenset[Any]:
    found: set[Any] = set()
    for some in chunks(values):
        query = select(column).where(column.in_(some))
        found |= set(connection.execute(query if also is None else query.where(also)).scalars())
    return frozenset(found)
