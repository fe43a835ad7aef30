"""`python -m bench.cloud`: the consumer against C pipes and bare COPY, in one run, as ratios; needs Linux."""

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import psycopg

from bench.cloud.load import messages, publish
from bench.cloud.stage import Drain, Stage, psycopg_url
from cloud.ingest.parcels import Message, open_message
from cloud.rules import PictureRules
from cloud.store import copying
from cloud.store.arrivals import Seen, Source
from cloud.store.database import migrate, open_database
from rehearsal.processes import RehearsalError

PIECE = 5_000  # events a transaction of bare COPY, as the consumer's own batches
CORE_SHARE = 0.2  # of each consumer that is held back: all programs together then leave much of two cores idle


def main() -> int:
    """Print every measurement of every round, then the ratios of the medians."""
    parser = argparse.ArgumentParser(prog="bench.cloud")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=300_000, help="a round and way; in the table ten: twice as many")
    parser.add_argument("--doors", type=int, default=50)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the consumers")
    parser.add_argument(
        "--only", choices=TABLES, help="one table, by events a message, or of consumers held back; by default all"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mf-bench-") as name:
        Path(name).chmod(0o755)
        for which, measure in TABLES.items():
            if options.only in (None, which):
                _table(which, Path(name), measure, options)
    return 0


def one_a_message(stage: Stage, events: int, doors: int, seed: int) -> dict[str, Drain]:
    """One event a message: consumer and C pipe on both databases."""
    raw, postgres = stage.postgres.new_database(), stage.postgres.new_database()
    folder = stage.folder / f"round-{seed}"
    folder.mkdir()
    database = f"sqlite:///{folder / 'consumer.sqlite'}"
    with psycopg.connect(psycopg_url(raw), autocommit=True) as connection:
        connection.execute("CREATE TABLE raw (line text)")
    names = {key: f"{key}-{seed}" for key in ("c-postgres", "c-sqlite", "postgres", "sqlite")}
    stage.subscribe_in_c(names["c-postgres"])
    stage.subscribe_in_c(names["c-sqlite"])
    stage.subscribe(names["postgres"], postgres)
    stage.subscribe(names["sqlite"], database)
    publish(stage.broker.port, messages(events, each=1, doors=doors, rng=Random(seed), now=datetime.now(UTC)))
    as_lines = r"\copy raw from pstdin with (format csv, quote e'\x01', delimiter e'\x02')"
    copy = ["psql", "-q", "-d", psycopg_url(raw), "-c", as_lines]
    steps = ["CREATE TABLE raw (line)", ".mode ascii", '.separator "\\002" "\\n"', ".import /dev/stdin raw"]
    load = ["sqlite3", folder / "raw.sqlite", *steps]
    drains = {
        "mosquitto_sub | psql": stage.drain_in_c(names["c-postgres"], events, copy),
        "consumer, PostgreSQL": stage.drain([names["postgres"]], postgres, events),
        "mosquitto_sub | sqlite3": stage.drain_in_c(names["c-sqlite"], events, load),
        "consumer, SQLite": stage.drain([names["sqlite"]], database, events),
    }
    with psycopg.connect(psycopg_url(raw)) as connection:
        lines = [connection.execute("SELECT count(*) FROM raw").fetchone()]
    with closing(sqlite3.connect(folder / "raw.sqlite")) as file:
        lines += [file.execute("SELECT count(*) FROM raw").fetchone()]
    if lines != [(events,), (events,)]:
        raise RehearsalError(f"the C pipes stored {lines} lines instead of {events}")
    return drains


def ten_a_message(stage: Stage, events: int, doors: int, seed: int) -> dict[str, Drain]:
    """Ten events a message, PostgreSQL: one consumer, two that share, and COPY -> INSERT alone."""
    events *= 2
    load = messages(events, each=10, doors=doors, rng=Random(seed), now=datetime.now(UTC))
    alone, binary, single, double = (stage.postgres.new_database() for _ in range(4))
    one, two = f"single-{seed}", [f"double-{seed}-a", f"double-{seed}-b"]
    share = f"share=bench{seed}"
    stage.subscribe(one, single)
    for name in two:
        stage.subscribe(name, double, share)
    publish(stage.broker.port, load)
    return {
        "COPY, INSERT alone": copy_alone(stage, alone, load, binary=False),
        "binary COPY, INSERT alone": copy_alone(stage, binary, load, binary=True),
        "one consumer": stage.drain([one], single, events),
        "two consumers": stage.drain(two, double, events, share),
    }


def held_back(stage: Stage, events: int, doors: int, seed: int) -> dict[str, Drain]:
    """Ten events a message, PostgreSQL: one consumer, and two, each held to a fifth of a core: there is enough for both."""
    load = messages(events, each=10, doors=doors, rng=Random(seed), now=datetime.now(UTC))
    single, double = stage.postgres.new_database(), stage.postgres.new_database()
    two, group = ["double-a", "double-b"], "share=held"
    return {
        "one consumer": stage.feed(["single"], single, load, events, share=CORE_SHARE),
        "two consumers": stage.feed(two, double, load, events, group, share=CORE_SHARE),
    }


def copy_alone(stage: Stage, database: str, load: list[tuple[str, bytes]], *, binary: bool) -> Drain:
    """The same rows, made beforehand, by COPY -> temporary table -> INSERT ... ON CONFLICT; no counts, nothing else.

    In COPY's text, as always, or in the binary form that the consumer takes now: that is faster.
    """
    engine = open_database(database)
    migrate(engine)
    now, make_row = datetime.now(UTC), copying.row if binary else text_row
    parcels = [open_message(Message(*one), now=now, pictures=PictureRules(), make_row=make_row) for one in load]
    rows = [one.row for parcel in parcels for one in parcel.passes]
    names = sorted({parcel.device for parcel in parcels if parcel.device})
    begin, end = (copying.HEADER, copying.TRAILER) if binary else (b"", b"")
    pieces = [b"".join((begin, *rows[at : at + PIECE], end)) for at in range(0, len(rows), PIECE)]
    with engine.begin() as connection:
        copying.register_devices(connection, names, now)
    engine.dispose()
    into = copying.COPY if binary else copying.COPY.replace("(FORMAT binary)", "(FORMAT text)")
    insert = f"INSERT INTO events ({copying.COLUMNS}) SELECT {copying.COLUMNS} FROM incoming ORDER BY id ON CONFLICT DO NOTHING"
    before = stage.cpu()
    with psycopg.connect(psycopg_url(database), autocommit=True) as raw:
        raw.execute(copying.INCOMING)
        begun, own = time.perf_counter(), time.process_time()
        for piece in pieces:
            with raw.transaction(), raw.cursor() as cursor:
                with cursor.copy(into) as copy:
                    copy.write(piece)
                cursor.execute(insert)
        wall_s = time.perf_counter() - begun
        return Drain(len(rows), wall_s, stage.used(before) | {"programs": time.process_time() - own})


def text_row(
    known: str, device: str, seen: Seen, source: Source, line: str, confidence: str, sequence: int, synchronised: bool,
    fingerprint: bytes, received_at: datetime,
) -> bytes:  # fmt: skip
    """A line of COPY's text; nothing in it needs escaping."""
    claimed = seen.claimed_at.isoformat() if seen.claimed_at else "\\N"
    fields = (
        known, confidence, sequence, synchronised, f"\\\\x{fingerprint.hex()}", device, line, source.release, source.accelerator,
        source.boot, seen.at.isoformat(), claimed, seen.direction, seen.label, received_at.isoformat(),
    )  # fmt: skip
    return ("\t".join(map(str, fields)) + "\n").encode()


def _table(which: str, folder: Path, measure: Callable[[Stage, int, int, int], dict[str, Drain]], options: Any) -> None:
    rounds: list[dict[str, Drain]] = []
    for seed in range(options.rounds):
        own = folder / f"{which}-{seed}"
        own.mkdir(mode=0o755)
        stage = Stage(own, options.set)
        stage.start()
        try:
            rounds.append(measure(stage, options.events, options.doors, seed))
        finally:
            stage.stop()
        for name, drain in rounds[-1].items():
            print(
                f"{TITLES[which]}, round {seed + 1}: {name:26} {drain.rate:9,.0f} events/s, CPU us/event {drain.cpu_us}",
                flush=True,
            )
    for name, base in RATIOS[which]:
        ratio = median(one[name].rate / one[base].rate for one in rounds)
        print(f"{TITLES[which]}: {name} over {base}: {ratio:.2f}", flush=True)


TABLES = {"one": one_a_message, "ten": ten_a_message, "held": held_back}
TITLES = {"one": "one a message", "ten": "ten a message", "held": "ten a message, a fifth of a core each"}
RATIOS = {
    "one": (("consumer, PostgreSQL", "mosquitto_sub | psql"), ("consumer, SQLite", "mosquitto_sub | sqlite3")),
    "ten": (
        ("one consumer", "COPY, INSERT alone"),
        ("one consumer", "binary COPY, INSERT alone"),
        ("two consumers", "one consumer"),
    ),
    "held": (("two consumers", "one consumer"),),
}

if __name__ == "__main__":
    sys.exit(main())
