"""What one scrape of `/metrics` costs: `python -m bench.scrape [--doors 100] [--days 400] [--database URL]`."""

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import Engine

from cloud.store.database import migrate, open_database
from cloud.store.schema import devices, hours
from cloud.store.store import Store
from cloud.web.metrics import Metrics, PassTotals
from cloud.web.views import Views
from contract.events import Direction
from contract.labels import LABELS

OPEN_HOURS = 12  # of a day
SCRAPES = 20


def main() -> int:
    """Fill a database, scrape it; prints milliseconds."""
    parser = argparse.ArgumentParser(prog="bench.scrape")
    parser.add_argument("--doors", type=int, default=100)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--database", default="", help="an empty one; by default SQLite in a folder of its own")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(chosen.database or f"sqlite:///{Path(folder) / 'bench.sqlite'}")
        migrate(engine)
        now = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)
        rows = _fill(engine, chosen.doors, chosen.days, now)
        store = Store(engine)
        views = Views(store, zone=ZoneInfo("UTC"), silent_after=timedelta(minutes=2))
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Metrics(store, views, PassTotals(engine), lambda: now))
        took = [_timed(registry) for _ in range(SCRAPES + 1)]
        lines = len(generate_latest(registry).splitlines())
        engine.dispose()
    print(f"{engine.dialect.name}: {chosen.doors} doors, {chosen.days} days, {rows} hour rows, {lines} lines")
    print(f"the day's first scrape {took[0]:.0f} ms, the others {median(took[1:]):.0f} ms (median of {SCRAPES})")
    return 0


def _fill(engine: Engine, doors: int, days: int, now: datetime) -> int:
    names = [f"door-{number:04}" for number in range(doors)]
    total = 0
    with engine.begin() as connection:
        connection.execute(devices.insert(), [{"name": name, "first_seen": now, "last_seen": now} for name in names])
        for name in names:
            rows = [
                {
                    "device": name, "hour": (now - timedelta(days=day)).replace(hour=8 + hour % OPEN_HOURS, minute=0),
                    "direction": direction.value, "label": label.value, "release": 3, "accelerator": "edgetpu", "passes": 9,
                }
                for day in range(days) for hour in range(OPEN_HOURS) for direction in Direction for label in LABELS
            ]  # fmt: skip
            connection.execute(hours.insert(), rows)
            total += len(rows)
    return total


def _timed(registry: CollectorRegistry) -> float:
    begun = time.perf_counter()
    generate_latest(registry)
    return 1000 * (time.perf_counter() - begun)


if __name__ == "__main__":
    sys.exit(main())
