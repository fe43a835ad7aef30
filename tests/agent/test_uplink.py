"""The uplink against a real broker and a cloud that really answers, late, never or badly."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.delivery import uplink as module
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from agent.delivery.uplink import Uplink
from contract.errors import ContractError
from contract.events import Acknowledgement, Refusal
from contract.health import Heartbeat
from contract.topics import Channel, Topic, every
from rehearsal.processes import Mosquitto, free_port, wait_until

DEVICE = "door-1"
WILL = Heartbeat.from_parsed({"device": DEVICE, "state": "offline", "boot": str(uuid4())})
ONLINE = WILL.model_copy(update={"state": "online"})


def letters(first: int, last: int) -> list[Letter]:
    return [
        Letter(UUID(int=number), json.dumps({"id": str(UUID(int=number))}).encode())
        for number in range(first, last + 1)
    ]


class Cloud:
    """Hears everything and answers events as `answer` says; None is silence."""

    def __init__(self, port: int, answer: Callable[[list[UUID]], bytes | None]) -> None:
        self.answer = answer
        self.heard: list[UUID] = []
        self.health: list[str] = []
        self._ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(every(Channel.EVENTS), 1), (every(Channel.HEALTH), 1)])
        self._client.loop_start()
        assert self._ready.wait(5)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        if Topic.parse(message.topic).channel is Channel.HEALTH:
            self.health.append(json.loads(message.payload)["state"])
            return
        ids = [UUID(one["id"]) for one in json.loads(message.payload)["events"]]
        self.heard += ids
        reply = self.answer(ids)
        if reply is not None:
            client.publish(Topic(DEVICE, Channel.ACKS).text, reply, qos=1)


def stored(ids: list[UUID]) -> bytes:
    return Acknowledgement(stored=tuple(ids)).encode()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox.open(tmp_path / "outbox", cap_bytes=10**8)
    yield opened
    opened.close()


@pytest.fixture
def quick_resend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESEND_S", (0.3, 1.0))


def pump_until(uplink: Uplink, done: Callable[[], bool], what: str, within_s: float = 15) -> None:
    def step() -> bool:
        uplink.pump()
        return done()

    wait_until(step, within_s=within_s, what=what)


def test_a_letter_leaves_the_outbox_only_on_the_clouds_word(
    broker: Mosquitto, outbox: Outbox, quick_resend: None
) -> None:
    silent = Cloud(broker.port, lambda ids: None)
    uplink = Uplink(DEVICE, broker.url, outbox, last_will=WILL)
    uplink.start()
    outbox.put_events(letters(1, 100))
    pump_until(uplink, lambda: len(set(silent.heard)) == 100, "the broker passing on all events")
    assert outbox.waiting == 100  # the broker has acknowledged them all; that is not storage
    silent.answer = stored
    pump_until(uplink, lambda: outbox.waiting == 0, "the outbox emptying")
    uplink.stop(lambda: WILL)
    silent.close()


def test_an_answer_that_gets_lost_is_asked_for_again(broker: Mosquitto, outbox: Outbox, quick_resend: None) -> None:
    rounds: dict[UUID, int] = {}

    def every_third(ids: list[UUID]) -> bytes | None:
        for known in ids:
            rounds[known] = rounds.get(known, 0) + 1
        return stored(ids) if all(rounds[known] >= 3 for known in ids) else None

    cloud = Cloud(broker.port, every_third)
    uplink = Uplink(DEVICE, broker.url, outbox, last_will=WILL)
    uplink.start()
    outbox.put_events(letters(1, 10))
    pump_until(uplink, lambda: outbox.waiting == 0, "the outbox emptying")
    assert set(rounds.values()) == {3}
    uplink.stop(lambda: WILL)
    cloud.close()


def test_a_refused_letter_makes_way_for_the_others(broker: Mosquitto, outbox: Outbox) -> None:
    def refuse_odd(ids: list[UUID]) -> bytes:
        return Acknowledgement(
            stored=tuple(one for one in ids if one.int % 2 == 0),
            refused=tuple(Refusal(id=one, reason="odd") for one in ids if one.int % 2),
        ).encode()

    cloud = Cloud(broker.port, refuse_odd)
    uplink = Uplink(DEVICE, broker.url, outbox, last_will=WILL)
    uplink.start()
    outbox.put_events(letters(1, 6))
    pump_until(uplink, lambda: outbox.waiting == 0, "the outbox emptying")
    assert [(one.int, reason) for one, reason in outbox.refused()] == [(1, "odd"), (3, "odd"), (5, "odd")]
    uplink.stop(lambda: WILL)
    cloud.close()


@pytest.mark.parametrize("nonsense", [b"", b"\x00\xff", b"[]", b'{"stored": 5}', stored([UUID(int=7777)])])
def test_nonsense_and_foreign_answers_change_nothing(
    broker: Mosquitto, outbox: Outbox, quick_resend: None, nonsense: bytes
) -> None:
    cloud = Cloud(broker.port, lambda ids: nonsense)
    uplink = Uplink(DEVICE, broker.url, outbox, last_will=WILL)
    uplink.start()
    outbox.put_events(letters(1, 3))
    pump_until(uplink, lambda: len(cloud.heard) >= 9, "three rounds of events")
    assert outbox.waiting == 3
    uplink.stop(lambda: WILL, within_s=0.2)
    cloud.close()


def test_without_a_broker_counting_goes_on_and_delivery_follows(
    tmp_path: Path, outbox: Outbox, quick_resend: None
) -> None:
    port = free_port()
    uplink = Uplink(DEVICE, f"mqtt://127.0.0.1:{port}", outbox, last_will=WILL)
    uplink.start()
    outbox.put_events(letters(1, 50))
    begun = time.monotonic()
    for _ in range(20):
        uplink.pump()
    assert time.monotonic() - begun < 2  # nothing here waits for the network
    assert outbox.waiting == 50
    late = Mosquitto(tmp_path / "late", port=port).start()
    cloud = Cloud(port, stored)
    pump_until(uplink, lambda: outbox.waiting == 0, "the outbox emptying", within_s=30)
    assert len(set(cloud.heard)) == 50
    uplink.stop(lambda: WILL)
    cloud.close()
    late.stop()


def test_a_killed_broker_costs_nothing(broker: Mosquitto, outbox: Outbox, quick_resend: None) -> None:
    uplink = Uplink(DEVICE, broker.url, outbox, last_will=WILL)
    uplink.start()
    deaf = Cloud(broker.port, lambda ids: None)
    outbox.put_events(letters(1, 200))
    pump_until(uplink, lambda: len(deaf.heard) >= 200, "the first round")
    broker.kill()
    deaf.close()
    outbox.put_events(letters(201, 300))
    uplink.pump()
    broker.start()
    cloud = Cloud(broker.port, stored)
    pump_until(uplink, lambda: outbox.waiting == 0, "the outbox emptying", within_s=40)
    assert {one.int for one in cloud.heard} == set(range(1, 301))
    uplink.stop(lambda: WILL)
    cloud.close()


def test_the_broker_speaks_the_last_will_of_a_door_that_vanishes(broker: Mosquitto, outbox: Outbox) -> None:
    cloud = Cloud(broker.port, stored)
    uplink = Uplink(DEVICE, broker.url, outbox, last_will=WILL)
    uplink.start()
    wait_until(lambda: uplink.connected, within_s=10, what="the connection")
    uplink.heartbeat(ONLINE)
    wait_until(lambda: cloud.health == ["online"], within_s=10, what="the heartbeat")
    connection = uplink._client.socket()
    assert connection is not None
    connection.close()  # the cable is pulled: no goodbye
    wait_until(lambda: "offline" in cloud.health, within_s=10, what="the last will")
    uplink.stop(lambda: WILL)
    cloud.close()


def test_stopping_delivers_what_is_left_and_says_goodbye(broker: Mosquitto, outbox: Outbox) -> None:
    cloud = Cloud(broker.port, stored)
    uplink = Uplink(DEVICE, broker.url, outbox, last_will=WILL)
    uplink.start()
    wait_until(lambda: uplink.connected, within_s=10, what="the connection")
    outbox.put_events(letters(1, 5))
    uplink.stop(lambda: WILL, within_s=10)
    assert outbox.waiting == 0
    wait_until(lambda: cloud.health == ["offline"], within_s=10, what="the goodbye")
    cloud.close()


@pytest.mark.parametrize("url", ["http://broker:1883", "broker", "mqtt://"])
def test_an_address_that_is_none_is_refused(url: str, outbox: Outbox) -> None:
    with pytest.raises(ContractError, match="mqtts://HOST:PORT"):
        Uplink(DEVICE, url, outbox, last_will=WILL)
