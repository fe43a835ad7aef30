"""The statements about duties: taken, kept and lost by one comparison each, so that a duty has one holder at a time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store.schema_duties import duties

IDLE_S = 10  # whoever stands still in the middle of a transaction is hung up on after so long, and its locks are free


@dataclass(frozen=True, slots=True)
class DutyRow:
    """A duty as the database has it."""

    duty: str
    holder: str  # empty: nobody
    term: int
    beats: int
    since: datetime  # by the holder's clock, as the next one
    beat_at: datetime


def read(connection: Connection) -> tuple[DutyRow, ...]:
    """All duties that anybody ever had, by name."""
    return tuple(DutyRow(**row) for row in connection.execute(select(duties).order_by(duties.c.duty)).mappings())


def take(connection: Connection, duty: str, holder: str, seen: DutyRow | None, now: datetime) -> int | None:
    """Take it from whoever `seen` names, or as the first; returns the term.

    None where another was quicker, the holder has given a sign of life since, or is in the middle of writing.
    """
    if seen is None:
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(duties)
        row = {"duty": duty, "holder": holder, "term": 1, "beats": 0, "since": now, "beat_at": now}
        first = connection.execute(insert.values(**row).on_conflict_do_nothing().returning(duties.c.term))
        return first.scalar_one_or_none()
    _be_brief(connection)
    unmoved = (duties.c.duty == duty) & (duties.c.term == seen.term) & (duties.c.beats == seen.beats)
    free = select(duties.c.duty).where(unmoved).with_for_update(skip_locked=True)
    if connection.execute(free).first() is None:
        return None
    values = {"holder": holder, "term": seen.term + 1, "beats": 0, "since": now, "beat_at": now}
    taken = connection.execute(update(duties).where(unmoved).values(**values)).rowcount
    return seen.term + 1 if taken else None


def beat(connection: Connection, duty: str, holder: str, term: int, now: datetime) -> bool:
    """A sign of life; False where the duty is another's by now."""
    _be_brief(connection)
    values = {"beats": duties.c.beats + 1, "beat_at": now}
    return bool(connection.execute(update(duties).where(_held(duty, holder, term)).values(**values)).rowcount)


def hold(connection: Connection, duty: str, holder: str, term: int) -> bool:
    """Whether it is still this holder's; if so, nobody else takes it before this transaction ends."""
    mine = _held(duty, holder, term)
    if connection.dialect.name == "sqlite":  # whoever writes has the database to itself
        return bool(connection.execute(update(duties).where(mine).values(beats=duties.c.beats + 1)).rowcount)
    _be_brief(connection)
    # The weakest lock that keeps `take` out lets `beat` through.
    query = select(duties.c.duty).where(mine).with_for_update(read=True, key_share=True)
    return connection.execute(query).first() is not None


def give_up(connection: Connection, duty: str, holder: str, term: int) -> None:
    """Let the next one have it at once."""
    values: dict[str, Any] = {"holder": "", "beats": duties.c.beats + 1}
    connection.execute(update(duties).where(_held(duty, holder, term)).values(**values))


def _be_brief(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_S}s'"))


def _held(duty: str, holder: str, term: int) -> ColumnElement[bool]:
    return (duties.c.duty == duty) & (duties.c.holder == holder) & (duties.c.term == term)
