"""Looks at doors and service every few seconds, and opens and closes alerts by the rules."""

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from cloud.config import CloudSettings
from cloud.counts.cells import EMPTY, Cell, gather
from cloud.duties import ALONE, LostDutyError, Post
from cloud.fleet.alerts import (
    Change,
    DoorFacts,
    Finding,
    Key,
    Kind,
    Limits,
    What,
    judge_door,
    judge_end,
    judge_flood,
    judge_service,
    step,
)  # fmt: skip
from cloud.fleet.doors import hours_of
from cloud.fleet.postman import Postman
from cloud.store import alerts as store
from cloud.store import doors, endings, writing
from cloud.store.database import reason
from cloud.store.refused import Flood, read_floods
from cloud.store.schema import consumers, devices, hours
from cloud.store.store import HourCount
from cloud.store.vitals import read_vitals
from contract.events import Accelerator

log = logging.getLogger("cloud.alerts")

EVERY_S = 5.0
FLOODED_LATELY = timedelta(hours=1)
SLOWLY = timedelta(minutes=1)  # how often counts are looked at
CONSUMER_SILENT = timedelta(seconds=20)
ROLE_WITHIN = {  # a role's signatures that end sooner were not renewed in time
    "root": timedelta(days=30), "targets": timedelta(days=14), "releases": timedelta(days=7),
    "snapshot": timedelta(days=3), "timestamp": timedelta(days=2),
}  # fmt: skip
LIST_WITHIN = timedelta(days=3)  # a revocation list lives seven days and is issued anew every day


