"""Alerts for people and programs: what is wrong now, what was, and whether anybody was told."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import Engine

from cloud.fleet.alerts import RULES, Kind
from cloud.store import alerts as store
from cloud.store import doors
from cloud.web.answers import Answer

SHOWN = 200


class AlertAnswer(Answer):
    """One alert; `closed_at` is null while it is open."""

    id: UUID
    kind: Kind
    title: str
    """The kind in words."""
    subject: str
    """A device, or a part of the service."""
    name: str
    """The same as people call it."""
    door: str | None
    reason: str
    opened_at: datetime
    closed_at: datetime | None
    sent: int
    """Messages about it that arrived."""
    waiting: int
    """Those that are still tried."""
    failed: int
    """Those that were given up after a day."""
    error: str
    """Why one of the latter two did not arrive."""


class Alerts:
    """What the pages and the API are told of alerts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def latest(self, limit: int = SHOWN) -> list[AlertAnswer]:
        """The open ones first, then those that closed last."""
        with self._engine.connect() as connection:
            rows = store.read_alerts(connection, limit)
            names = {
                one.device: one.title for one in doors.read_doors(connection, {row.door for row in rows if row.door})
            }
        return [
            AlertAnswer(
                id=row.id, kind=row.kind, title=RULES[row.kind].title, subject=row.subject,
                name=names.get(row.door or "") or row.subject, door=row.door, reason=row.reason, opened_at=row.opened_at,
                closed_at=row.closed_at, sent=row.sent, waiting=row.waiting, failed=row.failed, error=row.error,
            )
            for row in rows
        ]  # fmt: skip

    def count(self) -> int:
        """How many are open."""
        with self._engine.connect() as connection:
            return store.count_open(connection)


def new_alert_api(alerts: Alerts) -> APIRouter:
    """`GET /api/v1/alerts`."""
    api = APIRouter(prefix="/api/v1", tags=["alerts"])

    @api.get("/alerts", summary="The open alerts, then those that closed last")
    def latest(limit: Annotated[int, Query(ge=1, le=1000)] = SHOWN) -> list[AlertAnswer]:
        return alerts.latest(limit)

    return api
