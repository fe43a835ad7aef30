"""Doors as Home Assistant sees them: what announces a door's sensors, and what they show."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cloud.counts.cells import EMPTY, Cell, gather
from cloud.counts.periods import HOUR, day_start
from cloud.fleet.alerts import GONE_AFTER
from cloud.store import homes as store
from cloud.store.database import reason
from cloud.store.store import Device, Store
from contract.errors import TryAgainError
from contract.events import Direction
from contract.home import base_topic, config_topic, status_topic
from contract.labels import Label

# By sensor: what its announcement says beside what all have in common.
SENSORS: dict[str, dict[str, Any]] = {
    "passes_in": {
        "name": "Passes in today", "state_class": "total_increasing", "unit_of_measurement": "passes", "icon": "mdi:location-enter",
    },
    "passes_out": {
        "name": "Passes out today", "state_class": "total_increasing", "unit_of_measurement": "passes", "icon": "mdi:location-exit",
    },
    "compliance": {
        "name": "Masks worn properly today", "state_class": "measurement", "unit_of_measurement": "%", "icon": "mdi:face-mask",
        "suggested_display_precision": 0,
    },
    "state": {
        "name": "State", "device_class": "enum", "options": ["online", "silent", "offline"], "icon": "mdi:door",
        "entity_category": "diagnostic",
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Home:
    """One door for Home Assistant."""

    device: str
    configs: tuple[tuple[str, bytes], ...]  # topics and payloads that announce its sensors
    state: bytes  # all its values, JSON

    @property
    def digest(self) -> str:
        """Of the announcement: another one is another announcement."""
        return sha256(
            b"\0".join(part for topic, payload in self.configs for part in (topic.encode(), payload))
        ).hexdigest()


def announcements(prefix: str, device: str, *, title: str, area: str) -> tuple[tuple[str, bytes], ...]:
    """One retained message a sensor, in the fields of Home Assistant's MQTT discovery; `area` may be empty."""
    about: dict[str, Any] = {
        "identifiers": [f"maskfleet_{device}"], "name": title or device, "manufacturer": "maskfleet", "model": "door",
    }  # fmt: skip
    if area:
        about["suggested_area"] = area
    shared = {
        "~": base_topic(prefix, device), "state_topic": "~/state", "availability_topic": status_topic(prefix), "device": about,
        "origin": {"name": "maskfleet"},
    }  # fmt: skip
    return tuple(
        (
            config_topic(prefix, device, sensor),
            json.dumps(
                {
                    **shared,
                    **own,
                    "unique_id": f"maskfleet_{device}_{sensor}",
                    "value_template": f"{{{{ value_json.{sensor} }}}}",
                },
                sort_keys=True,
            ).encode(),
        )
        for sensor, own in SENSORS.items()
    )


def withdrawals(prefix: str, device: str) -> tuple[str, ...]:
    """The topics that an empty retained message clears."""
    return (*(config_topic(prefix, device, sensor) for sensor in SENSORS), f"{base_topic(prefix, device)}/state")


def state_of(today: Cell, state: str) -> bytes:
    """What a door's sensors show; `compliance` in per cent, null where the passes are too few to say."""
    share = today.compliance
    told = {
        "passes_in": today.directed(Direction.IN), "passes_out": today.directed(Direction.OUT),
        "compliance": round(100 * share.rate, 1) if share else None, "state": state,
        "passes": {label.value: today.labelled(label) for label in Label},
    }  # fmt: skip
    return json.dumps(told, sort_keys=True).encode()


class TableOfHomes:
    """The publisher's view of the doors; every method raises TryAgainError while the database is away."""

    def __init__(
        self, engine: Engine, prefix: str, *, silent_after: timedelta, zone: Any, enabled: bool = True
    ) -> None:
        """Days begin in `zone`; where it is not `enabled` there are no doors, so that what was announced is taken back."""
        self._engine, self._prefix, self._silent_after, self._zone = engine, prefix, silent_after, zone
        self._enabled = enabled

    def homes(self, now: datetime) -> Sequence[Home]:
        """Every door but those taken down."""
        if not self._enabled:
            return ()
        store_of = Store(self._engine)
        try:
            devices, sites = store_of.devices(), store.site_names(self._engine)
            counts = store_of.hour_counts(day_start(now, self._zone), now + HOUR)
        except SQLAlchemyError as error:
            raise TryAgainError(f"the database is away ({reason(error)})") from error
        today = gather(counts, lambda one: one.device)
        return [
            Home(
                device.name,
                announcements(self._prefix, device.name, title=device.title, area=sites.get(device.site or "", "")),
                state_of(today.get(device.name, EMPTY), self._state(device, now)),
            )
            for device in devices
            if now - device.last_seen <= GONE_AFTER
        ]

    def announced(self) -> frozenset[tuple[str, str]]:
        """Prefix and device of those that were ever announced and not taken back."""
        try:
            return store.read_announced(self._engine)
        except SQLAlchemyError as error:
            raise TryAgainError(f"the database is away ({reason(error)})") from error

    def remember(self, prefix: str, devices: Collection[str]) -> None:
        """These are announced now; written before they are, so that none is forgotten."""
        try:
            store.add_announced(self._engine, prefix, devices)
        except SQLAlchemyError as error:
            raise TryAgainError(f"the database is away ({reason(error)})") from error

    def forget(self, prefix: str, device: str) -> None:
        """It was taken back."""
        try:
            store.drop_announced(self._engine, prefix, device)
        except SQLAlchemyError as error:
            raise TryAgainError(f"the database is away ({reason(error)})") from error

    def _state(self, device: Device, now: datetime) -> str:
        if device.state == "offline":
            return "offline"
        return "silent" if now - device.last_seen > self._silent_after else "online"
