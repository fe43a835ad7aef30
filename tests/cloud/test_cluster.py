"""No part of it is one machine: three brokers that agree, PostgreSQL, an object store; a broker dies, and nothing is lost."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.delivery.uplink import Uplink
from cloud.loop import picture_place
from cloud.store import schema
from cloud.store.database import migrate, open_database
from contract.crops import Crop
from contract.health import Heartbeat
from rehearsal.nats import Balancer, NatsCluster
from rehearsal.postgres import Postgres
from rehearsal.processes import wait_until
from rehearsal.town import TOWN, Town
from tests.cloud.conftest import StartCloud, pass_event, wait_for_log
from tests.cloud.s3_kit import REGION, ObjectStore

PASSES, CROPS, TURNS = 30, 2, 20  # of each door: in each turn, and how often


class Door(threading.Thread):
    """The agent's own outbox and uplink, fed with passes and crops; over when the cloud has said that all is stored."""

    def __init__(self, name: str, port: int, folder: Path, crops: list[tuple[UUID, bytes]]) -> None:
        super().__init__(name=name)
        self.sent: set[UUID] = set()
        self.crops, self.turn = crops, 0
        self.left: int | None = None
        self._give_up = threading.Event()
        self._folder, self._port = folder, port

    def run(self) -> None:
        box = Outbox.open(self._folder / self.name, cap_bytes=10**8)  # in the thread that owns it
        will = Heartbeat.from_parsed({"device": self.name, "state": "offline", "boot": str(uuid4())})
        uplink = Uplink(
            self.name, f"mqtt://127.0.0.1:{self._port}", box, last_will=will, protocol="3.1.1", drain_per_s=1000.0
        )
        uplink.start()
        boot, sequence = uuid4(), 0
        while (box.waiting or self.turn < TURNS) and not self._give_up.is_set():
            if self.turn < TURNS:
                passes = [pass_event(sequence + one, boot=boot) for one in range(PASSES)]
                box.put_events([Letter(one.id, one.encode()) for one in passes])
                self.sent |= {one.id for one in passes}
                for known, payload in self.crops[self.turn * CROPS : (self.turn + 1) * CROPS]:
                    assert box.put_crop(Letter(known, payload))
                sequence += PASSES
                self.turn += 1
            for _ in range(4):
                uplink.pump()
                time.sleep(0.05)
        self.left = box.waiting
        uplink.stop(lambda: will, within_s=1)
        box.close()

    def stop(self) -> None:
        self._give_up.set()
        self.join(20)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    brokers = NatsCluster(tmp_path / "nats").start()
    yield brokers
    brokers.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    server = ObjectStore(tmp_path)
    yield server
    server.stop()


def crops_of(name: str) -> list[tuple[UUID, bytes]]:
    """Drawn faces as a door would send them."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    town = Town(len(name), start=end - timedelta(days=3), end=end, doors=(TOWN[0],))
    found: list[tuple[UUID, bytes]] = []
    for sent in town.messages(control_per_day=30):
        if sent.truth and len(found) < CROPS * TURNS:
            crop = Crop.decode(sent.payload, device=TOWN[0].name)
            header = crop.header.model_copy(update={"device": name, "id": uuid4()})
            found.append((header.id, Crop(header, crop.jpeg).encode()))
    assert len(found) == CROPS * TURNS
    return found


@pytest.mark.timeout(240)
def test_a_broker_of_three_is_killed_in_the_middle_and_nothing_is_lost_or_doubled(
    cluster: NatsCluster, store: ObjectStore, postgres: Postgres, start_cloud: StartCloud, tmp_path: Path
) -> None:
    url, bucket, balancer = postgres.new_database(), store.bucket(), Balancer(cluster.mqtt_ports)
    consumer = start_cloud("consume", **{
        "broker": f"mqtt://127.0.0.1:{balancer.port}", "protocol": "3.1.1", "database": url,
        "blobs": f"s3://{bucket.name}/{bucket.prefix}", "s3.endpoint": store.endpoint, "s3.region": REGION,
    })  # fmt: skip
    wait_for_log(consumer, "connected to the broker")
    doors = [Door(name, balancer.port, tmp_path, crops_of(name)) for name in ("door-a", "door-b")]
    for door in doors:
        door.start()
    try:
        wait_until(lambda: all(door.turn >= TURNS // 3 for door in doors), within_s=60, what="a third of the passes")
        cluster.kill_node(1)
        wait_until(lambda: not any(door.is_alive() for door in doors), within_s=150, what="the doors having no more")
    finally:
        for door in doors:
            door.stop()
        balancer.close()
    consumer.require_running()
    assert [door.left for door in doors] == [0, 0]
    engine = open_database(url)
    migrate(engine)
    with engine.connect() as connection:
        events = set(connection.execute(select(schema.events.c.id)).scalars())
        hours = connection.execute(select(func.sum(schema.hours.c.passes))).scalar_one()
        crops = {
            row.id: row.jpeg_digest for row in connection.execute(select(schema.crops.c.id, schema.crops.c.jpeg_digest))
        }
        assert connection.execute(select(func.count()).select_from(schema.quarantine)).scalar_one() == 0
    engine.dispose()
    assert events == doors[0].sent | doors[1].sent
    assert int(hours) == len(events) == 2 * PASSES * TURNS
    assert set(crops) == {known for door in doors for known, _ in door.crops}
    kept = store.blobs(picture_place(bucket))
    assert all(kept.get(digest).startswith(b"\xff\xd8") for digest in crops.values())
