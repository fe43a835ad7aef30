"""Kills without a goodbye, and what the cloud's database then says about them."""

import os
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from rehearsal.processes import Child, Mosquitto, wait_until

DEVICE = "door-1"


@dataclass(frozen=True, slots=True)
class Toll:
    """What became of the events of a door that was killed again and again."""

    kills: int
    meant: int  # events that were given to the outbox
    stored: int  # of these, what the outbox said it had
    rows: int  # events in the cloud's database
    tallied: int  # what its hour counts add up to
    lost: int  # stored at the door, not in the database
    invented: int  # in the database, never meant


class Scene:
    """A real broker, the real consumer on SQLite, and one door without eyes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = Mosquitto(folder / "broker")
        self.cloud: Child | None = None
        self._children: list[Child] = []

    def start_cloud(self) -> Child:
        command = ["consume", "--set", f"broker={self.broker.url}", "--set", f"data={self.folder / 'cloud'}"]
        self.cloud = self._start("cloud", "cloud", *command)
        return self.cloud

    def start_door(self, *, rate: float, drain_per_s: float = 60.0) -> Child:
        return self._start(
            "door", "rehearsal.blind", DEVICE, "--broker", self.broker.url, "--outbox", str(self.folder / "outbox"),
            "--diary", str(self.folder / "diary"), "--rate", str(rate), "--drain-per-s", str(drain_per_s),
        )  # fmt: skip

    def stored(self) -> dict[str, str]:
        """Events in the cloud's database: id to the moment they were received."""
        path = self.folder / "cloud" / "maskfleet.sqlite"
        return {str(row[0]).replace("-", ""): str(row[1]) for row in _ask(path, "SELECT id, received_at FROM events")}

    def times(self) -> list[tuple[datetime, bool]]:
        """When the database says each event was, and whether its door knew the time."""
        rows = _ask(
            self.folder / "cloud" / "maskfleet.sqlite", "SELECT at, clock_synchronised FROM events ORDER BY sequence"
        )
        return [(datetime.fromisoformat(str(at)).replace(tzinfo=UTC), bool(sure)) for at, sure in rows]

    def tallied(self) -> int:
        rows = _ask(self.folder / "cloud" / "maskfleet.sqlite", "SELECT coalesce(sum(passes), 0) FROM hours")
        return int(str(rows[0][0])) if rows else 0

    def diary(self, word: str) -> set[str]:
        """The ids that the door wrote down as `meant` or `stored`."""
        path = self.folder / "diary"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return {line.split()[1] for line in lines if line.startswith(word)}

    def log(self, name: str) -> str:
        """What the `cloud` or the `door` has said so far."""
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> None:
        for child in self._children:
            child.stop()
        self.broker.stop()

    def _start(self, name: str, module: str, *arguments: str) -> Child:
        log = self.folder / f"{name}.log"
        child = Child(
            name, [sys.executable, "-m", module, *arguments], log=log, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
        self._children.append(child)
        return child


def kill_again_and_again(
    scene: Scene, *, kills: int, rate: float, rng: Random, tell: Callable[[int], None] = lambda _number: None
) -> Toll:
    """Kill the door at random moments (every tenth time the broker, every tenth the consumer), then let everything drain."""
    scene.broker.start()
    scene.start_cloud()
    for number in range(kills):
        before = len(scene.diary("stored"))
        door = scene.start_door(rate=rate)
        wait_until(lambda before=before: len(scene.diary("stored")) > before, within_s=60, what="the door counting")  # type: ignore[misc]
        time.sleep(rng.random() * 0.8)
        door.kill()
        if number % 10 == 4:
            scene.broker.kill()
            scene.broker.start()
        if number % 10 == 8 and scene.cloud:
            scene.cloud.kill()
            scene.start_cloud()
        tell(number + 1)
    last = scene.start_door(rate=0, drain_per_s=5000)
    wait_until(lambda: not last.running, within_s=300, what="the outbox emptying")
    meant, stored, rows = scene.diary("meant"), scene.diary("stored"), set(scene.stored())
    return Toll(kills, len(meant), len(stored), len(rows), scene.tallied(), len(stored - rows), len(rows - meant))


def _ask(path: Path, query: str) -> list[tuple[object, ...]]:
    if not path.exists():
        return []
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()
