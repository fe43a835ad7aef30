"""The statements about what comes to an end: each server tells of what it holds, and whoever watches alerts reads all of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from cloud.fleet.alerts import Kind
from cloud.store.schema_duties import endings

# A server that is gone needs no certificate. Signatures end whether anybody speaks of them or not.
TOLD_WITHIN = timedelta(minutes=15)
KEPT = timedelta(days=30)


def tell(connection: Connection, kind: Kind, ends: Mapping[str, datetime], now: datetime) -> None:
    """Keep when each of these ends."""
    rows = [{"kind": kind.value, "subject": one, "ends_at": ends[one], "told_at": now} for one in sorted(ends)]
    if rows:
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(endings)
        values = {"ends_at": insert.excluded.ends_at, "told_at": insert.excluded.told_at}
        connection.execute(insert.on_conflict_do_update(index_elements=["kind", "subject"], set_=values), rows)


def read(connection: Connection, now: datetime) -> list[tuple[Kind, str, datetime]]:
    """What was told lately, and every signature."""
    lasting = endings.c.kind == Kind.SIGNATURES_ENDING.value
    wanted = (endings.c.told_at >= now - TOLD_WITHIN) | lasting
    rows = connection.execute(select(endings).where(wanted).order_by(endings.c.kind, endings.c.subject)).mappings()
    return [(Kind(row["kind"]), row["subject"], row["ends_at"]) for row in rows if row["kind"] in set(Kind)]


def tidy(connection: Connection, now: datetime) -> None:
    """Forget what nobody has told of for long."""
    connection.execute(delete(endings).where(endings.c.told_at < now - KEPT))
