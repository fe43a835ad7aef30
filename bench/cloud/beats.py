"""`python -m bench.cloud.beats`: what a heartbeat costs the consumer, beside an event, and what remembering coverage saves."""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import Engine

from agent.report import uuid7
from cloud.ingest.ingest import ingest
from cloud.ingest.parcels import Message, Parcel, open_message
from cloud.rules import PictureRules
from cloud.store.blobs import BlobFolder
from cloud.store.coverage import Told
from cloud.store.database import migrate, open_database
from cloud.store.writing import row_maker
from contract.events import EventBatch, PassEvent
from contract.health import Board, Coverage, Heartbeat
from contract.topics import Channel, Topic
from rehearsal.postgres import Postgres

DOORS, BATCH, TURNS = 1_000, 500, 6
NOW = datetime.now(UTC).replace(minute=40, second=0, microsecond=0)
BOOTS = [uuid4() for _ in range(DOORS)]


def main() -> None:
    """Print CPU microseconds of the consumer's process: SQLite is part of it, PostgreSQL is not."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'CPU us of the consumer':32} {'heartbeat':>10} {'all told anew':>14} {'event':>7}")
        _measure("SQLite", f"sqlite:///{folder}/beats.sqlite", Path(folder))
        server = Postgres().start()
        try:
            _measure("PostgreSQL", server.new_database(), Path(folder))
        finally:
            server.stop(remove=True)


def _measure(name: str, url: str, folder: Path) -> None:
    engine = open_database(url)
    migrate(engine)
    told = Told()
    costs: dict[str, list[float]] = {"steady": [], "anew": [], "event": []}
    for turn in range(TURNS):  # side by side, so that what else the machine does weighs on all three
        costs["steady"].append(_cost(engine, folder, lambda turn=turn: _beats(2 * turn), lambda: told))  # type: ignore[misc]
        costs["anew"].append(_cost(engine, folder, lambda turn=turn: _beats(2 * turn + 1), Told))  # type: ignore[misc]
        costs["event"].append(_cost(engine, folder, lambda turn=turn: _events(turn), Told))  # type: ignore[misc]
    engine.dispose()
    steady, anew, event = (sorted(one[1:])[len(one[1:]) // 2] for one in costs.values())
    print(f"{name:32} {steady:10.0f} {anew:14.0f} {event:7.0f}")


def _cost(engine: Engine, folder: Path, made: Callable[[], Sequence[Message]], told: Callable[[], Told]) -> float:
    messages, make_row = made(), row_maker(engine)
    begun = time.process_time()
    for start in range(0, len(messages), BATCH):
        parcels: list[Parcel] = [
            open_message(one, now=NOW, pictures=PictureRules(), make_row=make_row)
            for one in messages[start : start + BATCH]
        ]
        ingest(engine, BlobFolder(folder), parcels, now=NOW, told=told())
    return (time.process_time() - begun) / len(messages) * 1e6


def _beats(turn: int) -> list[Message]:
    """A heartbeat of every door, a little later each time."""
    minutes = (*[60] * 25, min(40, turn))
    since = NOW.replace(minute=0) - timedelta(hours=25)
    told = Coverage(since=since, open=minutes, seen=minutes, today=0.97, clock_synchronised=True)
    board = Board(temperature_c=55.1, under_voltage=False, throttled=False, disk_free_bytes=20_000_000_000)
    return [
        Message(
            Topic(name, Channel.HEALTH).text,
            Heartbeat(
                device=name, state="online", boot=boot, at=NOW, uptime_s=60.0 * turn, frames=900 * turn, passes=0, fps=15.0,
                board=board, coverage=told,
            ).encode(),
        )
        for name, boot in _doors()
    ]  # fmt: skip


def _events(turn: int) -> list[Message]:
    """A pass of every door, one a message."""
    return [
        Message(
            Topic(name, Channel.EVENTS).text,
            EventBatch(
                device=name,
                events=(
                    PassEvent.model_validate({
                        "id": uuid7(NOW), "at": NOW, "direction": "in", "label": "with_mask", "confidence": 0.9, "release": 1,
                        "accelerator": "edgetpu", "boot": boot, "sequence": turn,
                    }),
                ),
            ).encode(),
        )
        for name, boot in _doors()
    ]  # fmt: skip


def _doors() -> list[tuple[str, UUID]]:
    return [(f"door-{number:04d}", boot) for number, boot in enumerate(BOOTS)]


if __name__ == "__main__":
    main()
