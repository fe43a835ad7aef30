"""Answers made of queries: what API and pages share."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cloud.counts.cells import EMPTY, HOUR, day_start, gather, total
from cloud.store.store import Device, Store
from cloud.web.answers import (
    BrokerState,
    CountCell,
    Counts,
    Door,
    DoorState,
    Grouping,
    QuarantineAnswer,
    QuarantinedMessage,
    QuarantineKind,
    Service,
    Tally,
)
from contract.events import Accelerator

CONSUMER_SILENT = timedelta(seconds=20)
QUARANTINE_SHOWN = 20


class Views:
    """Every answer at one moment, `now`, which comes in as an argument."""

    def __init__(self, store: Store, *, zone: ZoneInfo, silent_after: timedelta) -> None:
        self._store, self.zone, self._silent_after = store, zone, silent_after

    def today(self, now: datetime) -> Tally:
        """All passes since midnight in the configured zone."""
        return Tally.of(total(self._store.hour_counts(day_start(now, self.zone), now + HOUR)))

    def doors(self, now: datetime) -> list[Door]:
        """All doors, by name."""
        today = gather(self._store.hour_counts(day_start(now, self.zone), now + HOUR), lambda one: one.device)
        return [
            Door(
                name=device.name,
                state=self._state(device, now),
                first_seen=device.first_seen,
                last_seen=device.last_seen,
                release=device.release,
                accelerator=Accelerator(device.accelerator) if device.accelerator else None,
                fps=device.fps,
                frames=device.frames,
                frames_dropped=device.frames_dropped,
                uptime_s=device.uptime_s,
                waiting=device.waiting,
                missing=device.missing,
                events_lost=device.events_lost,
                crops_lost=device.crops_lost,
                trouble=list(device.trouble),
                today=Tally.of(today.get(device.name, EMPTY)),
            )
            for device in self._store.devices()
        ]

    def counts(self, start: datetime, end: datetime, *, by: Grouping, door: str | None) -> Counts:
        """Cells of the UTC hours that begin in [start, end)."""
        rows = self._store.hour_counts(start, end, device=door)
        cells = gather(rows, lambda one: (one.hour, one.device if by is Grouping.DOOR_HOUR else None))
        return Counts(
            start=start,
            end=end,
            by=by,
            door=door,
            time_zone=self.zone.key,
            total=Tally.of(total(rows)),
            cells=[
                CountCell(at=hour, door=name if by is Grouping.DOOR_HOUR else door, tally=Tally.of(cell))
                for (hour, name), cell in cells.items()
            ],
        )

    def last_day(self, now: datetime) -> tuple[datetime, datetime]:
        """The 24 full UTC hours that end with the current one."""
        end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
        return end - 24 * HOUR, end

    def quarantine(self) -> QuarantineAnswer:
        """What was refused, by kind, and the newest of it."""
        kinds = [QuarantineKind(**asdict(one)) for one in self._store.quarantine_counts()]
        latest = [QuarantinedMessage(**asdict(one)) for one in self._store.quarantine_latest(QUARANTINE_SHOWN)]
        return QuarantineAnswer(messages=sum(one.messages for one in kinds), by_kind=kinds, latest=latest)

    def service(self, now: datetime) -> Service:
        """Whether doors can reach us; raises SQLAlchemyError where the database does not answer."""
        alive = [one for one in self._store.consumers() if now - one.alive_at <= CONSUMER_SILENT]
        if not alive:
            return Service(database="up", broker=BrokerState.UNWATCHED, broker_since=None)
        best = next((one for one in alive if one.connected), alive[0])
        state = BrokerState.UP if best.connected else BrokerState.DOWN
        return Service(database="up", broker=state, broker_since=best.since)

    def change_number(self) -> int:
        """Grows whenever something changed."""
        return self._store.change_number()

    def _state(self, device: Device, now: datetime) -> DoorState:
        if device.state == "offline":
            return DoorState.OFFLINE
        return DoorState.SILENT if now - device.last_seen > self._silent_after else DoorState.ONLINE
