"""The statements about alerts and the messages about them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, and_, delete, func, select, update

from cloud.fleet.alerts import Change, Key, Kind, OpenAlert, What
from cloud.store.schema_doors import alert_messages, alerts

KEPT = timedelta(days=400)  # closed alerts
MESSAGES_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert with what became of its messages."""

    id: UUID
    kind: Kind
    subject: str
    door: str | None
    reason: str
    opened_at: datetime
    closed_at: datetime | None
    sent: int
    waiting: int
    failed: int
    error: str  # of a message that waits or was given up


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that was not yet sent."""

    id: UUID
    channel: str
    target: str
    body: dict[str, Any]
    made_at: datetime
    next_at: datetime
    tries: int


def read_open(connection: Connection) -> dict[Key, OpenAlert]:
    """All open alerts."""
    rows = connection.execute(select(alerts).where(alerts.c.open.is_(True))).mappings()
    return {
        (Kind(row["kind"]), row["subject"]): OpenAlert(row["opened_at"], row["reminded_at"], row["reason"])
        for row in rows
        if row["kind"] in Kind.__members__.values()
    }


def count_open(connection: Connection) -> int:
    """How many are open."""
    return int(connection.execute(select(func.count()).select_from(alerts).where(alerts.c.open.is_(True))).scalar_one())


def count_open_by_kind(connection: Connection) -> dict[str, int]:
    """How many of each kind are open; every kind is there."""
    query = select(alerts.c.kind, func.count()).where(alerts.c.open.is_(True)).group_by(alerts.c.kind)
    found = {row[0]: int(row[1]) for row in connection.execute(query)}
    return {kind.value: found.get(kind.value, 0) for kind in Kind}


def write_change(connection: Connection, change: Change, new_id: UUID, now: datetime) -> UUID:
    """Open an alert as `new_id`, note that it was repeated, or close it; returns which it was."""
    one = change.finding
    its = and_(alerts.c.kind == one.kind.value, alerts.c.subject == one.subject, alerts.c.open.is_(True))
    if change.what is What.OPENED:
        row = {"kind": one.kind.value, "subject": one.subject, "door": one.door, "reason": one.reason}
        connection.execute(alerts.insert().values(id=new_id, open=True, opened_at=now, reminded_at=now, **row))
        return new_id
    values: dict[str, Any] = {"open": None, "closed_at": now}
    if change.what is What.REMINDER:
        values = {"reminded_at": now, "reason": one.reason}
    known: UUID = connection.execute(select(alerts.c.id).where(its)).scalar_one()
    connection.execute(update(alerts).where(alerts.c.id == known).values(**values))
    return known


def opened_at(connection: Connection, alert: UUID) -> datetime:
    """When it began."""
    at: datetime = connection.execute(select(alerts.c.opened_at).where(alerts.c.id == alert)).scalar_one()
    return at


def read_alerts(connection: Connection, limit: int) -> tuple[AlertRow, ...]:
    """The open ones first, then the last that closed."""
    waits = alert_messages.c.next_at.is_not(None)
    failed = and_(alert_messages.c.next_at.is_(None), alert_messages.c.sent_at.is_(None))
    tally = (
        select(
            alert_messages.c.alert,
            func.count(alert_messages.c.sent_at).label("sent"),
            func.count().filter(waits).label("waiting"),
            func.count().filter(failed).label("failed"),
            func.max(alert_messages.c.error).filter(alert_messages.c.sent_at.is_(None)).label("error"),
        )
        .group_by(alert_messages.c.alert)
        .subquery()
    )
    query = (
        select(alerts, *[tally.c[name] for name in ("sent", "waiting", "failed", "error")])
        .outerjoin(tally, tally.c.alert == alerts.c.id)
        .where(alerts.c.kind.in_([kind.value for kind in Kind]))  # a newer version may have left others
        .order_by(alerts.c.open.is_(None), alerts.c.closed_at.desc(), alerts.c.opened_at.desc())
        .limit(limit)
    )
    return tuple(
        AlertRow(
            row["id"], Kind(row["kind"]), row["subject"], row["door"], row["reason"], row["opened_at"], row["closed_at"],
            row["sent"] or 0, row["waiting"] or 0, row["failed"] or 0, row["error"] or "",
        )
        for row in connection.execute(query).mappings()
    )  # fmt: skip


def queue(connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Messages to be sent: rows of id, alert, channel, target, body, made_at, next_at."""
    if found := list(rows):
        connection.execute(alert_messages.insert(), found)


def any_due(connection: Connection, now: datetime) -> bool:
    """Whether a message's time has come."""
    first = connection.execute(select(func.min(alert_messages.c.next_at))).scalar_one()
    return first is not None and first <= now


def read_next(connection: Connection) -> tuple[Pending, ...]:
    """The oldest unsent message of each target, whether due or not: they keep their order."""
    query = select(alert_messages).where(alert_messages.c.next_at.is_not(None))
    first: dict[tuple[str, str], Pending] = {}
    for row in connection.execute(query.order_by(alert_messages.c.made_at, alert_messages.c.id)).mappings():
        place = (row["channel"], row["target"])
        first.setdefault(place, Pending(row["id"], *place, row["body"], row["made_at"], row["next_at"], row["tries"]))
    return tuple(first.values())


def is_waiting(connection: Connection, message: UUID) -> bool:
    """Whether it is still to be sent."""
    waits = select(alert_messages.c.id).where(alert_messages.c.id == message, alert_messages.c.next_at.is_not(None))
    return connection.execute(waits).first() is not None


def mark_sent(connection: Connection, message: UUID, now: datetime) -> None:
    """It arrived."""
    values = {"sent_at": now, "next_at": None, "error": "", "tries": alert_messages.c.tries + 1}
    connection.execute(update(alert_messages).where(alert_messages.c.id == message).values(**values))


def mark_failed(connection: Connection, message: UUID, error: str, next_at: datetime | None) -> None:
    """It did not, unless it did by another's hand meanwhile; None as the next time gives it up."""
    values = {"error": error[:300], "next_at": next_at, "tries": alert_messages.c.tries + 1}
    unsent = (alert_messages.c.id == message) & alert_messages.c.sent_at.is_(None)
    connection.execute(update(alert_messages).where(unsent).values(**values))


def tidy(connection: Connection, now: datetime) -> None:
    """Forget old messages and old closed alerts."""
    old = (alert_messages.c.made_at < now - MESSAGES_KEPT) & alert_messages.c.next_at.is_(None)
    connection.execute(delete(alert_messages).where(old))
    gone = alerts.c.closed_at < now - KEPT
    still = select(alert_messages.c.alert)
    connection.execute(delete(alerts).where(gone, alerts.c.id.not_in(still)))
