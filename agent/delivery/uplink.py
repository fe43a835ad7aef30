"""Outbox to broker and back: letters go out by MQTT, and leave the outbox only on the cloud's own word."""

import logging
import random
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, cast
from uuid import UUID

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.delivery.credentials import Credentials
from agent.delivery.outbox import Outbox
from agent.delivery.shelf import Letter
from contract.errors import ContractError
from contract.events import Acknowledgement
from contract.fleet import Reported
from contract.health import Heartbeat
from contract.settings import MqttProtocol, broker_address
from contract.tls import why_refused
from contract.topics import TO_DEVICE, Channel, Topic

LETTERS_IN_FLIGHT = 400  # sent and not yet acknowledged by the cloud
EVENTS_PER_MESSAGE = 40
CROPS_IN_FLIGHT = 4
RESEND_S = (3.0, 60.0)  # first pause before a letter is sent again, and the longest
ACK_LIMIT = 256 * 1024
SESSION_EXPIRY_S = 24 * 3600
RECEIVE_MAXIMUM = 20  # messages that the broker may have on their way to us
DRAIN_PER_S = 60.0  # events a second of a back-log: three days of one every 3 s in 24 minutes
LIVE_ROOM = 80  # of the letters in flight, kept free of the back-log for what is counted now
RENEWED_S = 3600.0  # between two looks whether the certificate was renewed
SILENCE_S = 300.0  # without an answer from the cloud, though letters wait for one: connect anew
RESUBSCRIBE_S = 5.0  # after the broker refused to let us listen: a cluster that has lost a machine may, for a moment
RETRY_S = (1, 3), (45, 75)  # first pause before a connection is tried again, and the longest: between these

log = logging.getLogger("agent.uplink")


@dataclass(slots=True)
class _Flight:
    """A letter on its way: when to send it again, and how often it was sent."""

    due_s: float
    sent: int
    crop: bool


