"""The queries: rows to frozen dataclasses, nothing lazy."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, case, func, select

from cloud.counts.trust import Observed
from cloud.store.passes import observed_by_door, observed_by_hour
from cloud.store.schema import boots, changes, consumers, devices, hours, quarantine
from cloud.store.schema_doors import doors

GREATEST_GAP = 10**9  # of one boot that is added up: a door may claim anything, and SQLite's sums end at 2^63


@dataclass(frozen=True, slots=True)
class Device:
    """A door as it last described itself, and what it sent that never came."""

    name: str
    first_seen: datetime
    last_seen: datetime
    state: str | None
    heartbeat_at: datetime | None
    uptime_s: float
    release: int | None
    accelerator: str | None
    fps: float
    frames: int
    frames_dropped: int
    waiting: int
    events_lost: int
    crops_lost: int
    trouble: tuple[str, ...]
    board: dict[str, Any] | None
    drift: float | None
    missing: int  # passes it counted that are not stored (those still on the way included)
    title: str = ""  # what people call it; "": they gave it no name
    site: str | None = None


@dataclass(frozen=True, slots=True)
class HourCount:
    """Passes of one door in one UTC hour, one direction, one label."""

    device: str
    hour: datetime
    direction: str
    label: str
    passes: int


@dataclass(frozen=True, slots=True)
class QuarantineCount:
    """How much of one kind lies in quarantine."""

    kind: str
    messages: int
    things: int  # events and crops in them that were refused
    deliveries: int  # resent ones counted each time
    latest: datetime


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """One message in quarantine, without its payload: that may hold a person's picture."""

    received_at: datetime
    topic: str
    device: str | None
    kind: str
    reason: str
    things: int
    size: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """A consumer's last sign of life."""

    name: str
    connected: bool
    since: datetime
    alive_at: datetime


class Store:
    """What pages and API ask the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def engine(self) -> Engine:
        """The database itself, for those with statements of their own."""
        return self._engine

    def devices(self, *, only: str | None = None) -> tuple[Device, ...]:
        """All doors, by name; or the one of that name."""
        lacking = boots.c.expected - boots.c.stored
        gap = func.sum(case((lacking > GREATEST_GAP, GREATEST_GAP), else_=lacking)).label("missing")
        some = boots.c.expected > boots.c.stored
        missing = select(boots.c.device, gap).where(some).group_by(boots.c.device).subquery()
        query = (
            select(devices, func.coalesce(missing.c.missing, 0).label("missing"), doors.c.title, doors.c.site)
            .outerjoin(missing, missing.c.device == devices.c.name)
            .outerjoin(doors, doors.c.device == devices.c.name)
            .order_by(devices.c.name)
        )
        if only is not None:
            query = query.where(devices.c.name == only)
        with self._engine.connect() as connection:
            return tuple(
                Device(
                    name=row.name,
                    first_seen=row.first_seen,
                    last_seen=row.last_seen,
                    state=row.state,
                    heartbeat_at=row.heartbeat_at,
                    uptime_s=row.uptime_s,
                    release=row.release,
                    accelerator=row.accelerator,
                    fps=row.fps,
                    frames=row.frames,
                    frames_dropped=row.frames_dropped,
                    waiting=row.waiting,
                    events_lost=row.events_lost,
                    crops_lost=row.crops_lost,
                    trouble=tuple(row.trouble or ()),
                    board=row.board,
                    drift=row.drift,
                    missing=int(row.missing),
                    title=row.title or "",
                    site=row.site,
                )
                for row in connection.execute(query)
            )

    def door_counts(
        self, start: datetime, end: datetime, *, among: Collection[str] | None = None
    ) -> tuple[HourCount, ...]:
        """Passes of all UTC hours that begin in [start, end) added up by door, under the first of them."""
        keys: list[ColumnElement[Any]] = [hours.c.device, hours.c.direction, hours.c.label]
        query = (
            select(*keys, func.sum(hours.c.passes).label("passes"))
            .where(hours.c.hour >= start, hours.c.hour < end)
            .group_by(*keys)
        )
        if among is not None:
            query = query.where(hours.c.device.in_(among))
        return tuple(HourCount(**{**row, "hour": start, "passes": int(row["passes"])}) for row in self._rows(query))

    def observed(
        self, start: datetime, end: datetime, *, device: str | None = None, by_door: bool = False
    ) -> dict[tuple[datetime, str | None], Observed]:
        """By UTC hour, and by door where they are kept apart: what was looked at."""
        with self._engine.connect() as connection:
            return observed_by_hour(
                connection, start, end, among=None if device is None else (device,), by_door=by_door
            )

    def observed_doors(
        self, start: datetime, end: datetime, *, among: Collection[str] | None = None
    ) -> dict[str, Observed]:
        """By door, what was looked at in the UTC hours that begin in [start, end)."""
        with self._engine.connect() as connection:
            return observed_by_door(connection, start, end, among=among)

    def hour_counts(self, start: datetime, end: datetime, *, device: str | None = None) -> tuple[HourCount, ...]:
        """Passes of the UTC hours that begin in [start, end), oldest first."""
        keys: list[ColumnElement[Any]] = [hours.c.device, hours.c.hour, hours.c.direction, hours.c.label]
        query = (
            select(*keys, func.sum(hours.c.passes).label("passes"))
            .where(hours.c.hour >= start, hours.c.hour < end)
            .group_by(*keys)
            .order_by(hours.c.hour, hours.c.device, hours.c.direction, hours.c.label)
        )
        if device is not None:
            query = query.where(hours.c.device == device)
        return tuple(HourCount(**{**row, "passes": int(row["passes"])}) for row in self._rows(query))

    def quarantine_counts(self) -> tuple[QuarantineCount, ...]:
        """By kind, the greatest first."""
        messages = func.count().label("messages")
        query = (
            select(
                quarantine.c.kind,
                messages,
                func.sum(quarantine.c.things).label("things"),
                func.sum(quarantine.c.deliveries).label("deliveries"),
                func.max(quarantine.c.last_received_at).label("latest"),
            )
            .group_by(quarantine.c.kind)
            .order_by(messages.desc(), quarantine.c.kind)
        )
        return tuple(
            QuarantineCount(
                row["kind"], int(row["messages"]), int(row["things"]), int(row["deliveries"]), row["latest"]
            )
            for row in self._rows(query)
        )

    def quarantine_latest(self, limit: int) -> tuple[QuarantineEntry, ...]:
        """The newest messages in quarantine."""
        columns = [column for column in quarantine.c if column.name not in ("digest", "head", "last_received_at")]
        query = select(*columns).order_by(quarantine.c.received_at.desc(), quarantine.c.digest).limit(limit)
        return tuple(QuarantineEntry(**row) for row in self._rows(query))

    def consumers(self) -> tuple[ConsumerState, ...]:
        """Every consumer that ever ran here, the latest sign of life first."""
        query = select(consumers).order_by(consumers.c.alive_at.desc())
        return tuple(ConsumerState(**row) for row in self._rows(query))

    def change_number(self) -> int:
        """Grows with every commit that changed something; cheap enough to ask twice a second."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(changes.c.number)).scalar_one())

    def _rows(self, query: Any) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]
