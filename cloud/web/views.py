"""Answers made of queries: what API and pages share."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cloud.counts.cells import EMPTY, gather, total
from cloud.counts.periods import HOUR, day_start
from cloud.counts.trust import Observed
from cloud.store.store import Device, Store
from cloud.web.answers import (
    BrokerState,
    CountCell,
    Counts,
    Door,
    DoorState,
    Grouping,
    ObservedAnswer,
    QuarantineAnswer,
    QuarantinedMessage,
    QuarantineKind,
    Service,
    Tally,
)
from contract.events import Accelerator
from contract.health import Board

CONSUMER_SILENT = timedelta(seconds=20)
QUARANTINE_SHOWN = 20


class Views:
    """Every answer at one moment, `now`, which comes in as an argument."""

    def __init__(self, store: Store, *, zone: ZoneInfo, silent_after: timedelta) -> None:
        self._store, self.zone, self._silent_after = store, zone, silent_after

    def doors(self, now: datetime) -> list[Door]:
        """All doors, by name; their today is that of the service's zone."""
        return self._described(self._store.devices(), now, self.zone)

    def doors_of(self, site: str, zone: ZoneInfo, now: datetime) -> list[Door]:
        """A site's doors, by name; their today is that of its zone."""
        found = [one for one in self._store.devices() if one.site == site]
        return self._described(found, now, zone, among=[one.name for one in found])

    def door(self, name: str, now: datetime, zone_of: Callable[[str | None], ZoneInfo]) -> Door | None:
        """One door, whose today is that of the zone of its site; None where no such door ever spoke here."""
        found = () if "\x00" in name else self._store.devices(only=name)  # PostgreSQL takes no such text
        return next(iter(self._described(found, now, zone_of(found[0].site), among=[name])), None) if found else None

    def _described(
        self, devices: Iterable[Device], now: datetime, zone: ZoneInfo, *, among: Collection[str] | None = None
    ) -> list[Door]:
        begin = day_start(now, zone)
        today = gather(self._store.door_counts(begin, now + HOUR, among=among), lambda one: one.device)
        observed = self._store.observed_doors(begin, now + HOUR, among=among)
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
                board=Board.model_validate(device.board) if device.board is not None else None,
                drift=device.drift,
                title=device.title,
                site=device.site,
                today=Tally.of(today.get(device.name, EMPTY)),
                observed=ObservedAnswer.of(observed.get(device.name, Observed())),
            )
            for device in devices
        ]

    def counts(self, start: datetime, end: datetime, *, by: Grouping, door: str | None) -> Counts:
        """Cells of the UTC hours that begin in [start, end)."""
        apart = by is Grouping.DOOR_HOUR
        rows = self._store.hour_counts(start, end, device=door)
        cells = gather(rows, lambda one: (one.hour, one.device if apart else None))
        observed = self._store.observed(start, end, device=door, by_door=apart)
        places = sorted({*cells, *(key for key, one in observed.items() if one.watched)}, key=_place)
        return Counts(
            start=start,
            end=end,
            by=by,
            door=door,
            time_zone=self.zone.key,
            total=Tally.of(total(rows)),
            cells=[
                CountCell(
                    at=hour,
                    door=name if apart else door,
                    tally=Tally.of(cells.get((hour, name), EMPTY)),
                    observed=ObservedAnswer.of(observed.get((hour, name), Observed())),
                )
                for hour, name in places
            ],
        )

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


def _place(key: tuple[datetime, str | None]) -> tuple[datetime, str]:
    return key[0], key[1] or ""
