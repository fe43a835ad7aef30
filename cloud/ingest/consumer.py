"""From the broker to the database and back: receive, commit, acknowledge to the device, and only then to the broker."""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import Empty, Queue
from typing import Any, Protocol

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.ingest.ingest import Outcome
from cloud.ingest.mail import Mail, Wishes
from cloud.ingest.parcels import Message, Parcel
from contract.errors import TryAgainError
from contract.events import BATCH_LIMIT, Acknowledgement
from contract.tls import why_refused
from contract.topics import Channel, Topic, every

log = logging.getLogger("cloud.consumer")

CHANNELS = (Channel.EVENTS, Channel.CROPS, Channel.HEALTH, Channel.REPORTED)
ACK_EXPIRY_S = 3_600  # a device away for longer resends, and is answered again
LEAST_WAIT_S, GREATEST_WAIT_S = 0.5, 30.0
IDLE_S = 0.25
SIGN_OF_LIFE_S = 5.0
GOODBYE_S = 3.0


class Sink(Protocol):
    """Where opened messages go; both methods raise TryAgainError while that is impossible."""

    def write(self, parcels: Sequence[Parcel], *, now: datetime) -> Outcome:
        """Commit them."""

    def sign_of_life(self, *, connected: bool, since: datetime, now: datetime) -> None:
        """Record that the consumer is there, and whether the broker is."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How the consumer reads."""

    receive_maximum: int
    batch_events: int
    batch_wait_s: float
    stall_after_s: float
    session_expiry_s: int


