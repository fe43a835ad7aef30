"""Databases as fleets of some age would have left them: hour counts, coverage, boots, labels and every single pass."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, Engine, Table, insert, text

from cloud.store import schema, schema_doors
from contract.crops import CropHeader, Role
from contract.labels import LABELS

NOW = datetime(2026, 11, 24, 16, 30, tzinfo=UTC)
DOORS, DAILY = 40, 625  # passes a door and day, as a rule
BY_HOUR = np.array([0, 0, 1, 0, 0, 2, 8, 23, 47, 37, 20, 21, 40, 37, 23, 21, 27, 43, 40, 22, 13, 7, 3, 0], dtype=float)
SHARES = (0.85, 0.11, 0.04)
KINDS = [(way, label.value) for label in LABELS for way in ("out", "in")]
LABELS_A_DAY, MOST_LABELS = 20, 3_000
SITES = 30  # of a large fleet
WEEK = 7

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Filled:
    """A database and how much is in it."""

    engine: Engine
    events: int
    days: int
    daily: int


def fill(engine: Engine, days: int, say: Progress = lambda _: None, *, daily: int = DAILY) -> Filled:
    """The last days of DOORS doors, of so many passes each, by and large."""
    begin = NOW.replace(minute=0) - timedelta(days=days)
    names = [f"door-{number:02}" for number in range(DOORS)]
    rng = np.random.default_rng(7)
    _journal(engine, "MEMORY")
    with engine.begin() as connection:
        _doors(connection, names, begin, sites=0)
        passes = _copy(connection, schema.hours, _hours(names, list(_all_hours(begin)), daily, rng))
        say(f"{passes:,} hour counts of {days} days")
        _copy(connection, schema.coverage, _coverage(names, _all_hours(begin)))
        boots = (_boot(name, number, day, daily, begin) for day in range(days + 1) for number, name in enumerate(names))
        _copy(connection, schema.boots, boots)
        _label(connection, names, begin, days)
        events = _write_events(connection)
        say(f"{events:,} passes")
    _settle(engine)
    return Filled(engine, events, days, daily)


def fill_fleet(engine: Engine, doors: int, say: Progress = lambda _: None) -> Filled:
    """Many doors at SITES sites: a week of coverage, and today's passes as hour counts."""
    names = [f"door-{number:05}" for number in range(doors)]
    begin = NOW.replace(minute=0) - timedelta(days=WEEK + 1)
    _journal(engine, "MEMORY")
    with engine.begin() as connection:
        _doors(connection, names, begin, sites=SITES)
        _copy(connection, schema.coverage, _coverage(names, _all_hours(begin)))
        today = list(_all_hours(NOW.replace(hour=0, minute=0) - timedelta(hours=1)))
        _copy(connection, schema.hours, _hours(names, today, DAILY, np.random.default_rng(7)))
        _copy(connection, schema.boots, (_boot(name, number, 0, DAILY, begin) for number, name in enumerate(names)))
        _label(connection, names, begin, WEEK + 1)
        say(f"{doors:,} doors")
    _settle(engine)
    return Filled(engine, 0, WEEK + 1, DAILY)


def _all_hours(begin: datetime) -> Iterator[datetime]:
    return (begin + timedelta(hours=number) for number in range(int((NOW - begin) / timedelta(hours=1)) + 1))


def _doors(connection: Connection, names: Sequence[str], begin: datetime, *, sites: int) -> None:
    board = {"temperature_c": 51.0, "under_voltage": False, "throttled": False, "disk_free_bytes": 9_000_000_000}
    known = {
        "first_seen": begin, "last_seen": NOW - timedelta(seconds=20), "heartbeat_at": NOW - timedelta(seconds=20),
        "state": "online", "release": 3, "accelerator": "edgetpu", "fps": 24.8, "uptime_s": 80_000.0, "board": board,
        "trouble": [], "drift": 0.4,
    }  # fmt: skip
    connection.execute(insert(schema.devices), [{"name": name, **known} for name in names])
    told = {"at": NOW, "lag_s": 0.2, "temperature_c": 51.0, "coverage_today": 0.97, "events_lost": 0}
    words = {"words": {"known": True, "words": []}}
    connection.execute(insert(schema_doors.vitals), [{"device": name, **told, **words} for name in names])
    if sites:
        place = {"time_zone": "Europe/Paris", "week": ["06:00-22:00"] * 7, "closed": []}
        rows = [{"slug": f"site-{number:02}", "name": f"Site {number}", **place} for number in range(sites)]
        connection.execute(insert(schema_doors.sites), rows)
        described = [
            {"device": name, "title": f"Entrance {number}", "site": f"site-{number % sites:02}", "note": ""}
            for number, name in enumerate(names)
        ]
        connection.execute(insert(schema_doors.doors), described)
    release = {"number": 3, "digest": "a" * 64, "published_at": begin, "manifest": {}}
    connection.execute(insert(schema.releases), release)


