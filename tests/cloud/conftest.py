"""Real databases, a real door at a real broker, and the cloud as a process."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import Engine

from cloud.store.blobs import BlobFolder, Blobs
from cloud.store.database import migrate, open_database
from contract.events import Acknowledgement, EventBatch, PassEvent
from contract.topics import Channel, Topic, every
from rehearsal.postgres import Postgres, postgres_programs
from rehearsal.processes import Child, Mosquitto, wait_until
from tests.cloud.s3_kit import ObjectStore

BOOT = UUID("018bcfe5-6800-7000-8000-000000000001")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    cluster = Postgres().start()
    yield cluster
    cluster.stop(remove=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.sqlite'}"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.new_database()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database with our tables."""
    opened = open_database(database_url)
    migrate(opened)
    yield opened
    opened.dispose()


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A server that speaks S3, as a process."""
    store = ObjectStore(tmp_path_factory.mktemp("s3"))
    yield store
    store.stop()


@pytest.fixture(params=["folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """An empty place for pictures, once of each kind."""
    if request.param == "folder":
        return BlobFolder(tmp_path / "blobs")
    store: ObjectStore = request.getfixturevalue("object_store")
    return store.blobs()


def pass_event(sequence: int = 0, **changes: Any) -> PassEvent:
    """One pass, a minute old."""
    values: dict[str, Any] = {
        "id": uuid4(), "at": datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1), "direction": "in",
        "label": "with_mask", "confidence": 0.9, "release": 3, "accelerator": "edgetpu", "boot": BOOT, "sequence": sequence,
    }  # fmt: skip
    return PassEvent(**{**values, **changes})


def batch(device: str, *events: PassEvent) -> bytes:
    return EventBatch(device=device, events=events).encode()


class Door:
    """Publishes for any device, and remembers what the cloud acknowledged: to everybody, or what a topic says."""

    def __init__(self, broker: Mosquitto, answers: str = every(Channel.ACKS)) -> None:
        self.stored: list[UUID] = []
        self.refused: list[UUID] = []
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="test-door", protocol=MQTTv5)
        self._client.on_message = self._hear
        self._ready = False
        self._client.on_subscribe = self._subscribed
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._client.subscribe(answers, 1)
        wait_until(lambda: self._ready, within_s=10, what="the subscription to acknowledgements")

    def send(self, device: str, channel: Channel, payload: bytes) -> None:
        self.send_raw(Topic(device, channel).text, payload)

    def send_raw(self, topic: str, payload: bytes) -> None:
        """Publish, and wait until the broker has it."""
        self._client.publish(topic, payload, 1).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribed(self, *_: Any) -> None:
        self._ready = True

    def _hear(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        answer = Acknowledgement.decode(bytes(message.payload), limit=10_000_000)
        self.stored += answer.stored
        self.refused += [one.id for one in answer.refused]


@pytest.fixture
def door(broker: Mosquitto) -> Iterator[Door]:
    client = Door(broker)
    yield client
    client.close()


StartCloud = Callable[..., Child]


@pytest.fixture
def start_cloud(broker: Mosquitto, tmp_path: Path) -> Iterator[StartCloud]:
    """`start_cloud("consume", database=url)` starts the real program and returns at once."""
    children: list[Child] = []

    def start(command: str, **settings: object) -> Child:
        values: dict[str, object] = {"broker": broker.url, "data": tmp_path / "data", "port": 0, **settings}
        options = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
        log = tmp_path / f"cloud-{len(children)}.log"
        child = Child("cloud", [sys.executable, "-m", "cloud", command, *options], log=log)
        children.append(child)
        return child

    yield start
    for child in children:
        child.stop()


def wait_for_log(child: Child, words: str) -> str:
    """The log once `words` are in it."""

    def there() -> bool:
        child.require_running()
        return words in child.log.read_text()

    wait_until(there, within_s=20, what=f"{words!r} in the log of {child.name}")
    return child.log.read_text()


def page_address(child: Child) -> str:
    """Where the site is, as the program says; it answers already."""
    log = wait_for_log(child, "the page is at")
    return log.split("the page is at ")[1].split()[0]
