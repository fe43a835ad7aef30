"""`python -m bench.cloud.scaling`: what fleets of 10 to 1,000,000 doors ask of each part, on paper, from measured figures."""

import argparse
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, text

from agent.report import uuid7
from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message, open_message
from cloud.rules import PictureRules
from cloud.store.blobs import BlobFolder
from cloud.store.database import migrate, open_database
from contract.events import BATCH_LIMIT, EventBatch, PassEvent
from contract.topics import Channel, Topic
from rehearsal.postgres import Postgres

FLEETS = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
PASSES_A_DAY, PEAK_SHARE = 1_500, 0.15  # assumed: a busy entrance, and the share of its busiest hour
CELLS = 5  # assumed: hour counts that one door fills in an open hour, of its directions and labels
OPEN_HOURS = 12  # assumed
EVENT_BYTES, BEAT_BYTES = 300, 620  # on the wire, one a message; topics and MQTT not counted
MONTH = 30


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds of one message in each part; see the module's table of sources in docs/scaling.md."""

    broker: float
    consumer: float
    database: float


EVENT = Cost(2.2, 10.3, 4.0)  # python -m bench.cloud
BEAT = Cost(2.2, 112.0, 112.0)  # python -m bench.cloud.beats; the database's share is taken to be as much again


def main() -> None:
    """Measure what an event and an hour's counts weigh on disk, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heartbeat-s", type=float, default=60.0, help="broker.heartbeat_s of the doors")
    options = parser.parse_args()
    event_bytes, cell_bytes = _weights()
    print(
        f"PostgreSQL keeps an event in {event_bytes:.0f} bytes, an hour's count in {cell_bytes:.0f}; indexes included"
    )
    print(
        f"{'doors':>9} {'events/s':>9} {'beats/s':>8} {'Mbit/s':>7} | cores: {'broker':>6} {'consumers':>9} {'database':>8} | ",
        end="",
    )
    print(f"{'events/month':>12} {'counts/year':>11}")
    for doors in FLEETS:
        events, beats = doors * PASSES_A_DAY * PEAK_SHARE / 3600, doors / options.heartbeat_s
        cores = [
            (events * getattr(EVENT, part) + beats * getattr(BEAT, part)) / 1e6
            for part in ("broker", "consumer", "database")
        ]
        traffic = (events * EVENT_BYTES + beats * BEAT_BYTES) * 8 / 1e6
        month = doors * PASSES_A_DAY * MONTH * event_bytes
        year = doors * OPEN_HOURS * CELLS * 365 * cell_bytes
        print(f"{doors:9,} {events:9,.1f} {beats:8,.1f} {traffic:7,.1f} |        ", end="")
        print(f"{cores[0]:6.2f} {cores[1]:9.2f} {cores[2]:8.2f} | {_size(month):>12} {_size(year):>11}")


def _weights() -> tuple[float, float]:
    """Bytes of a stored event and of an hour count: 100 doors over ten days."""
    server = Postgres().start()
    try:
        engine = open_database(server.new_database())
        migrate(engine)
        with tempfile.TemporaryDirectory() as folder:
            _fill(engine, Path(folder))
        with engine.connect() as connection:
            sizes = [
                connection.execute(text(f"SELECT {what}")).scalar_one()
                for what in (
                    "sum(pg_total_relation_size(relid)) FROM pg_partition_tree('events') WHERE isleaf",
                    "count(*) FROM events", "pg_total_relation_size('hours')", "count(*) FROM hours",
                )
            ]  # fmt: skip
        engine.dispose()
    finally:
        server.stop(remove=True)
    return float(sizes[0]) / sizes[1], float(sizes[2]) / sizes[3]


def _fill(engine: Engine, folder: Path) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    boots = {f"door-{number:03d}": uuid4() for number in range(100)}
    sequence = 0
    for hour in range(120):
        at = now - timedelta(hours=2 * hour)
        parcels = []
        for name, boot in boots.items():
            events = []
            for number in range(BATCH_LIMIT // 2):
                events.append(PassEvent.model_validate({
                    "id": uuid7(at), "at": at + timedelta(minutes=number), "direction": ("in", "out")[number % 2],
                    "label": ("with_mask", "with_mask", "without_mask")[number % 3], "confidence": 0.9, "release": 1,
                    "accelerator": "edgetpu", "boot": boot, "sequence": sequence + number,
                }))  # fmt: skip
            payload = EventBatch(device=name, events=tuple(events)).encode()
            message = Message(Topic(name, Channel.EVENTS).text, payload)
            parcels.append(open_message(message, now=now, pictures=PictureRules()))
        sequence += BATCH_LIMIT // 2
        ingest(engine, BlobFolder(folder), parcels, now=now)


def _size(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError


if __name__ == "__main__":
    main()
