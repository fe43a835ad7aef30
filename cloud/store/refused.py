"""The statements about quarantine for the page that shows it: filtered, in pages, and forgotten by hand."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, func, select

from cloud.store.schema import quarantine

# Rows of this kind stand for no single message: one an hour for each sender (cloud/ingest/sink.py).
FLOODING = "flooding"


@dataclass(frozen=True, slots=True)
class Refused:
    """One message that broke the contract, with the first bytes of it."""

    digest: bytes
    received_at: datetime
    last_received_at: datetime
    deliveries: int
    topic: str
    device: str | None
    kind: str
    reason: str
    things: int
    size: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Which:
    """Of which kind and door; empty is any. `until`: none that came later."""

    kind: str = ""
    door: str = ""
    digest: bytes | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Flood:
    """Messages of one door that were only counted."""

    device: str
    messages: int
    latest: datetime


def read_floods(connection: Connection, since: datetime | None = None) -> tuple[Flood, ...]:
    """Of every door that sent any, or that sent any lately; all that are kept in either case."""
    columns = (quarantine.c.device, func.sum(quarantine.c.deliveries), func.max(quarantine.c.last_received_at))
    query = select(*columns).where(quarantine.c.kind == FLOODING, quarantine.c.device.is_not(None))
    query = query.group_by(quarantine.c.device).order_by(quarantine.c.device)
    if since is not None:
        query = query.having(func.max(quarantine.c.last_received_at) >= since)
    return tuple(Flood(name, int(number), latest) for name, number, latest in connection.execute(query))


def read_refused(connection: Connection, which: Which, *, skip: int, limit: int) -> list[Refused]:
    """The newest first."""
    query = select(*(quarantine.c[name] for name in Refused.__slots__)).where(*_fits(which))
    ordered = query.order_by(quarantine.c.received_at.desc(), quarantine.c.digest).offset(skip).limit(limit)
    return [Refused(**row) for row in connection.execute(ordered).mappings()]


def count_refused(connection: Connection, which: Which) -> int:
    """How many there are."""
    return int(connection.execute(select(func.count()).select_from(quarantine).where(*_fits(which))).scalar_one())


def forget(connection: Connection, which: Which) -> int:
    """Delete them; how many they were."""
    return int(connection.execute(delete(quarantine).where(*_fits(which))).rowcount)


def _fits(which: Which) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if which.kind:
        found.append(quarantine.c.kind == which.kind)
    if which.door:
        found.append(quarantine.c.device == which.door)
    if which.digest is not None:
        found.append(quarantine.c.digest == which.digest)
    if which.until is not None:
        found.append(quarantine.c.received_at <= which.until)
    return found
