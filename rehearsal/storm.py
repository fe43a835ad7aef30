"""Consumers, broker and database killed at random moments, under doors that resend until the cloud has acknowledged."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import Engine, text

from contract.events import Acknowledgement, EventBatch, PassEvent
from contract.labels import LABELS
from contract.topics import Channel, Topic, every
from rehearsal.postgres import Postgres
from rehearsal.processes import Child, Mosquitto, wait_until

AGAIN_S = 2.0  # after which an unacknowledged event is sent once more
EACH = 10  # events a message
CONSUMERS = ("storm-a", "storm-b")


@dataclass(frozen=True, slots=True)
class Damage:
    """What the database says after the storm."""

    kills: dict[str, int]  # by victim
    made: int  # events that the doors made
    resent: int  # times that one was sent again
    rows: int
    lost: int  # made, not in the database
    invented: int  # in the database, never made
    tallied: int  # what the hour counts add up to
    wrong_boots: int  # boots whose tally is not what was made of them
    wrong_hours: int  # hour counts that the rows do not give
    quarantined: int


class Doors:
    """Many doors in one client, each with a boot and a sequence of its own."""

    def __init__(self, port: int, rng: Random, *, doors: int = 8) -> None:
        self.made: dict[UUID, tuple[str, PassEvent]] = {}
        self.resent = 0
        self._rng = rng
        self._boots = {f"storm-{number:02d}": UUID(int=rng.getrandbits(128)) for number in range(doors)}
        self._sequence = dict.fromkeys(self._boots, 0)
        self._waiting: dict[UUID, float] = {}  # since when
        self._lock = threading.Lock()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="storm-doors", protocol=MQTTv5)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(every(Channel.ACKS), 1)
        self._client.on_message = self._hear
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def send_new(self) -> None:
        """One message of a random door."""
        device = self._rng.choice(sorted(self._boots))
        events = tuple(self._pass(device) for _ in range(EACH))
        with self._lock:
            self.made |= {one.id: (device, one) for one in events}
            self._waiting |= dict.fromkeys((one.id for one in events), time.monotonic())
        self._publish(device, events)

    def send_again(self) -> None:
        """What has waited too long, as other messages than before."""
        now = time.monotonic()
        with self._lock:
            late = [known for known, since in self._waiting.items() if now - since > AGAIN_S][:2_000]
            self._waiting |= dict.fromkeys(late, now)
        self.resent += len(late)
        by_device: dict[str, list[PassEvent]] = {}
        for known in late:
            device, event = self.made[known]
            by_device.setdefault(device, []).append(event)
        for device, events in by_device.items():
            self._rng.shuffle(events)
            for start in range(0, len(events), EACH):
                self._publish(device, tuple(events[start : start + EACH]))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _publish(self, device: str, events: tuple[PassEvent, ...]) -> None:
        if self._client.is_connected():
            self._client.publish(
                Topic(device, Channel.EVENTS).text, EventBatch(device=device, events=events).encode(), 1
            )

    def _hear(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        answer = Acknowledgement.decode(bytes(message.payload), limit=1_000_000)
        with self._lock:
            for known in answer.stored:
                self._waiting.pop(known, None)

    def _pass(self, device: str) -> PassEvent:
        rng, sequence = self._rng, self._sequence[device]
        self._sequence[device] += 1
        at = (datetime.now(UTC) - timedelta(minutes=rng.randrange(1, 300))).replace(second=0, microsecond=0)
        return PassEvent(
            id=UUID(int=int(at.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | rng.getrandbits(62)), at=at,
            direction=rng.choice(("in", "out")), label=rng.choice(LABELS), confidence=rng.random(), release=4,
            accelerator="edgetpu", boot=self._boots[device], sequence=sequence,
        )  # fmt: skip


class Storm:
    """Two shared consumers on PostgreSQL or on one SQLite file, and a hand that kills."""

    def __init__(self, folder: Path, rng: Random, *, sqlite: bool = False) -> None:
        self._folder, self._rng = folder, rng
        self._broker, self._postgres = Mosquitto(folder / "broker"), None if sqlite else Postgres()
        self._database = f"sqlite:///{folder / 'storm.sqlite'}"
        self._consumers: dict[str, Child] = {}
        self._kills = dict.fromkeys((*CONSUMERS, "broker", *(() if sqlite else ("PostgreSQL",))), 0)

    def rage(
        self, rounds: int, open_database: Callable[[str], Engine], *, tell: Callable[[int], None] = lambda _number: None
    ) -> Damage:
        """So many kills at random moments; then everything may drain, and the database is asked."""
        self._broker.start()
        if self._postgres:
            self._postgres.start()
            self._database = self._postgres.new_database()
        done = threading.Event()
        doors = Doors(self._broker.port, self._rng)
        worker = threading.Thread(target=self._work, args=(doors, done))
        try:
            for name in CONSUMERS:
                self._start(name)
            worker.start()
            wait_until(
                lambda: bool(doors.made) and doors.waiting < len(doors.made), within_s=60, what="the first answers"
            )
            for number in range(rounds):
                time.sleep(self._rng.uniform(0.1, 1.5))
                self._kill_one()
                tell(number + 1)
            done.set()
            worker.join()
            self._drain(doors)
            return self._count(doors, open_database(self._database))
        finally:
            done.set()
            doors.close()
            for child in self._consumers.values():
                child.stop()
            self._broker.stop()
            if self._postgres:
                self._postgres.stop(remove=True)

    def _work(self, doors: Doors, done: threading.Event) -> None:
        while not done.wait(0.02):
            doors.send_new()
            doors.send_again()

    def _kill_one(self) -> None:
        victim = self._rng.choice(sorted(self._kills))
        self._kills[victim] += 1
        pause_s = self._rng.uniform(0, 0.8)
        if victim == "broker":
            self._broker.kill()
            time.sleep(pause_s)
            self._broker.start()
        elif self._postgres and victim == "PostgreSQL":
            self._postgres.kill()
            time.sleep(pause_s)
            self._postgres.start()
        else:
            self._consumers[victim].kill()
            time.sleep(pause_s)
        self._supervise()

    def _supervise(self) -> None:
        for name, child in self._consumers.items():
            if not child.running:
                self._start(name)

    def _start(self, name: str) -> None:
        values = (
            f"broker={self._broker.url}", f"data={self._folder / 'data'}", f"database={self._database}", f"client_id={name}",
            "share=storm", "batch_wait_ms=5",
        )  # fmt: skip
        options = [part for value in values for part in ("--set", value)]
        command = [sys.executable, "-m", "cloud", "consume", *options]
        self._consumers[name] = Child(name, command, log=self._folder / f"{name}.log")

    def _drain(self, doors: Doors) -> None:
        def empty() -> bool:
            self._supervise()
            doors.send_again()
            return doors.waiting == 0

        wait_until(empty, within_s=180, what="the acknowledgement of every event")

    def _count(self, doors: Doors, engine: Engine) -> Damage:
        for child in self._consumers.values():
            child.stop()
        with engine.connect() as connection:
            rows = {UUID(str(one)) for one in connection.execute(text("SELECT id FROM events")).scalars()}
            hours = {(*row[:-1],): row[-1] for row in connection.execute(text(HOURS))}
            given = {(*row[:-1],): row[-1] for row in connection.execute(text(GIVEN[engine.dialect.name]))}
            boots = {
                row[0]: (row[1], row[2])
                for row in connection.execute(text("SELECT device, stored, expected FROM boots"))
            }
            quarantined = connection.execute(text("SELECT count(*) FROM quarantine")).scalar_one()
        engine.dispose()
        made: dict[str, int] = {}
        for device, _ in doors.made.values():
            made[device] = made.get(device, 0) + 1
        return Damage(
            kills=self._kills,
            made=len(doors.made),
            resent=doors.resent,
            rows=len(rows),
            lost=len(doors.made.keys() - rows),
            invented=len(rows - doors.made.keys()),
            tallied=int(sum(hours.values())),
            wrong_boots=sum(boots.get(device) != (number, number) for device, number in made.items()),
            wrong_hours=sum(hours.get(key) != given.get(key) for key in hours.keys() | given.keys()),
            quarantined=quarantined,
        )


HOURS = "SELECT device, hour, direction, label, release, accelerator, passes FROM hours"
OF_THE_ROWS = (
    "SELECT device, {}, direction, label, release, accelerator, count(*) FROM events GROUP BY 1, 2, 3, 4, 5, 6"
)
GIVEN = {
    "postgresql": OF_THE_ROWS.format("date_trunc('hour', at, 'UTC')"),
    "sqlite": OF_THE_ROWS.format("substr(at, 1, 13) || ':00:00.000000'"),
}
