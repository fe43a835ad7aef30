"""Delivery measured: `python -m bench.delivery wear|week|drain|kills`; no Pi and no SD card here, the counts are of writes."""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from agent.clock import Reading, Stamp
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.report import Reporter
from agent.vision.counter import Crossing
from contract.events import Accelerator, Direction
from contract.labels import LABELS
from rehearsal.killing import Scene, kill_again_and_again
from rehearsal.processes import wait_until

EVERY_S = 3.0  # between two passes of a busy door
WEEK = 7 * 24 * 1200
CAP = 64 * 1024 * 1024


def main() -> int:
    """Print one measurement as JSON."""
    parser = argparse.ArgumentParser(prog="bench.delivery")
    parser.add_argument("what", choices=("wear", "week", "drain", "kills"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--events", type=int, default=20_000, help="of the back-log that is drained")
    parser.add_argument("--folder", type=Path, help="where the files are; by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.what == "wear":
            result = wear(folder)
        elif options.what == "week":
            result = week(folder)
        elif options.what == "drain":
            result = drain(folder, options.events)
        else:
            result = kills(folder, options.kills)
    print(json.dumps(result))
    return 0


def wear(folder: Path) -> dict[str, object]:
    """One hour of a door with a pass every 3 s, each committed by itself and acknowledged by itself."""
    box = Outbox.open(folder / "outbox", cap_bytes=CAP)
    make = _maker()
    before = _written()
    for _ in range(1200):
        letter = make()
        box.put_events([letter])
        box.forget([letter.id], {})
    single = _written() - before
    before = _written()
    for _ in range(60):
        letters = [make() for _ in range(20)]
        box.put_events(letters)
        box.forget([one.id for one in letters], {})
    grouped = _written() - before
    box.close()
    return {
        "events": 1200, "commits, one by one": 2400, "MB written, one by one": round(single / 1e6, 1),
        "bytes per event, one by one": single // 1200, "commits, by twenty": 120,
        "MB written, by twenty": round(grouped / 1e6, 1), "bytes per event, by twenty": grouped // 1200,
    }  # fmt: skip


def week(folder: Path) -> dict[str, object]:
    """A week without a broker at one pass every 3 s, under a cap of 64 MiB."""
    box = Outbox.open(folder / "outbox", cap_bytes=CAP)
    make, refused, begun = _maker(), 0, time.perf_counter()
    for _ in range(WEEK // 100):
        refused += box.put_events([make() for _ in range(100)])
    took_s = time.perf_counter() - begun
    files = sum(path.stat().st_size for path in (folder / "outbox").glob("events.db*"))
    begun = time.perf_counter()
    box.close()
    again = Outbox.open(folder / "outbox", cap_bytes=CAP)
    opened_s = time.perf_counter() - begun
    begun = time.perf_counter()
    for _ in range(20):
        again.forget([one.id for one in again.pending_events(400)], {})
    result = {
        "events": WEEK, "refused": refused, "lost": again.events_lost, "waiting after 20 x 400 left": again.waiting,
        "MiB against the cap": round(box.waiting_bytes / 2**20, 1), "MiB of files": round(files / 2**20, 1),
        "s to put": round(took_s, 1), "s to open": round(opened_s, 2),
        "ms to read and forget 400": round((time.perf_counter() - begun) * 50, 1),
    }  # fmt: skip
    again.close()
    return result


def drain(folder: Path, events: int) -> dict[str, object]:
    """A back-log through a real broker and the real consumer, while the door goes on counting one pass a second."""
    result: dict[str, object] = {}
    for name, drain_per_s in (("as set", 60.0), ("unlimited", 10_000.0)):
        scene = Scene(folder / name.replace(" ", "-"))
        make = _maker()
        box = Outbox.open(scene.folder / "outbox", cap_bytes=CAP)
        backlog = [make() for _ in range(events if drain_per_s > 60 else events // 15)]
        for start in range(0, len(backlog), 100):
            box.put_events(backlog[start : start + 100])
        box.close()
        scene.broker.start()
        scene.start_cloud()
        old = {one.id.hex for one in backlog}
        try:
            wait_until(
                lambda scene=scene: "connected to" in scene.log("cloud"),
                within_s=60,
                what="the consumer",
            )  # type: ignore[misc]
            scene.start_door(rate=1.0, drain_per_s=drain_per_s)
            wait_until(lambda scene=scene: len(scene.stored()) > 0, within_s=60, what="the first events")  # type: ignore[misc]
            begun, there = time.monotonic(), len(old & scene.stored().keys())
            met = _waits(scene, old)
            took_s = time.monotonic() - begun
        finally:
            scene.stop()
        result[name] = {
            "back-log": len(backlog), "s": round(took_s, 1), "events/s": round((len(backlog) - there) / took_s, 1),
            "times real time": round((len(backlog) - there) / took_s * EVERY_S, 1), "live events meanwhile": len(met),
            "live, s from outbox to database": {"median": round(sorted(met)[len(met) // 2], 2), "most": round(max(met), 2)},
        }  # fmt: skip
    return result


def kills(folder: Path, number: int) -> dict[str, object]:
    """SIGKILL at random moments, then a drain."""
    scene = Scene(folder)
    try:
        toll = kill_again_and_again(
            scene, kills=number, rate=100, rng=Random(1), tell=lambda done: print(done, "kills", file=sys.stderr)
        )
    finally:
        scene.stop()
    return dataclasses.asdict(toll)


def _waits(scene: Scene, old: set[str]) -> list[float]:
    """Until the back-log is stored: how long each event that was counted meanwhile took from the diary to the database, s."""
    written: dict[str, float] = {}
    met: dict[str, float] = {}
    while True:
        now = time.monotonic()
        for known in scene.diary("stored") - written.keys():
            written[known] = now
        there = scene.stored()
        for known in written.keys() - met.keys():
            if known in there:
                met[known] = now - written[known]
        if old <= there.keys() and met:
            return list(met.values())
        time.sleep(0.05)


def _maker() -> Callable[[], Letter]:
    now = datetime.now(UTC) - timedelta(minutes=2)
    reporter = Reporter(
        boot=uuid4(), release=lambda _at_s: 4, accelerator=Accelerator.EDGE_TPU, resolution_s=60,
        read=lambda: Reading(now, Stamp(UUID(int=1), 1.0), trusted=True),
    )  # fmt: skip
    rng = Random(5)

    def make() -> Letter:
        label = rng.choices(LABELS, (80, 15, 5))[0]
        event, _ = reporter.event(Crossing(1.0, rng.choice(list(Direction)), label, rng.random()))
        return Letter(event.id, event.encode())

    return make


def _written() -> int:
    """Bytes that this process has handed to write calls."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["wchar"])


if __name__ == "__main__":
    sys.exit(main())