def _hours(
    names: Sequence[str], times: Sequence[datetime], daily: int, rng: np.random.Generator
) -> Iterator[tuple[Any, ...]]:
    """The rows that ingest makes of an hour's passes: one of each kind that came."""
    usual = np.array([daily * BY_HOUR[at.hour] / BY_HOUR.sum() for at in times])
    shares = np.outer(SHARES, (0.5, 0.5)).ravel()
    for name in names:
        numbers = rng.poisson(usual[:, None] * shares)
        for place, kind in zip(*(one.tolist() for one in numbers.nonzero()), strict=True):
            yield name, times[place], *KINDS[kind], 3, "edgetpu", "", int(numbers[place, kind])


def _coverage(names: Sequence[str], times: Iterable[datetime]) -> Iterator[tuple[Any, ...]]:
    return ((name, at, 60, 58, True) for at in times for name in names)


def _boot(name: str, number: int, day: int, daily: int, begin: datetime) -> tuple[Any, ...]:
    """One restart a door and day; now and then a pass never came."""
    lost = int(number % DOORS == day % DOORS)
    return name, UUID(int=day * 1_000_000 + number), daily, daily + lost, begin + timedelta(days=day)


def _copy(connection: Connection, table: Table, rows: Iterable[tuple[Any, ...]]) -> int:
    """Rows in the table's order of columns, by the quickest way that the driver has; returns how many."""
    number = 0
    if connection.dialect.name == "sqlite":
        cursor = connection.connection.cursor()
        cursor.executemany(f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.c))})", list(map(_bare, rows)))
        return int(cursor.rowcount)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
            number += 1
    return number


def _bare(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """As the schema's types write them on SQLite."""
    return tuple(
        one.strftime("%Y-%m-%d %H:%M:%S.000000") if isinstance(one, datetime) else one.hex if isinstance(one, UUID) else one
        for one in row
    )  # fmt: skip


def _write_events(connection: Connection) -> int:
    """One row a pass, as the hour counts say."""
    sqlite = connection.dialect.name == "sqlite"
    key = "printf('%032x', {})" if sqlite else "lpad(to_hex({}), 32, '0')::uuid"
    mark = "x'00112233445566778899aabbccddeeff'" if sqlite else "'\\x00112233445566778899aabbccddeeff'::bytea"
    connection.execute(text("CREATE TEMPORARY TABLE numbers (n INTEGER)"))
    connection.execute(text("INSERT INTO numbers (n) VALUES (:n)"), [{"n": number} for number in range(200)])
    connection.execute(text("DROP INDEX ix_events_device_at"))  # made again below, of all rows at once
    made = connection.execute(
        text(
            "INSERT INTO events (id, device, at, line, direction, label, confidence, release, accelerator, boot, sequence,"
            " clock_synchronised, received_at, fingerprint)"
            f" SELECT {key.format('row_number() OVER ()')}, device, hour, line, direction, label, 0.9, release, accelerator,"
            f" {key.format('7')}, n, true, hour, {mark} FROM hours JOIN numbers ON n < passes"
        )
    )
    connection.execute(text("CREATE INDEX ix_events_device_at ON events (device, at)"))
    return int(made.rowcount)


def _label(connection: Connection, doors: Sequence[str], begin: datetime, days: int) -> None:
    """Control labels at a steady pace, so that a longer history has more of them."""
    crops, answers = [], []
    for number in range(min(MOST_LABELS, LABELS_A_DAY * days)):
        at, name = begin + timedelta(days=number / LABELS_A_DAY), UUID(int=number + 1)
        header = CropHeader(
            id=name, device=doors[number % len(doors)], at=at, role=Role.CONTROL, window=name, window_passes=50, weight=25.0,
            scores=(0.9, 0.05, 0.05), label=LABELS[number % 3], box=(0.3, 0.3, 0.7, 0.7), frame_size=(640, 480),
            origin=(0, 0), scale=1.0, model_digest="a" * 64, jpeg_digest="b" * 64,
        )  # fmt: skip
        crops.append(
            {
                "id": name, "device": header.device, "at": at, "received_at": at, "role": header.role.value, "window": name,
                "jpeg_digest": "b" * 64, "jpeg_bytes": 1, "width": 64, "height": 64,
                "header": header.model_dump(mode="json"), "fingerprint": name.bytes,
            }
        )  # fmt: skip
        answer = {"id": name, "crop": name, "labeller": "bench", "answer": LABELS[number % 3].value, "at": at}
        answers.append(answer | {"took_ms": 900, "prediction_seen": False, "guideline": 1})
    connection.execute(insert(schema.crops), crops)
    connection.execute(insert(schema.labels), answers)


def _journal(engine: Engine, mode: str) -> None:
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"PRAGMA journal_mode = {mode}"))


def _settle(engine: Engine) -> None:
    """As a server's own upkeep leaves it."""
    engine.dispose()
    _journal(engine, "WAL")
    vacuum = "ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(vacuum))
