"""How long a quiet door waits for its acknowledgement while another floods the cloud with rubbish.

`python -m tests.fuzz.flood` prints both waits and their ratio (`--postgres` for a cluster of its own, else SQLite).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from uuid import UUID

from sqlalchemy import text

from bench.cloud.load import Line, messages
from cloud.store.database import migrate, open_database
from contract.topics import Channel, Topic, shard_of
from rehearsal.postgres import Postgres
from rehearsal.processes import Child, Mosquitto, wait_until
from tests.cloud.conftest import Door, batch, pass_event, wait_for_log
from tests.fuzz.mischief import Fate, Mischief, delivered

PAUSE_S, PATIENCE_S = 0.03, 30.0
RATE = 5_000  # messages of the flood a second
DIFFERENT = 2_000  # of them, over and over
DEALT_WITH = (
    "SELECT (SELECT coalesce(sum(deliveries), 0) FROM quarantine) + "
    "(SELECT coalesce(sum(stored), 0) FROM boots WHERE device = 'flood')"
)


@dataclass(frozen=True, slots=True)
class Waits:
    """From a pass's publication until its door heard that it is stored."""

    samples: int
    alone_p50_ms: float
    alone_p99_ms: float
    flooded_p50_ms: float
    flooded_p90_ms: float
    flooded_p99_ms: float
    bad_a_second: float  # that the cloud dealt with meanwhile

    @property
    def ratio(self) -> float:
        """Of the p99."""
        return self.flooded_p99_ms / self.alone_p99_ms


def measure(broker: Mosquitto, database: str, samples: int, kind: str = "bad", rate: int = RATE) -> Waits:
    """Both waits in one run; a consumer must be running."""
    door = Door(broker, Topic("quiet", Channel.ACKS).text)
    try:
        waits(door, 20)
        alone, known = waits(door, samples), _dealt_with(database)
        with flooded(broker.port, kind, rate):
            wait_until(lambda: _dealt_with(database) > known, within_s=60, what="the flood")
            before, begun = _dealt_with(database), time.perf_counter()
            wet = waits(door, samples)
            dealt = (_dealt_with(database) - before) / (time.perf_counter() - begun)
    finally:
        door.close()
    return Waits(samples, _ms(alone, 0.5), _ms(alone, 0.99), _ms(wet, 0.5), _ms(wet, 0.9), _ms(wet, 0.99), round(dealt))


def waits(door: Door, samples: int) -> list[float]:
    """Seconds, one pass after the other; whatever takes longer than PATIENCE_S is given up and counts as that."""
    found = []
    for number in range(samples):
        event = pass_event(number)
        begun = time.perf_counter()
        door.send("quiet", Channel.EVENTS, batch("quiet", event))
        while not _heard(door, event.id):
            if time.perf_counter() - begun > PATIENCE_S:
                break
            time.sleep(0.001)
        found.append(time.perf_counter() - begun)
        time.sleep(PAUSE_S)
    return found


@contextmanager
def flooded(port: int, kind: str = "bad", rate: int = RATE) -> Iterator[None]:
    """One door, a process of its own, that sends so many messages a second, or as many as the broker takes."""
    command = [sys.executable, "-m", "tests.fuzz.flood", "--flood", str(port), "--kind", kind, "--rate", str(rate)]
    child = subprocess.Popen(command)
    try:
        yield
    finally:
        child.kill()
        child.wait()


def pour(port: int, kind: str, rate: int) -> None:
    """One door's messages without an end, in pieces, each confirmed by the broker before the next."""
    load, piece = KINDS[kind](), max(1, rate // 100)
    begun, sent = time.perf_counter(), 0
    with Line(port, "flood") as line:
        while True:
            line.send([load[(sent + number) % len(load)] for number in range(piece)])
            sent += piece
            time.sleep(max(0.0, begun + sent / rate - time.perf_counter()))


def bad_ones() -> list[tuple[str, bytes]]:
    """Rubbish of every sort, under the name of one door: its own shard, and now and then another."""
    supply, made = Mischief(Random(3), datetime.now(UTC)), list[tuple[str, bytes]]()
    while len(made) < DIFFERENT:
        sent = supply.next()
        if sent.fate is Fate.BAD and delivered(sent.message.topic):
            channel = sent.message.topic.rpartition("/")[2]
            shard = shard_of("flood") if len(made) % 10 else f"{len(made) % 256:02x}"
            made.append((f"mf/v1/{shard}/flood/{channel}", sent.message.payload))
    return made


def good_ones() -> list[tuple[str, bytes]]:
    """Sound passes of one door, ten a message."""
    now = datetime.now(UTC)
    topic = Topic("flood", Channel.EVENTS).text
    load = messages(10 * DIFFERENT, each=10, doors=1, rng=Random(3), now=now)
    return [(topic, payload.replace(b"door-0000", b"flood")) for _, payload in load]


KINDS: dict[str, Callable[[], list[tuple[str, bytes]]]] = {"bad": bad_ones, "good": good_ones}


def main() -> int:
    """Print the waits as JSON."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.flood", description=__doc__)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL of its own instead of SQLite")
    parser.add_argument("--kind", choices=KINDS, default="bad")
    parser.add_argument("--rate", type=int, default=RATE, help="messages of the flood a second")
    parser.add_argument("--flood", type=int, metavar="PORT", help="only flood the broker there, without an end")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the consumer")
    chosen = parser.parse_args()
    if chosen.flood:
        pour(chosen.flood, chosen.kind, chosen.rate)
    with tempfile.TemporaryDirectory(prefix="mf-flood-") as name:
        folder = Path(name)
        cluster = Postgres().start() if chosen.postgres else None
        broker = Mosquitto(folder / "broker").start()
        database = cluster.new_database() if cluster else f"sqlite:///{folder / 'flood.sqlite'}"
        engine = open_database(database)
        migrate(engine)
        engine.dispose()
        values = (f"broker={broker.url}", f"data={folder / 'data'}", f"database={database}", *chosen.set)
        options = [part for value in values for part in ("--set", value)]
        consumer = Child("cloud", [sys.executable, "-m", "cloud", "consume", *options], log=folder / "cloud.log")
        try:
            wait_for_log(consumer, "connected to the broker")
            told = measure(broker, database, chosen.samples, chosen.kind, chosen.rate)
            consumer.require_running()
        finally:
            consumer.stop()
            broker.stop()
            if cluster:
                cluster.stop(remove=True)
    print(json.dumps(asdict(told) | {"ratio": round(told.ratio, 2)}))
    return 0


def _heard(door: Door, known: UUID) -> bool:
    return known in door.stored[-1_000:]


def _dealt_with(database: str) -> int:
    """Messages of the flood that were kept, or counted; of a sound one, its passes."""
    engine = open_database(database)
    with engine.connect() as connection:
        found = connection.execute(text(DEALT_WITH)).scalar_one()
    engine.dispose()
    return int(found)


def _ms(seconds: list[float], share: float) -> float:
    return round(1000 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))], 1)


if __name__ == "__main__":
    sys.exit(main())
