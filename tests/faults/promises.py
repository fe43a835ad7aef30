"""The writer of a power cut's replay: works with an outbox, and says after each step what it may rely on."""

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from uuid import UUID

from agent.clock import Reading, Stamp
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter

CAP = 400_000
BOOT = UUID(int=77)
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Shelves:
    """What an outbox holds, by id, and what it says it gave up."""

    events: frozenset[str]
    crops: frozenset[str]
    events_lost: int
    crops_lost: int

    def encode(self) -> bytes:
        return json.dumps([sorted(self.events), sorted(self.crops), self.events_lost, self.crops_lost]).encode()

    @classmethod
    def decode(cls, text: bytes) -> Self:
        events, crops, events_lost, crops_lost = json.loads(text)
        return cls(frozenset(events), frozenset(crops), events_lost, crops_lost)


def look(box: Outbox) -> Shelves:
    """Events without a time count like others: they are stored."""
    box_events = {one.id.hex for one in (*box.pending_events(10**6), *box._events.to_date(10**6))}
    crops = {letter.id.hex for letter in box.pending_crops(10**6)}
    return Shelves(frozenset(box_events), frozenset(crops), box.events_lost, box.crops_lost)


def letter(rng: random.Random, size: int, *, protected: bool = False, stamped: bool = False) -> Letter:
    """With a payload that tells whose it is."""
    known = UUID(int=rng.getrandbits(128))
    stamp = Stamp(BOOT, rng.random() * 1000) if stamped else None
    return Letter(known, (known.bytes * (size // 16 + 1))[: max(16, size)], protected, stamp)


def steps(box: Outbox, rng: random.Random, rounds: int) -> Iterator[Callable[[], object]]:
    """What a door does, in no particular order: batches of events, crops, acknowledgements, a time that becomes known."""
    for _ in range(rounds):
        what = rng.random()
        if what < 0.45:
            batch = [letter(rng, 250, stamped=rng.random() < 0.2) for _ in range(rng.randint(1, 20))]
            yield lambda batch=batch: box.put_events(batch)  # type: ignore[misc]
        elif what < 0.7:
            crop = letter(rng, rng.randint(2_000, 20_000), protected=rng.random() < 0.2)
            yield lambda crop=crop: box.put_crop(crop)  # type: ignore[misc]
        elif what < 0.75:
            yield lambda: box.date_events(
                Reading(NOON, Stamp(BOOT, 5000.0), trusted=True), lambda payload, _at, _sure: payload
            )
        elif what < 0.8:
            refused = {one.id: "poison" for one in box.pending_events(1)}
            yield lambda refused=refused: box.forget([], refused)  # type: ignore[misc]
        else:
            known = [one.id for one in (*box.pending_events(rng.randint(1, 40)), *box.pending_crops(1))]
            yield lambda known=known: box.forget(known, {})  # type: ignore[misc]


def main(folder: Path, promises: Path, rounds: int, seed: int, synchronous: str) -> None:
    """Ends as a power cut ends: without closing anything."""
    rng = random.Random(seed)
    box = Outbox.open(folder, cap_bytes=CAP)
    for shelf in (box._events, box._crops):
        shelf._db.execute(f"PRAGMA synchronous = {synchronous}")
    told = os.open(promises, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(told, look(box).encode())
    for step in steps(box, rng, rounds):
        step()
        os.write(told, look(box).encode())
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