class Uplink:
    """Owns the connection. `pump` is called from the thread that owns the outbox; paho's thread only queues what it hears."""

    def __init__(
        self, device: str, url: str, outbox: Outbox, *, last_will: Heartbeat, tls: Credentials | None = None,
        protocol: MqttProtocol = "5", drain_per_s: float = DRAIN_PER_S, clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        """`drain_per_s` is for events from before the connection; what is counted since is sent at once."""
        self._device = device
        self._outbox = outbox
        self._clock = clock
        self._jitter = jitter
        self._heard: SimpleQueue[bytes] = SimpleQueue()
        self._wishes: SimpleQueue[bytes] = SimpleQueue()
        self._flights: dict[UUID, _Flight] = {}
        self._drain_per_s = drain_per_s
        self._allowance = 0.0  # events of the back-log that may be sent now
        self._horizon = outbox.newest  # the newest event of the back-log
        self._seen = 0  # connections that the back-log's bounds know of
        self._answered_s = self._pumped_s = self._renewed_s = clock()
        self._started = False
        self._deaf_until_s: float | None = None  # when to ask again for what the broker did not let us hear
        self.connected = False
        self.connected_for_s = 0.0  # all connections together
        self.connections = 0  # ever made
        self._host, self._port, _ = broker_address(url)
        self._tls = tls
        self._trouble_told = ""
        self._v5 = protocol == "5"
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=device,
            protocol=mqtt.MQTTv5 if self._v5 else mqtt.MQTTv311,
            clean_session=None if self._v5 else False,
        )
        if tls:
            self._client.tls_set_context(cast(ssl.SSLContext, tls))
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._spread_retries()
        self._client.max_inflight_messages_set(20)
        self._client.will_set(Topic(device, Channel.HEALTH).text, last_will.encode(), qos=1)

    def start(self) -> None:
        """Connect in the background, now and whenever the connection is lost; never blocks, never gives up."""
        v5: dict[str, Any] = {}
        if self._v5:
            properties = _properties(
                PacketTypes.CONNECT, SessionExpiryInterval=SESSION_EXPIRY_S, ReceiveMaximum=RECEIVE_MAXIMUM
            )
            v5 = {"clean_start": False, "properties": properties}
        self._client.connect_async(self._host, self._port, keepalive=30, **v5)
        self._client.loop_start()
        self._started = True

    def pump(self) -> int:
        """Apply what the cloud said and send what is due; returns how many letters left the outbox."""
        left = self._apply_acknowledgements()
        now = self._clock()
        passed_s, self._pumped_s = now - self._pumped_s, now
        if self.connected:
            self.connected_for_s += passed_s
            if self._deaf_until_s is not None and now >= self._deaf_until_s:
                self._subscribe()
            self._mind_the_backlog(passed_s)
            self._send_events()
            self._send_crops()
        if self._started:
            self._mind_the_certificate(now)
            self._mind_the_silence(now)
        return left

    def heartbeat(self, beat: Heartbeat) -> None:
        """Send how the door is doing; dropped when there is no connection, since only the newest matters."""
        if self.connected:
            properties = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=120) if self._v5 else None
            self._client.publish(Topic(self._device, Channel.HEALTH).text, beat.encode(), qos=1, properties=properties)

    @property
    def trouble(self) -> str:
        """What is wrong with the door's certificate while there is a connection; empty where nothing."""
        return self._tls.fault if self._tls else ""

    @property
    def certificate_ends(self) -> datetime | None:
        """When the certificate that the broker accepted ends; None where there is none."""
        return self._tls.ends if self._tls else None

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
        while self.connected and self._outbox.waiting > self._outbox.undated and self._clock() < deadline:
            self.pump()
            time.sleep(0.05)
        if self.connected:
            self._client.publish(Topic(self._device, Channel.HEALTH).text, goodbye().encode(), qos=1).wait_for_publish(
                2.0
            )
        self._client.disconnect()
        self._client.loop_stop()

    def _apply_acknowledgements(self) -> int:
        """All that have come, in one commit."""
        stored: list[UUID] = []
        refused: dict[UUID, str] = {}
        while True:
            try:
                payload = self._heard.get_nowait()
            except Empty:
                break
            try:
                ack = Acknowledgement.decode(payload, limit=ACK_LIMIT)
            except ContractError as error:
                log.warning("an acknowledgement that breaks the contract was ignored: %s", error)
                continue
            stored += ack.stored
            refused |= {one.id: one.reason for one in ack.refused}
        if not stored and not refused:
            return 0
        self._answered_s = self._clock()
        left = self._outbox.forget(stored, refused)
        if left:  # a disk too full to delete in keeps its letters, to be sent again in their own time
            for known in (*stored, *refused):
                self._flights.pop(known, None)
        for known, reason in refused.items():
            log.warning("the cloud will never store letter %s: %s", known, reason)
        return left

    def _mind_the_backlog(self, passed_s: float) -> None:
        """What waits at a new connection is the back-log, and so are live events that became too many to be live."""
        self._allowance = min(self._allowance + passed_s * self._drain_per_s, LETTERS_IN_FLIGHT)
        if self._seen != self.connections or self._outbox.newest - self._horizon > LETTERS_IN_FLIGHT:
            self._seen, self._horizon = self.connections, self._outbox.newest

    def _send_events(self) -> None:
        self._publish_events(self._overdue(self._outbox.find_events, crops=False))
        flying = self._flying(crops=False)
        live = self._outbox.pending_events(LETTERS_IN_FLIGHT - len(flying), without=flying, after=self._horizon)
        self._publish_events(live)
        room = min(LETTERS_IN_FLIGHT - LIVE_ROOM - len(flying) - len(live), int(self._allowance))
        if room > 0:
            old = self._outbox.pending_events(room, without=self._flying(crops=False), until=self._horizon)
            self._allowance -= len(old)
            self._publish_events(old)

    def _publish_events(self, letters: list[Letter]) -> None:
        topic = Topic(self._device, Channel.EVENTS).text
        for start in range(0, len(letters), EVENTS_PER_MESSAGE):
            batch = letters[start : start + EVENTS_PER_MESSAGE]
            body = b",".join(letter.payload for letter in batch)
            payload = b'{"schema_version":1,"device":"' + self._device.encode() + b'","events":[' + body + b"]}"
            self._publish(topic, payload, batch)

    def _send_crops(self) -> None:
        flying = self._flying(crops=True)
        fresh = self._outbox.pending_crops(CROPS_IN_FLIGHT - len(flying), without=flying)
        for letter in [*self._overdue(self._outbox.find_crops, crops=True), *fresh]:
            self._publish(Topic(self._device, Channel.CROPS).text, letter.payload, [letter], crops=True)

    def _flying(self, *, crops: bool) -> set[UUID]:
        return {known for known, flight in self._flights.items() if flight.crop is crops}

    def _overdue(self, find: Callable[[list[UUID]], list[Letter]], *, crops: bool) -> list[Letter]:
        """Letters whose answer is late; what the outbox has given up meanwhile is on its way no more."""
        now = self._clock()
        due = [known for known, flight in self._flights.items() if flight.crop is crops and flight.due_s <= now]
        found = find(due)
        for known in set(due) - {letter.id for letter in found}:
            del self._flights[known]
        return found

    def _mind_the_silence(self, now: float) -> None:
        """A connection on which nothing is answered may be dead in a way that nobody noticed: make a new one."""
        if self.connected and not self._flights:
            self._answered_s = now
        if now - self._answered_s <= SILENCE_S:
            return
        self._answered_s = now
        if self.connected:
            log.warning("no answer from the cloud for %.0f s, though letters wait: connecting anew", SILENCE_S)
        self._hang_up()
        self._client.loop_start()  # does nothing, unless paho's thread has died

    def _mind_the_certificate(self, now: float) -> None:
        """A connection outlives its certificate, but the next one may not come: change over while the old one is still good."""
        if now - self._renewed_s <= RENEWED_S:
            return
        self._renewed_s = now
        if self.connected and self._tls and self._tls.renewed():
            log.info("the certificate was renewed: connecting anew")
            self._hang_up()

    def _hang_up(self) -> None:
        """Paho notices, and connects again."""
        connection: Any = self._client.socket()
        if connection:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _spread_retries(self) -> None:
        """So that the doors of a broker that was away do not all come back in the same second."""
        (least, next_least), (most, next_most) = RETRY_S
        share = self._jitter()
        delays: Any = least + share * (next_least - least), most + share * (next_most - most)
        self._client.reconnect_delay_set(*delays)

    def _publish(self, topic: str, payload: bytes, letters: list[Letter], *, crops: bool = False) -> None:
        if self._client.publish(topic, payload, qos=1).rc != mqtt.MQTT_ERR_SUCCESS:
            return
        now = self._clock()
        for letter in letters:
            flight = self._flights.setdefault(letter.id, _Flight(0.0, 0, crops))
            first, longest = RESEND_S
            flight.due_s = now + min(longest, first * 2**flight.sent) * (1 + 0.25 * self._jitter())
            flight.sent += 1

    def _on_connect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.warning("the broker %s:%s refused the connection: %s", self._host, self._port, reason)
            return
        self._subscribe()
        if self._tls:
            self._tls.accepted()
        self._answered_s, self._trouble_told = self._clock(), ""
        self.connections += 1
        self.connected = True
        log.info("connected to the broker %s:%s", self._host, self._port)

    def _subscribe(self) -> None:
        self._deaf_until_s = None
        self._client.subscribe([(Topic(self._device, channel).text, 1) for channel in TO_DEVICE])

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        refused = [f"{channel} ({code})" for channel, code in zip(TO_DEVICE, codes, strict=False) if code.is_failure]
        if refused:
            log.warning("the broker does not let us hear %s; asking again in %.0f s", ", ".join(refused), RESUBSCRIBE_S)
            self._deaf_until_s = self._clock() + RESUBSCRIBE_S

    def _on_connect_fail(self, _client: mqtt.Client, _data: Any) -> None:
        self._tell_trouble()

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not self.connected:  # it hung up before it said a word: by TLS 1.3 that is how a certificate is refused
            self._tell_trouble()
            return
        self.connected = False
        self._spread_retries()
        log.info("disconnected from the broker: %s", reason)

    def _tell_trouble(self) -> None:
        """Once for each cause, since the next try comes in seconds."""
        cause = why_refused(self._host, self._port, self._tls.context if self._tls else None) or "no answer"
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
