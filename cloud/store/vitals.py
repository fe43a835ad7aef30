"""The statements about a door's vital signs: more of its newest heartbeat, and what is worth remembering of earlier ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, select
from sqlalchemy.dialects import postgresql, sqlite

from cloud.store.schema_doors import vitals
from contract.events import Accelerator
from contract.health import Heartbeat

GREATEST_LAG_S = 3600.0  # more is a clock that is wrong


@dataclass(frozen=True, slots=True)
class Vitals:
    """As the newest heartbeat left them."""

    device: str
    at: datetime
    lag_s: float | None
    temperature_c: float | None
    coverage_today: float | None
    words: tuple[str, ...] | None  # None: the agent is too old to say them
    edgetpu_at: datetime | None
    events_lost: int
    losing_at: datetime | None  # when `events_lost` last grew
    certificate_ends: datetime | None = None  # None: the agent does not say


def write_vitals(connection: Connection, heartbeats: Mapping[str, Heartbeat], now: datetime) -> None:
    """Keep what the newest heartbeat of each device says. A first one with passes lost is no news: that was at some time."""
    if not heartbeats:
        return
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(vitals)
    new = insert.excluded
    names = ("at", "lag_s", "temperature_c", "coverage_today", "words", "events_lost", "certificate_ends")
    statement = insert.on_conflict_do_update(
        index_elements=[vitals.c.device],
        set_={name: new[name] for name in names}
        | {
            "edgetpu_at": func.coalesce(new.edgetpu_at, vitals.c.edgetpu_at),
            "losing_at": case((new.events_lost > vitals.c.events_lost, new.at), else_=vitals.c.losing_at),
        },
    )
    connection.execute(statement, [_row(device, heartbeats[device], now) for device in sorted(heartbeats)])


def read_vitals(connection: Connection) -> dict[str, Vitals]:
    """By device."""
    query = select(*[vitals.c[name] for name in Vitals.__slots__])
    found = {}
    for device, at, lag_s, temperature_c, coverage_today, told, *others in connection.execute(query):
        words = tuple(told["words"]) if told["known"] else None
        found[device] = Vitals(device, at, lag_s, temperature_c, coverage_today, words, *others)
    return found


def _row(device: str, heartbeat: Heartbeat, now: datetime) -> dict[str, Any]:
    lag_s = (now - heartbeat.at).total_seconds() if heartbeat.at else None
    return {
        "device": device, "at": now, "lag_s": lag_s if lag_s is not None and 0 <= lag_s <= GREATEST_LAG_S else None,
        "temperature_c": heartbeat.board.temperature_c if heartbeat.board else None,
        "coverage_today": heartbeat.coverage.today if heartbeat.coverage else None,
        "words": {"known": heartbeat.trouble_words is not None, "words": list(heartbeat.trouble_words or ())},
        "edgetpu_at": now if heartbeat.accelerator is Accelerator.EDGE_TPU else None, "events_lost": heartbeat.events_lost,
        "certificate_ends": heartbeat.certificate_ends,
    }  # fmt: skip
