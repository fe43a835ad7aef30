"""A door that hears the wish and never answers: it counts as silent, and the others keep what they have."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from contract.fleet import DESIRED_LIMIT, Desired, Reported, Step
from contract.health import Heartbeat
from contract.tls import client_context
from contract.topics import Channel, Topic
from rehearsal.house import House
from rehearsal.processes import wait_until
from tests.story.releasing import factory_again, publish

FACTORY = "0" * 64


class MuteDoor:
    """Says what it runs and that it lives whenever it is told to, and does nothing about any wish."""

    def __init__(self, house: House, name: str) -> None:
        self.wishes: list[Desired] = []
        self._name, self._boot = name, uuid4()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTv5)
        self._client.tls_set_context(client_context(house.identities.door(name)))
        self._client.on_message = self._hear
        self._client.connect("localhost", house.broker.port)
        self._client.loop_start()
        self._client.subscribe(Topic(name, Channel.DESIRED).text, 1)

    def speak(self) -> None:
        now = datetime.now(UTC)
        report = Reported(device=self._name, at=now, release=1, digest=FACTORY, step=Step.IDLE)
        self._say(Channel.REPORTED, report.encode())
        beat = Heartbeat(device=self._name, state="online", boot=self._boot, at=now, release=1)
        self._say(Channel.HEALTH, beat.encode())

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _say(self, channel: Channel, payload: bytes) -> None:
        self._client.publish(Topic(self._name, channel).text, payload, 1).wait_for_publish(10)

    def _hear(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.wishes.append(Desired.decode(bytes(message.payload), limit=DESIRED_LIMIT))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house", cloud_settings="answer_within_s = 5\ncanary_soak_s = 0\n")
    house.found_releases()
    house.broker.start()
    house.start_cloud()
    yield house
    house.stop()


def test_a_door_that_never_answers_halts_the_rollout(house: House) -> None:
    doors = {name: MuteDoor(house, name) for name in ("door-1", "door-2", "door-3")}

    def known() -> bool:
        for door in doors.values():  # again until heard: the cloud's page may answer before it listens to the broker
            door.speak()
        return len(house.ask("rollout")["doors"]) == 3

    try:
        wait_until(known, within_s=20, what="three doors known")
        publish(house, 2, factory_again(2))
        wait_until(lambda: any(door.wishes for door in doors.values()), within_s=20, what="a first wish")
        wait_until(lambda: house.ask("rollout")["state"] == "halted", within_s=30, what="the rollout halting")
        view = house.ask("rollout")
    finally:
        for door in doors.values():
            door.close()
    asked = [name for name, door in doors.items() if door.wishes]
    assert len(asked) == 1
    assert [one["name"] for one in view["doors"] if one["outcome"] == "silent"] == asked
    assert f"{asked[0]} silent" in view["reason"]
    assert [one.release for one in doors[asked[0]].wishes] == [2]
