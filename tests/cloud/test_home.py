"""Doors in Home Assistant's eyes, over a real broker: announced, kept current, taken back."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import Engine, update

from cloud.config import CloudSettings
from cloud.counts.cells import Cell
from cloud.fleet.doors import DoorSettings, save_door, save_site
from cloud.fleet.homes import SENSORS, TableOfHomes, announcements, state_of
from cloud.ingest.consumer import Consumer, Pace
from cloud.ingest.gatekeeper import Gatekeeper
from cloud.ingest.home import HomePublisher
from cloud.ingest.parcels import open_message
from cloud.ingest.sink import DatabaseSink
from cloud.rules import MeterRules, PictureRules
from cloud.store.blobs import BlobFolder
from cloud.store.doors import Site
from cloud.store.homes import read_announced
from cloud.store.schema import devices
from contract.errors import ContractError
from contract.events import Direction
from contract.health import Heartbeat
from contract.labels import Label
from contract.topics import Channel
from rehearsal.processes import Mosquitto, wait_until
from tests.cloud.conftest import BOOT, Door, StartCloud, batch, pass_event, wait_for_log

BASE, STATUS = "homeassistant/sensor/maskfleet_front", "homeassistant/maskfleet/status"


class House:
    """What lies retained below the prefix, as Home Assistant would read it."""

    def __init__(self, broker: Mosquitto) -> None:
        self.retained: dict[str, bytes] = {}
        self.said = 0
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="house", protocol=MQTTv5)
        self._client.on_message = self._hear
        self._client.on_connect = lambda client, *_: client.subscribe("homeassistant/#", 1)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()

    def state(self, device: str = "front") -> dict[str, Any]:
        return dict(json.loads(self.retained.get(f"homeassistant/sensor/maskfleet_{device}/state", b"{}")))

    def is_quiet(self) -> bool:
        """Whether nothing is said for a second, which is five looks of the publisher."""
        said = self.said
        threading.Event().wait(1.0)
        return self.said == said

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.said += 1
        if message.payload:
            self.retained[message.topic] = bytes(message.payload)
        else:
            self.retained.pop(message.topic, None)


@pytest.fixture
def house(broker: Mosquitto) -> Iterator[House]:
    listener = House(broker)
    yield listener
    listener.close()


Consume = Callable[..., AbstractContextManager[Consumer]]


@pytest.fixture
def consuming(engine: Engine, broker: Mosquitto, house: House, tmp_path: Path) -> Consume:
    """A consumer in this process, whose publisher looks five times a second."""

    @contextmanager
    def run(*, enabled: bool = True) -> Iterator[Consumer]:
        table = TableOfHomes(
            engine, "homeassistant", silent_after=timedelta(minutes=2), zone=ZoneInfo("UTC"), enabled=enabled
        )
        sink = DatabaseSink(engine, BlobFolder(tmp_path / "blobs"), "cloud")
        consumer = Consumer(
            address=("127.0.0.1", broker.port), client_id="cloud", pace=Pace(100, 1000, 0.05, 60.0, 60),
            sink=sink, gate=Gatekeeper(MeterRules(), sink, window=100),
            open_message=lambda message, now: open_message(message, now=now, pictures=PictureRules()), on_stall=print,
            home=HomePublisher(table, "homeassistant", every_s=0.2),
        )  # fmt: skip
        thread = threading.Thread(target=consumer.run)
        thread.start()
        try:
            wait_until(lambda: house.retained.get(STATUS) == b"online", within_s=10, what="the cloud in the house")
            yield consumer
        finally:
            consumer.stop()
            thread.join(10)
        assert not thread.is_alive()

    return run


def heartbeat(device: str = "front") -> bytes:
    return Heartbeat(device=device, state="online", boot=BOOT, at=datetime.now(UTC)).encode()


def test_a_door_is_announced_kept_current_and_unavailable_while_the_cloud_is_away(
    consuming: Consume, door: Door, house: House, engine: Engine
) -> None:
    with consuming():
        door.send("front", Channel.HEALTH, heartbeat())
        wait_until(lambda: house.state().get("state") == "online", within_s=10, what="the door in the house")
        configs = {topic for topic in house.retained if topic.endswith("/config")}
        assert configs == {f"{BASE}/{sensor}/config" for sensor in SENSORS}
        assert house.retained[STATUS] == b"online"
        passes = [pass_event(n, at=datetime.now(UTC), direction="in" if n < 20 else "out") for n in range(25)]
        door.send("front", Channel.EVENTS, batch("front", *passes))
        wait_until(lambda: house.state().get("passes_in") == 20, within_s=10, what="the passes in the house")
        assert (house.state()["passes_out"], house.state()["compliance"]) == (5, 100.0)
        now = datetime.now(UTC)
        save_site(engine, Site("hall", "Town hall", "UTC", ("",) * 7, ()), now)
        save_door(engine, "front", DoorSettings(title="Front door", site="hall"), now)
        topic = f"{BASE}/state/config"
        wait_until(lambda: b"Town hall" in house.retained[topic], within_s=10, what="the new name in the house")
        assert json.loads(house.retained[topic])["device"]["name"] == "Front door"
        wait_until(house.is_quiet, within_s=10, what="silence, since nothing is said twice")
    wait_until(lambda: house.retained[STATUS] == b"offline", within_s=20, what="the goodbye")


def test_a_door_that_was_taken_down_is_taken_back_also_by_the_next_start(
    consuming: Consume, door: Door, house: House, engine: Engine
) -> None:
    with consuming():
        for name in ("front", "side"):
            door.send(name, Channel.HEALTH, heartbeat(name))
        wait_until(lambda: bool(house.state() and house.state("side")), within_s=10, what="both doors in the house")
    with engine.begin() as connection:
        long_ago = datetime.now(UTC) - timedelta(days=31)
        connection.execute(update(devices).where(devices.c.name == "front").values(last_seen=long_ago))
    with consuming():
        wait_until(lambda: read_announced(engine) == {("homeassistant", "side")}, within_s=10, what="one taken back")
        assert {topic.split("/")[2] for topic in house.retained if "/sensor/" in topic} == {"maskfleet_side"}
    with consuming(enabled=False):
        wait_until(lambda: read_announced(engine) == frozenset(), within_s=10, what="all taken back")
    wait_until(lambda: house.retained == {}, within_s=20, what="nothing left behind")


def test_a_broker_that_lost_its_memory_is_told_again(
    consuming: Consume, broker: Mosquitto, door: Door, house: House
) -> None:
    with consuming():
        door.send("front", Channel.HEALTH, heartbeat())
        wait_until(lambda: bool(house.state()), within_s=10, what="the door in the house")
        broker.stop()
        for file in broker._folder.glob("mosquitto.db*"):
            file.unlink()
        house.retained.clear()
        broker.start()
        wait_until(lambda: len(house.retained) == len(SENSORS) + 2, within_s=30, what="all of it said again")


def test_the_program_says_nothing_unless_it_is_asked_to(start_cloud: StartCloud, door: Door, house: House) -> None:
    wait_for_log(start_cloud("consume"), "connected to the broker")
    door.send("front", Channel.HEALTH, heartbeat())
    threading.Event().wait(1.0)
    assert house.retained == {}
    wait_for_log(
        start_cloud("consume", **{"home_assistant.enabled": True, "client_id": "other"}), "connected to the broker"
    )
    wait_until(lambda: house.state().get("state") == "online", within_s=20, what="the door in the house")


def test_an_announcement_has_the_fields_of_mqtt_discovery() -> None:
    told = {topic: json.loads(payload) for topic, payload in announcements("ha", "front", title="", area="")}
    assert set(told) == {f"ha/sensor/maskfleet_front/{sensor}/config" for sensor in SENSORS}
    passes = told["ha/sensor/maskfleet_front/passes_in/config"]
    assert {key: passes[key] for key in ("~", "state_topic", "availability_topic", "unique_id", "value_template")} == {
        "~": "ha/sensor/maskfleet_front", "state_topic": "~/state", "availability_topic": "ha/maskfleet/status",
        "unique_id": "maskfleet_front_passes_in", "value_template": "{{ value_json.passes_in }}",
    }  # fmt: skip
    assert (passes["state_class"], passes["unit_of_measurement"]) == ("total_increasing", "passes")
    assert passes["device"] == {
        "identifiers": ["maskfleet_front"], "name": "front", "manufacturer": "maskfleet", "model": "door",
    }  # fmt: skip
    assert len({one["unique_id"] for one in told.values()}) == len(SENSORS)
    assert "state_class" not in told["ha/sensor/maskfleet_front/state/config"]  # an enum has none


@pytest.mark.parametrize(("passes", "compliance"), [(19, None), (20, 50.0)])
def test_too_few_passes_show_no_share(passes: int, compliance: float | None) -> None:
    half = {(Direction.IN, Label.WITH_MASK): passes // 2, (Direction.OUT, Label.WITHOUT_MASK): passes - passes // 2}
    assert json.loads(state_of(Cell(half), "online"))["compliance"] == compliance


@pytest.mark.parametrize("prefix", ["", "a/b", "#", "+", "mf", "x" * 41, "h\u00f6me"])
def test_an_odd_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ContractError, match="cannot be the prefix"):
        CloudSettings.load(None, {"home_assistant": {"prefix": prefix}})
