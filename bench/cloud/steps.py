"""`python -m bench.cloud.steps`: CPU microseconds an event of each step from the broker's bytes to the commit, each alone."""

import argparse
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from random import Random
from statistics import median

from bench.cloud.load import messages, packet
from bench.cloud.stage import family_s
from cloud.app import prepare_interpreter
from cloud.ingest.ingest import Outcome, ingest
from cloud.ingest.parcels import Message, Parcel, open_message
from cloud.ingest.receiver import FastReceiver
from cloud.rules import PictureRules
from cloud.store.blobs import BlobFolder
from cloud.store.database import migrate, open_database
from cloud.store.writing import row_maker
from rehearsal.postgres import Postgres

CHUNK = 256 * 1024  # bytes that the consumer reads at once
NOTHING = "         -"


@dataclass(slots=True)
class Costs:
    """CPU seconds of one round's steps."""

    receive: float = 0.0
    open: float = 0.0
    write: float = 0.0
    answer: float = 0.0
    server: float = 0.0  # PostgreSQL's own; SQLite's is in `write`


def main() -> int:
    """Print medians of the rounds; the databases take turns."""
    parser = argparse.ArgumentParser(prog="bench.cloud.steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=40_000, help="a round")
    parser.add_argument("--batch", type=int, default=5_000, help="events a transaction")
    parser.add_argument("--doors", type=int, default=50)
    parser.add_argument("--each", type=int, nargs="*", default=[1, 10], help="events a message")
    options = parser.parse_args()
    prepare_interpreter()
    server = Postgres(fsync="on", shared_buffers="128MB", max_wal_size="2GB").start()
    print(
        f"{'us of CPU an event':24} {'receive':>9} {'open':>9} {'write':>9} {'answer':>9} {'consumer':>9} {'PostgreSQL':>10}"
    )
    try:
        with tempfile.TemporaryDirectory(prefix="mf-steps-") as name:
            for each in options.each:
                costs: dict[str, list[Costs]] = {"SQLite": [], "PostgreSQL": []}
                for seed in range(options.rounds):
                    load = messages(
                        options.events, each=each, doors=options.doors, rng=Random(seed), now=datetime.now(UTC)
                    )
                    file = f"sqlite:///{name}/{each}-{seed}.sqlite"
                    costs["SQLite"].append(_round(file, load, Path(name), options.batch // each, None))
                    costs["PostgreSQL"].append(
                        _round(server.new_database(), load, Path(name), options.batch // each, server.pid)
                    )
                for database, rounds in costs.items():
                    _print(f"{database}, {each} a message", rounds, options.events)
    finally:
        server.stop(remove=True)
    return 0


def _round(url: str, load: Sequence[tuple[str, bytes]], folder: Path, batch: int, server: int | None) -> Costs:
    engine = open_database(url)
    migrate(engine)
    costs = Costs()
    heard: list[Message] = []
    receiver = FastReceiver("steps", heard.extend, answer_expiry_s=60)
    pieces = _pieces(load)
    costs.receive = _cpu(lambda: [receiver.walk(piece, None) for piece in pieces])
    now, rules, make_row = datetime.now(UTC), PictureRules(), row_maker(engine)
    parcels: list[Parcel] = []
    costs.open = _cpu(
        lambda: parcels.extend([open_message(one, now=now, pictures=rules, make_row=make_row) for one in heard])
    )
    batches = [parcels[start : start + batch] for start in range(0, len(parcels), batch)]
    outcomes: list[Outcome] = []
    before = family_s(server) if server else 0.0
    costs.write = _cpu(lambda: outcomes.extend([ingest(engine, BlobFolder(folder), one, now=now) for one in batches]))
    costs.server = family_s(server) - before if server else 0.0
    costs.answer = _cpu(lambda: [_answer(outcome) for outcome in outcomes])
    engine.dispose()
    return costs


def _answer(outcome: Outcome) -> list[bytes]:
    return list(chain.from_iterable(answer.payloads() for answer in outcome.acknowledgements.values()))


def _pieces(load: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """What a broker would send, in whole packets of MQTT 5 about as long as one reading."""
    pieces, piece = [], bytearray()
    for number, (topic, payload) in enumerate(load):
        name = topic.encode()
        piece += packet(0x32, struct.pack(f"!H{len(name)}sHB", len(name), name, number % 65_535 + 1, 0) + payload)
        if len(piece) > CHUNK:
            pieces.append(bytes(piece))
            piece.clear()
    return [*pieces, bytes(piece)]


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _print(name: str, rounds: Sequence[Costs], events: int) -> None:
    us = {step: median(getattr(one, step) for one in rounds) / events * 1e6 for step in Costs.__slots__}
    consumer = us["receive"] + us["open"] + us["write"] + us["answer"]
    server = f"{us['server']:10.2f}" if us["server"] else NOTHING
    steps = " ".join(f"{us[step]:9.2f}" for step in ("receive", "open", "write", "answer"))
    print(f"{name:24} {steps} {consumer:9.2f} {server}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