class Watchman:
    """In each server; the duty says which one looks. Who takes over begins anew to wait until a verdict has held."""

    def __init__(
        self, engine: Engine, settings: CloudSettings, postman: Postman, *, duty: Post = ALONE,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:  # fmt: skip
        self._engine, self._postman, self._duty, self._new_id = engine, postman, duty, new_id
        self._hours, rules = settings.alerts.compliance_hours, settings.alerts
        self._limits = Limits(
            silent_after=timedelta(seconds=settings.silent_after_s), coverage=rules.coverage_line,
            compliance=rules.compliance_line, compliance_passes=rules.compliance_passes,
            certificate=timedelta(days=rules.certificate_days),
        )  # fmt: skip
        self._waiting = dict[Key, datetime]()
        self._floods = dict[str, tuple[int, datetime]]()
        self._cells = dict[str, Cell]()
        self._slowly_at: datetime | None = None
        self._stop = threading.Event()
        self._told = ""

    def run(self) -> None:
        """Look until `stop`; what goes wrong is said once and tried again."""
        while not self._stop.wait(EVERY_S):
            if not self._duty.held():
                self._waiting = {}
                continue
            try:
                self.turn(datetime.now(UTC))
            except LostDutyError as error:
                log.info("%s", error)
            except SQLAlchemyError as error:
                self._tell(f"alerts stand still while the database is away ({reason(error)})")
            else:
                self._told = ""

    def stop(self) -> None:
        """Ask `run` to return. Safe in any thread."""
        self._stop.set()

    def turn(self, now: datetime) -> tuple[Change, ...]:
        """One look; returns what changed. Raises SQLAlchemyError or LostDutyError; nothing is half done then."""
        with self._engine.connect() as connection:
            if self._slowly_at is None or now - self._slowly_at >= SLOWLY:
                self._cells = self._counted(connection, now) if self._limits.compliance is not None else {}
                self._slowly_at = now
            alive, connected = _consumers(connection, now)
            findings = [*judge_service(alive=alive, connected=connected), *self._endings(connection, now)]
            names = dict[str, str]()
            for door in self._doors(connection, now):
                names[door.device] = door.name
                findings += judge_door(now, door, self._limits, reachable=alive and connected)
            findings += self._flooding(read_floods(connection, now - FLOODED_LATELY), names, now)
            known = store.read_open(connection)
        changes, waiting = step(now, known, self._waiting, findings)
        if changes:
            with self._engine.begin() as connection:
                self._duty.require(connection)
                for change in changes:
                    self._write(connection, change, now)
                store.tidy(connection, now)
                writing.mark_change(connection)
        self._waiting = waiting
        return tuple(changes)

    def _write(self, connection: Connection, change: Change, now: datetime) -> None:
        alert = store.write_change(connection, change, self._new_id(), now)
        self._postman.queue(connection, alert, change, store.opened_at(connection, alert), now)
        level = logging.WARNING if change.what is What.OPENED else logging.INFO
        one = change.finding
        log.log(level, "alert %s: %s %s. %s", change.what, one.kind, one.subject, one.reason)

    def _doors(self, connection: Connection, now: datetime) -> Iterable[DoorFacts]:
        described = {row.device: row for row in doors.read_doors(connection)}
        sites = {site.slug: site for site in doors.read_sites(connection)}
        vitals = read_vitals(connection)
        for row in connection.execute(select(devices)).mappings():
            told = described.get(row["name"])
            open_hours = hours_of(told, sites.get(told.site or "")) if told else None
            signs = vitals.get(row["name"])
            cell = self._cells.get(row["name"], EMPTY)
            yield DoorFacts(
                device=row["name"], name=(told.title if told else "") or row["name"],
                is_open=open_hours.open_at(now) if open_hours else True, offline=row["state"] == "offline",
                last_seen=row["last_seen"], accelerator=Accelerator(row["accelerator"]) if row["accelerator"] else None,
                edgetpu_at=signs.edgetpu_at if signs else None, words=signs.words if signs else None,
                trouble=tuple(row["trouble"] or ()), events_lost=row["events_lost"],
                losing_at=signs.losing_at if signs else None,
                certificate_ends=signs.certificate_ends if signs else None, coverage_today=signs.coverage_today if signs else None,
                compliance=cell.compliance, passes=cell.passes,
            )  # fmt: skip

    def _flooding(self, floods: Iterable[Flood], names: dict[str, str], now: datetime) -> Iterable[Finding]:
        """How fast they come is seen by the look before this one."""
        before, self._floods = self._floods, {}
        for one in floods:
            self._floods[one.device] = (one.messages, now)
            number, at = before.get(one.device, (one.messages, now))
            passed_s = (now - at).total_seconds()
            rate = (one.messages - number) / passed_s if passed_s > 0 and one.messages > number else None
            yield judge_flood(now, one.device, names.get(one.device, one.device), one.latest, rate)

    def _counted(self, connection: Connection, now: datetime) -> dict[str, Cell]:
        keys = (hours.c.device, hours.c.hour, hours.c.direction, hours.c.label)
        query = select(*keys, func.sum(hours.c.passes).label("passes")).group_by(*keys)
        since = now - timedelta(hours=self._hours)
        rows = connection.execute(query.where(hours.c.hour > since, hours.c.hour <= now)).mappings()
        return gather([HourCount(**{**row, "passes": int(row["passes"])}) for row in rows], lambda one: one.device)

    def _endings(self, connection: Connection, now: datetime) -> Iterable[Finding]:
        """What every server told of its own."""
        for kind, subject, ends in endings.read(connection, now):
            yield judge_end(now, kind, subject, ends, self._within(kind, subject))

    def _within(self, kind: Kind, subject: str) -> timedelta:
        if kind is Kind.SIGNATURES_ENDING:
            return ROLE_WITHIN.get(subject, self._limits.certificate)
        return LIST_WITHIN if kind is Kind.REVOCATIONS_ENDING else self._limits.certificate

    def _tell(self, what: str) -> None:
        if what != self._told:
            log.warning("%s; trying again", what)
            self._told = what


def _consumers(connection: Connection, now: datetime) -> tuple[bool, bool]:
    """Whether one runs, and whether one of those has the broker."""
    alive = [
        row for row in connection.execute(select(consumers)).mappings() if now - row["alive_at"] <= CONSUMER_SILENT
    ]
    return bool(alive), any(row["connected"] for row in alive)
