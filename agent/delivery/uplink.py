"""Outbox to broker and back: letters go out by MQTT 5, and leave the outbox only on the cloud's own word."""

import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from contract.errors import ContractError
from contract.events import Acknowledgement
from contract.fleet import Reported
from contract.health import Heartbeat
from contract.settings import broker_address
from contract.tls import why_refused
from contract.topics import TO_DEVICE, Channel, Topic

LETTERS_IN_FLIGHT = 400  # sent and not yet acknowledged by the cloud
EVENTS_PER_MESSAGE = 40
CROPS_IN_FLIGHT = 4
RESEND_S = (3.0, 60.0)  # first pause before a letter is sent again, and the longest
ACK_LIMIT = 256 * 1024
SESSION_EXPIRY_S = 24 * 3600

log = logging.getLogger("agent.uplink")


@dataclass(slots=True)
class _Flight:
    """A letter on its way: when to send it again, and how often it was sent."""

    due_s: float
    sent: int


class Uplink:
    """Owns the connection. `pump` is called from the thread that owns the outbox; paho's thread only queues what it hears."""

    def __init__(
        self, device: str, url: str, outbox: Outbox, *, last_will: Heartbeat, tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic, jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        self._device = device
        self._outbox = outbox
        self._clock = clock
        self._jitter = jitter
        self._heard: SimpleQueue[bytes] = SimpleQueue()
        self._wishes: SimpleQueue[bytes] = SimpleQueue()
        self._flights: dict[UUID, _Flight] = {}
        self.connected = False
        self.connections = 0  # ever made
        self._host, self._port, _ = broker_address(url)
        self._tls = tls
        self._trouble_told = ""
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv5)
        if tls:
            self._client.tls_set_context(tls)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(min_delay=1, max_delay=60)
        self._client.max_inflight_messages_set(20)
        self._client.will_set(Topic(device, Channel.HEALTH).text, last_will.encode(), qos=1)

    def start(self) -> None:
        """Connect in the background, now and whenever the connection is lost; never blocks, never gives up."""
        properties = _properties(PacketTypes.CONNECT, SessionExpiryInterval=SESSION_EXPIRY_S)
        self._client.connect_async(self._host, self._port, keepalive=30, clean_start=False, properties=properties)
        self._client.loop_start()

    def pump(self) -> int:
        """Apply what the cloud said and send what is due; returns how many letters left the outbox."""
        left = self._apply_acknowledgements()
        if self.connected:
            self._send_events()
            self._send_crops()
        return left

    def heartbeat(self, beat: Heartbeat) -> None:
        """Send how the door is doing; dropped when there is no connection, since only the newest matters."""
        if self.connected:
            properties = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=120)
            self._client.publish(Topic(self._device, Channel.HEALTH).text, beat.encode(), qos=1, properties=properties)

    def report(self, report: Reported) -> bool:
        """Send what the door runs; False, and nothing sent, where there is no connection."""
        if not self.connected:
            return False
        topic = Topic(self._device, Channel.REPORTED).text
        return self._client.publish(topic, report.encode(), qos=1).rc == mqtt.MQTT_ERR_SUCCESS

    def wishes(self) -> list[bytes]:
        """The `desired` messages that came since the last call, oldest first, as they came; the retained one at every connect."""
        return [self._wishes.get_nowait() for _ in range(self._wishes.qsize())]

    def stop(self, goodbye: Callable[[], Heartbeat], *, within_s: float = 5.0) -> None:
        """Send what the outbox holds and wait for its acknowledgement for a while, then say goodbye (made at that moment)."""
        deadline = self._clock() + within_s
        while self.connected and self._outbox.waiting and self._clock() < deadline:
            self.pump()
            time.sleep(0.05)
        if self.connected:
            self._client.publish(Topic(self._device, Channel.HEALTH).text, goodbye().encode(), qos=1).wait_for_publish(
                2.0
            )
        self._client.disconnect()
        self._client.loop_stop()

    def _apply_acknowledgements(self) -> int:
        left = 0
        while True:
            try:
                payload = self._heard.get_nowait()
            except Empty:
                return left
            try:
                ack = Acknowledgement.decode(payload, limit=ACK_LIMIT)
            except ContractError as error:
                log.warning("an acknowledgement that breaks the contract was ignored: %s", error)
                continue
            refused = {one.id: one.reason for one in ack.refused}
            gone = self._outbox.forget(ack.stored, refused)
            if gone:  # a disk too full to delete in keeps its letters, to be sent again in their own time
                for known in (*ack.stored, *refused):
                    self._flights.pop(known, None)
            left += gone
            for known, reason in refused.items():
                log.warning("the cloud will never store letter %s: %s", known, reason)

    def _send_events(self) -> None:
        letters = self._due(self._outbox.pending_events, LETTERS_IN_FLIGHT)
        topic = Topic(self._device, Channel.EVENTS).text
        for start in range(0, len(letters), EVENTS_PER_MESSAGE):
            batch = letters[start : start + EVENTS_PER_MESSAGE]
            body = b",".join(letter.payload for letter in batch)
            payload = b'{"schema_version":1,"device":"' + self._device.encode() + b'","events":[' + body + b"]}"
            self._publish(topic, payload, batch)

    def _send_crops(self) -> None:
        topic = Topic(self._device, Channel.CROPS).text
        for letter in self._due(self._outbox.pending_crops, CROPS_IN_FLIGHT):
            self._publish(topic, letter.payload, [letter])

    def _due(self, pending: Callable[..., list[Letter]], limit: int) -> list[Letter]:
        """Letters never sent or overdue for an answer, so that at most `limit` are on their way."""
        now = self._clock()
        resting = {known for known, flight in self._flights.items() if flight.due_s > now}
        room = limit - len(resting)
        return pending(room, without=resting) if room > 0 else []

    def _publish(self, topic: str, payload: bytes, letters: list[Letter]) -> None:
        if self._client.publish(topic, payload, qos=1).rc != mqtt.MQTT_ERR_SUCCESS:
            return
        now = self._clock()
        for letter in letters:
            flight = self._flights.setdefault(letter.id, _Flight(0.0, 0))
            first, longest = RESEND_S
            flight.due_s = now + min(longest, first * 2**flight.sent) * (1 + 0.25 * self._jitter())
            flight.sent += 1

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.warning("the broker %s:%s refused the connection: %s", self._host, self._port, reason)
            return
        client.subscribe([(Topic(self._device, channel).text, 1) for channel in TO_DEVICE])
        self.connected, self._trouble_told = True, ""
        self.connections += 1
        log.info("connected to the broker %s:%s", self._host, self._port)

    def _on_connect_fail(self, _client: mqtt.Client, _data: Any) -> None:
        self._tell_trouble()

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not self.connected:  # it hung up before it said a word: by TLS 1.3 that is how a certificate is refused
            self._tell_trouble()
            return
        self.connected = False
        log.info("disconnected from the broker: %s", reason)

    def _tell_trouble(self) -> None:
        """Once for each cause, since the next try comes in seconds."""
        cause = why_refused(self._host, self._port, self._tls) or "no answer"
        if cause != self._trouble_told:
            log.warning(
                "no connection to the broker %s:%s: %s; counting goes on, and so do the tries",
                self._host,
                self._port,
                cause,
            )
        self._trouble_told = cause

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        desired = message.topic == Topic(self._device, Channel.DESIRED).text
        (self._wishes if desired else self._heard).put(bytes(message.payload))


def _properties(packet: int, **values: int) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
