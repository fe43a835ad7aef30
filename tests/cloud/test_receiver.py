"""The fast client at a real broker, and fed by hand: it hears, answers and forgets exactly what stock paho does."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import paho.mqtt
import pytest
from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.ingest.parcels import Message
from cloud.ingest.receiver import FastReceiver, Receiver, new_receiver
from rehearsal.processes import Mosquitto, wait_until


def test_the_installed_paho_is_the_one_the_fast_client_was_made_for() -> None:
    assert type(new_receiver("a", lambda _messages: None, answer_expiry_s=60)) is FastReceiver


def test_with_another_paho_the_stock_client_is_taken_and_said(caplog: pytest.LogCaptureFixture) -> None:
    receiver = new_receiver("a", lambda _messages: None, answer_expiry_s=60, paho_version="2.3.1")
    assert type(receiver) is Receiver
    assert "paho-mqtt is 2.3.1" in caplog.text


class Ear:
    """A receiver at work, and what it heard."""

    def __init__(self, kind: type[Receiver], broker: Mosquitto, *, client_id: str = "ear") -> None:
        self.heard: list[Message] = []
        self.ready = threading.Event()
        self.client = kind(client_id, self._take, answer_expiry_s=60)
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: self.ready.set()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 600
        self.client.connect("127.0.0.1", broker.port, clean_start=False, properties=properties)
        self.client.loop_start()
        assert self.ready.wait(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _connected(self, _client: Client, _data: Any, _flags: Any, _code: Any, properties: Any) -> None:
        self.client.begin(getattr(properties, "ReceiveMaximum", 65_535))
        self.client.subscribe("in/#", 1)

    def _take(self, messages: Sequence[Message]) -> None:
        self.heard += messages


Listen = Callable[..., Ear]


@pytest.fixture(params=[FastReceiver, Receiver])
def listen(request: pytest.FixtureRequest, broker: Mosquitto) -> Iterator[Listen]:
    ears: list[Ear] = []

    def start(client_id: str = "ear") -> Ear:
        ears.append(Ear(request.param, broker, client_id=client_id))
        return ears[-1]

    yield start
    for ear in ears:
        ear.close()


@pytest.fixture
def door(broker: Mosquitto) -> Iterator[Client]:
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    yield client
    client.disconnect()
    client.loop_stop()


def hears(door: Client, topics: str) -> list[bytes]:
    """Subscribe the door; what it hears from now on stands in the list."""
    heard, subscribed = list[bytes](), threading.Event()

    def hear(_client: Client, _data: Any, message: MQTTMessage) -> None:
        heard.append(bytes(message.payload))

    door.on_message, door.on_subscribe = hear, lambda *_: subscribed.set()
    door.subscribe(topics, 1)
    assert subscribed.wait(10)
    return heard


def test_messages_of_every_size_quality_and_property_arrive_whole_and_in_order(listen: Listen, door: Client) -> None:
    ear = listen()
    sizes = [0, 1, 100, 126, 127, 128, 129, 16_382, 16_383, 16_384, 70_000, 200_000]
    sent = [(f"in/{number}/é", bytes([number]) * size) for number, size in enumerate(sizes)]
    for number, (topic, payload) in enumerate(sent):
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = ("x" * 90, "y" * 90)
        door.publish(topic, payload, qos=number % 2, properties=properties if number % 3 else None)
    wait_until(lambda: len(ear.heard) == len(sent), within_s=10, what="every message")
    assert [(one.topic, one.payload) for one in ear.heard] == sent
    assert [one.qos for one in ear.heard] == [number % 2 for number in range(len(sent))]
    mids = [one.mid for one in ear.heard if one.qos]
    assert all(mids) and len(set(mids)) == len(mids)


def test_what_was_acknowledged_never_comes_again_and_what_was_not_does(listen: Listen, door: Client) -> None:
    ear = listen()
    for number in range(6):
        door.publish("in/x", str(number), qos=1)
    wait_until(lambda: len(ear.heard) == 6, within_s=10, what="six messages")
    ear.client.settle([], [one.mid for one in ear.heard if one.payload in (b"0", b"1", b"4")])
    behind = hears(door, "out/#")
    ear.client.settle(
        [("out/a", b"behind")], []
    )  # a broker takes a new connection before it has read the old one's rest
    wait_until(lambda: behind == [b"behind"], within_s=20, what="the broker reading the acknowledgements")
    ear.close()
    again = listen()
    wait_until(lambda: len(again.heard) >= 3, within_s=10, what="the others")
    assert sorted(one.payload for one in again.heard) == [b"2", b"3", b"5"]


def test_where_there_is_no_room_nothing_is_read_and_nothing_lost(listen: Listen, door: Client) -> None:
    ear, full = listen(), threading.Event()
    ear.client.full = full.is_set
    full.set()
    for number in range(3):
        door.publish("in/x", str(number), qos=1).wait_for_publish(10)
    threading.Event().wait(0.3)
    assert not ear.heard
    full.clear()
    wait_until(lambda: len(ear.heard) == 3, within_s=10, what="three messages")
    assert [one.payload for one in ear.heard] == [b"0", b"1", b"2"]


def test_more_answers_than_the_broker_allows_at_once_all_arrive_before_the_acknowledgements(
    listen: Listen, door: Client
) -> None:
    ear = listen()
    answers = hears(door, "out/#")
    door.publish("in/x", "hello", qos=1)
    wait_until(lambda: len(ear.heard) == 1, within_s=10, what="the message")
    sent = [f"{number} {'x' * (number % 300)}".encode() for number in range(1_000)]  # mosquitto allows 200 here
    ear.client.settle([("out/a", one) for one in sent], [ear.heard[0].mid])
    wait_until(lambda: len(answers) == len(sent), within_s=20, what="every answer")
    assert answers == sent
    ear.client.settle([("out/a", b"last")], [])
    wait_until(lambda: answers[-1] == b"last", within_s=10, what="an answer after the confirmations")


def test_a_lost_connection_is_made_again_and_forgets_what_was_half_done(
    listen: Listen, door: Client, broker: Mosquitto
) -> None:
    ear = listen()
    ear.ready.clear()
    ear.client.session = 1
    link: Any = ear.client.socket()
    link.shutdown(socket.SHUT_RDWR)
    ear.client.settle([("out/a", b"into the void")], [])
    assert ear.ready.wait(20)
    ear.client.session = 2
    door.publish("in/x", "after", qos=1)
    wait_until(lambda: len(ear.heard) == 1, within_s=10, what="a message after the loss")
    assert (ear.heard[0].payload, ear.heard[0].session) == (b"after", 2)


def packet(command: int, body: bytes) -> bytes:
    return bytes([command, len(body)]) + body


GOOD = packet(0x32, b"\0\4in/x\0\7\0hello")
STREAMS = {
    "a topic longer than its packet": packet(0x32, b"\xff\xff"),
    "no place for the number": packet(0x32, b"\0\4in/x\0"),
    "properties longer than their packet": packet(0x32, b"\0\4in/x\0\1\x7f"),
    "an endless length of properties": packet(0x32, b"\0\4in/x\0\1\xff\xff\xff\xff\xff"),
    "an endless length": b"\x32\xff\xff\xff\xff\xff\xff",
    "an unknown command": packet(0x00, b""),
}


class Wire:
    """A socket whose other side is the test's."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)