class Consumer:
    """One MQTT session with a name of its own; `run` returns after `stop`.

    Messages are acknowledged to the broker by hand after the commit, and only in the connection that brought them:
    after a reconnect their numbers mean other messages, and the broker sends them again.
    """

    def __init__(
        self,
        *,
        address: tuple[str, int],
        client_id: str,
        pace: Pace,
        sink: Sink,
        open_message: Callable[[Message, datetime], Parcel],
        on_stall: Callable[[str], None],
        tls: ssl.SSLContext | None = None,
        wishes: Wishes | None = None,
    ) -> None:
        self._address, self._pace, self._sink, self._open, self._on_stall = address, pace, sink, open_message, on_stall
        self._mail = Mail(wishes) if wishes else None
        self._inbox: Queue[Message] = Queue()
        self._later: list[Parcel] = []
        self._stop = threading.Event()
        self._session, self._session_lock = 0, threading.Lock()
        self._connected, self._since, self._told = False, datetime.now(UTC), True
        self._absence_told, self._flood_told, self._shortage_told = "", False, False
        self._tls = tls
        self._turned = self._alive_at = time.monotonic()
        self._client = self._new_client(client_id)
        self._network_thread = f"paho-mqtt-client-{client_id}"  # the name paho gives it

    def run(self) -> None:
        """Receive until `stop`; a broker that is away is waited for."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._pace.session_expiry_s
        properties.ReceiveMaximum = self._pace.receive_maximum
        self._client.connect_async(*self._address, keepalive=30, clean_start=False, properties=properties)
        self._client.loop_start()
        threading.Thread(target=self._watch, name="consumer-watchdog", daemon=True).start()
        try:
            while not self._stop.is_set():
                self._turned = time.monotonic()
                self._tell_state()
                self._turn()
                if self._mail and self._connected:
                    self._mail.send(self._client, self._session)
        finally:
            self._leave()

    def stop(self) -> None:
        """Ask `run` to return; what is not yet committed stays at the broker. Safe in any thread."""
        self._stop.set()

    def _turn(self) -> None:
        batch = self._gather()
        if not batch:
            return
        outcome = self._persist(batch)
        if outcome is None:
            return
        for device, acknowledgement in outcome.acknowledgements.items():
            self._answer(device, acknowledgement)
        postponed = {id(parcel) for parcel in outcome.postponed}
        self._settle(parcel.message for parcel in batch if id(parcel) not in postponed)
        if postponed and not self._shortage_told:
            log.error("cannot keep %d pictures (is the blob folder's disk full?); trying again", len(postponed))
        self._shortage_told = bool(postponed)
        if postponed:
            self._later.extend(outcome.postponed)
            self._stop.wait(LEAST_WAIT_S)

    def _gather(self) -> list[Parcel]:
        """A batch: as many messages as come within the wait, at most `batch_events` events."""
        batch = [parcel for parcel in self._later if parcel.message.session == self._session]
        self._later.clear()
        events, deadline = 0, 0.0
        while events + BATCH_LIMIT <= self._pace.batch_events and len(batch) < self._pace.receive_maximum:
            wait = deadline - time.monotonic() if batch else IDLE_S
            try:
                message = self._inbox.get(timeout=wait) if wait > 0 else self._inbox.get_nowait()
            except Empty:
                break
            if message.session != self._session:
                continue  # of a lost connection: the broker sends it again
            if not deadline:
                deadline = time.monotonic() + self._pace.batch_wait_s
            parcel = self._open(message, datetime.now(UTC))
            events += len(parcel.passes)
            batch.append(parcel)
        return batch

    def _persist(self, batch: Sequence[Parcel]) -> Outcome | None:
        """Write until it is written; None where `stop` came first."""
        wait_s = LEAST_WAIT_S
        while True:
            self._turned = time.monotonic()
            try:
                outcome = self._sink.write(batch, now=datetime.now(UTC))
            except TryAgainError as error:
                log.warning("nothing is acknowledged while %s; trying again in %.1f s", error, wait_s)
                if self._stop.wait(wait_s):
                    return None
                wait_s = min(wait_s * 2, GREATEST_WAIT_S)
            else:
                if wait_s > LEAST_WAIT_S:
                    log.info("the database is back")
                return outcome

    def _answer(self, device: str, acknowledgement: Acknowledgement) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = ACK_EXPIRY_S
        self._client.publish(Topic(device, Channel.ACKS).text, acknowledgement.encode(), qos=1, properties=properties)

    def _settle(self, messages: Any) -> None:
        with self._session_lock:
            for message in messages:
                if message.session == self._session and message.qos:
                    self._client.ack(message.mid, message.qos)

    def _tell_state(self) -> None:
        """Tell the pages about the connection when it changes, and now and then."""
        if self._told and time.monotonic() - self._alive_at < SIGN_OF_LIFE_S:
            return
        self._told = True
        try:
            self._sink.sign_of_life(connected=self._connected, since=self._since, now=datetime.now(UTC))
        except TryAgainError as error:
            log.warning("cannot record a sign of life: %s", error)
        self._alive_at = time.monotonic()

    def _watch(self) -> None:
        """The progress watchdog: a loop that no longer turns ends the process, whose supervisor starts a fresh one."""
        while not self._stop.wait(min(5.0, self._pace.stall_after_s / 4)):
            still_s = time.monotonic() - self._turned
            if still_s > self._pace.stall_after_s:
                self._on_stall(f"the consumer has made no progress for {still_s:.0f} s")
                return
            if not any(thread.name == self._network_thread for thread in threading.enumerate()):
                self._on_stall("the consumer's network thread has died")
                return

    def _leave(self) -> None:
        """Send what is queued, then say goodbye; the session stays at the broker."""
        deadline = time.monotonic() + GOODBYE_S
        while self._client.is_connected() and self._client.want_write() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._client.disconnect()
        self._client.loop_stop()
        self._connected, self._since, self._told = False, datetime.now(UTC), False
        self._tell_state()

    def _new_client(self, client_id: str) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv5, manual_ack=True)
        if self._tls:
            client.tls_set_context(self._tls)
        client.reconnect_delay_set(1, int(GREATEST_WAIT_S))
        client.max_inflight_messages_set(100)
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_disconnect, client.on_message = self._on_disconnect, self._on_message
        client.on_subscribe = self._on_subscribe
        if self._mail:
            client.on_publish = self._mail.on_publish
        return client

    def _on_connect(self, client: Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            log.error("the broker at %s:%d refuses us: %s", *self._address, code)
            return
        log.info("connected to the broker at %s:%d", *self._address)
        self._absence_told = ""
        self._new_session(connected=True)
        client.subscribe([(every(channel), 1) for channel in CHANNELS])

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        for channel, code in zip(CHANNELS, codes, strict=False):
            if code.is_failure:
                log.error("the broker does not let us read %s: %s", every(channel), code)

    def _on_connect_fail(self, _client: Client, _data: Any) -> None:
        self._tell_absence()

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if self._connected and not self._stop.is_set():
            log.warning("lost the broker at %s:%d (%s); trying again until it is back", *self._address, code)
        elif (
            not self._stop.is_set()
        ):  # it hung up before it said a word: by TLS 1.3 that is how a certificate is refused
            self._tell_absence()
        self._new_session(connected=False)

    def _tell_absence(self) -> None:
        """Once for each cause, since the next try comes in seconds."""
        cause = why_refused(*self._address, self._tls) or "no answer"
        if cause != self._absence_told:
            log.warning("no broker at %s:%d: %s; trying again until there is one", *self._address, cause)
            self._absence_told, self._told = cause, False

    def _new_session(self, *, connected: bool) -> None:
        """Forget the numbers of unacknowledged messages: they are the broker's to send again."""
        with self._session_lock:
            self._session += 1
            self._inbox = Queue()
        self._connected, self._since, self._told = connected, datetime.now(UTC), False

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        if message.qos == 0 and self._inbox.qsize() > 2 * self._pace.receive_maximum:
            if not self._flood_told:
                log.error("messages of quality 0 come faster than they are stored; the surplus is dropped")
                self._flood_told = True
            return
        self._inbox.put(Message(message.topic, bytes(message.payload), message.mid, message.qos, self._session))