@pytest.mark.parametrize("name", STREAMS)
def test_a_broken_stream_ends_the_connection_and_what_came_before_it_is_heard(name: str) -> None:
    heard: list[Message] = []
    client, wire = FastReceiver("a", heard.extend, answer_expiry_s=60), Wire()
    client._sock = wire.near
    wire.far.sendall(GOOD + STREAMS[name])
    assert client.loop_read() != 0
    assert [(one.topic, one.payload, one.mid) for one in heard] == [("in/x", b"hello", 7)]
    assert client._sock is None
    wire.far.close()


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 16, 17, 100])
def test_a_stream_may_come_in_pieces_of_any_size(piece: int) -> None:
    heard: list[Message] = []
    client, wire = FastReceiver("a", heard.extend, answer_expiry_s=60), Wire()
    client._sock = wire.near
    stream = GOOD * 3 + packet(0xD0, b"") + GOOD
    for start in range(0, len(stream), piece):
        wire.far.sendall(stream[start : start + piece])
        assert client.loop_read() == 0
    assert [one.payload for one in heard] == [b"hello"] * 4
    wire.near.close()
    wire.far.close()


def test_every_private_name_that_is_replaced_or_called_exists_in_this_paho() -> None:
    assert paho.mqtt.__version__ == "2.2.0"
    names = (
        "_sock_recv",
        "_loop_rc_handle",
        "_packet_handle",
        "_packet_queue",
        "_mid_generate",
        "_pack_remaining_length",
    )
    assert [name for name in (*names, "_create_socket", "loop_read") if not callable(getattr(Client, name, None))] == []
    client = Client(CallbackAPIVersion.VERSION2)
    assert {"_sock", "_in_packet", "_out_messages", "_msgtime_mutex", "_last_bytes_received"} <= set(vars(client))
