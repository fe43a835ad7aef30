"""From the broker to the database and back: receive, commit, acknowledge to the device, and only then to the broker."""

import logging
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from paho.mqtt.client import Client

from cloud.ingest.gatekeeper import Gatekeeper
from cloud.ingest.home import HomePublisher
from cloud.ingest.ingest import Outcome
from cloud.ingest.mail import Mail, Wishes
from cloud.ingest.meter import in_turns
from cloud.ingest.parcels import Message, Parcel
from cloud.ingest.receiver import NO_LIMIT, Receiver, new_receiver
from contract.errors import TryAgainError
from contract.events import BATCH_LIMIT
from contract.settings import MqttProtocol
from contract.tls import why_refused
from contract.topics import Channel, Topic, every, shared

log = logging.getLogger("cloud.consumer")

CHANNELS = (Channel.EVENTS, Channel.CROPS, Channel.HEALTH, Channel.REPORTED)
ACK_EXPIRY_S = 3_600  # a device away for longer resends, and is answered again
LEAST_WAIT_S, GREATEST_WAIT_S = 0.5, 30.0
IDLE_S = 0.25
SIGN_OF_LIFE_S = 5.0
RESUBSCRIBE_S = 5.0  # after the broker refused to let us read: a cluster that has lost a machine may, for a moment
GOODBYE_S = 3.0
POSTPONED_SHARE, MOST_POSTPONED = 0.25, 1_000  # of the messages that the broker may send ahead
BATCH_BYTES = 16 * 2**20  # of messages: then a batch is full


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
        gate: Gatekeeper,
        open_message: Callable[[Message, datetime], Parcel],
        on_stall: Callable[[str], None],
        tls: ssl.SSLContext | None = None,
        wishes: Wishes | None = None,
        share: str = "",
        protocol: MqttProtocol = "5",
        home: HomePublisher | None = None,
    ) -> None:
        self._address, self._pace, self._sink, self._open, self._on_stall = address, pace, sink, open_message, on_stall
        self._mail, self._home, self._gate = Mail(wishes) if wishes else None, home, gate
        self._filters = [shared(share, every(channel)) if share else every(channel) for channel in CHANNELS]
        self._foreign_filters = [every(channel) for channel in CHANNELS] if share else []
        self._inbox: SimpleQueue[list[Parcel]] = SimpleQueue()
        self._opened: deque[Parcel] = deque()
        self._later: list[Parcel] = []
        self._stop = threading.Event()
        self._session, self._session_lock = 0, threading.Lock()
        self._connected, self._since, self._told = False, datetime.now(UTC), True
        self._absence_told, self._shortage_told = "", False
        self._deaf_until: float | None = None  # when to ask again for what the broker did not let us read
        self._tls = tls
        self._turned = self._alive_at = time.monotonic()
        self._client = self._new_client(client_id, protocol)
        self._network_thread = f"paho-mqtt-client-{client_id}"  # the name paho gives it

    def run(self) -> None:
        """Receive until `stop`; a broker that is away is waited for."""
        host, port = self._address
        limits = {"session_expiry_s": self._pace.session_expiry_s, "receive_maximum": self._pace.receive_maximum}
        self._client.reach(host, port, **limits)
        self._client.loop_start()
        threading.Thread(target=self._watch, name="consumer-watchdog", daemon=True).start()
        try:
            while not self._stop.is_set():
                self._turned = time.monotonic()
                self._tell_state()
                if self._deaf_until is not None and self._connected and self._turned >= self._deaf_until:
                    self._subscribe()
                self._turn()
                self._gate.tell()
                if self._mail and self._connected:
                    self._mail.send(self._client, self._session)
                if self._home and self._connected:
                    self._home.send(self._client, self._session)
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
        # More than a part of the window would keep passes out: the rest goes out of it, and their doors, which heard of no
        # commit, send them again.
        most = min(MOST_POSTPONED, max(1, int(self._pace.receive_maximum * POSTPONED_SHARE)))
        waiting = outcome.postponed[:most]
        postponed = {id(parcel) for parcel in waiting}
        self._gate.charge(outcome.clashed)
        self._settle(outcome, [one.message for one in batch if not postponed or id(one) not in postponed])
        if postponed and not self._shortage_told:
            log.error(
                "cannot keep %d pictures (is the disk full, or the bucket away?); trying again", len(outcome.postponed)
            )
        self._shortage_told = bool(postponed)
        if postponed:
            self._later.extend(waiting)
            self._stop.wait(LEAST_WAIT_S)

    def _gather(self) -> list[Parcel]:
        """A batch: as many messages as come within the wait, at most `batch_events` events.

        And at most half of what the broker sends ahead, so that it sends the other half while this one is written.
        """
        batch = [parcel for parcel in self._later if parcel.message.session == self._session]
        self._later.clear()
        known, events, size, deadline = len(batch), 0, 0, 0.0
        most = max(1, self._pace.receive_maximum // 2)
        while self._next_opened(0.0):
            pass
        if self._gate.somebody_has_much:
            self._opened = deque(in_turns(self._opened))
        while events + BATCH_LIMIT <= self._pace.batch_events and len(batch) < most and size < BATCH_BYTES:
            if not self._opened and not self._next_opened(deadline - time.monotonic() if batch else IDLE_S):
                break
            parcel = self._opened.popleft()
            message = parcel.message
            if message.session != self._session:
                continue  # of a lost connection: the broker sends it again
            if not deadline:
                deadline = time.monotonic() + self._pace.batch_wait_s
            events += len(parcel.passes)
            size += len(message.payload)
            batch.append(parcel)
        self._gate.taken(batch[known:])
        return batch

    def _next_opened(self, wait_s: float) -> bool:
        try:
            some = self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait()
        except Empty:
            return False
        self._opened.extend(some)
        return True

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

    def _settle(self, outcome: Outcome, messages: Iterable[Message]) -> None:
        """Tell the devices, then the broker; nothing where the messages' connection is gone."""
        answers = [
            (_acks_topic(device), payload)
            for device, answer in outcome.acknowledgements.items()
            for payload in answer.payloads()
        ]
        with self._session_lock:
            session = self._session
            mids = [message.mid for message in messages if message.qos and message.session == session]
            self._client.settle(answers, mids)

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
        if self._home and self._connected:
            self._home.goodbye(self._client)
        deadline = time.monotonic() + GOODBYE_S
        while self._client.is_connected() and self._client.want_write() and time.monotonic() < deadline:
            time.sleep(0.01)
        self._client.disconnect()
        self._client.loop_stop()
        self._gate.tell(at_once=True)
        self._connected, self._since, self._told = False, datetime.now(UTC), False
        self._tell_state()

    def _new_client(self, client_id: str, protocol: MqttProtocol) -> Receiver:
        client = new_receiver(client_id, self._take, answer_expiry_s=ACK_EXPIRY_S, protocol=protocol)
        if self._tls:
            client.tls_set_context(self._tls)
        client.reconnect_delay_set(1, int(GREATEST_WAIT_S))
        client.max_inflight_messages_set(100)
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_disconnect, client.on_subscribe = self._on_disconnect, self._on_subscribe
        client.on_publish = self._on_publish
        client.full = lambda: self._gate.full
        if self._home:
            self._home.prepare(client)
        return client

    def _on_publish(self, client: Client, data: Any, mid: int, code: Any, properties: Any) -> None:
        mine = self._home is not None and self._home.on_publish(mid, code)
        if self._mail and not mine:
            self._mail.on_publish(client, data, mid, code, properties)

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            log.error("the broker at %s:%d refuses us: %s", *self._address, code)
            return
        log.info("connected to the broker at %s:%d", *self._address)
        self._absence_told = ""
        self._client.begin(getattr(properties, "ReceiveMaximum", NO_LIMIT))
        self._new_session(connected=True)
        if self._foreign_filters:
            self._client.unsubscribe(self._foreign_filters)  # of a time when this session did not share
        self._subscribe()

    def _subscribe(self) -> None:
        self._deaf_until = None
        self._client.subscribe([(one, 1) for one in self._filters])

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        for one, code in zip(self._filters, codes, strict=False):
            if code.is_failure:
                log.error("the broker does not let us read %s: %s; asking again", one, code)
                self._deaf_until = time.monotonic() + RESUBSCRIBE_S

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
            self._client.session = self._session
            self._inbox = SimpleQueue()
        self._gate.forget()
        self._connected, self._since, self._told = connected, datetime.now(UTC), False

    def _take(self, messages: Sequence[Message]) -> None:
        """In the network's thread: open while the other thread waits for the database."""
        messages, away = self._gate.sift(messages)
        if away:
            self._client.settle((), [one.mid for one in away if one.qos])
        if not messages:
            return
        now = datetime.now(UTC)
        parcels = [self._open(message, now) for message in messages]
        self._gate.opened(parcels)
        self._inbox.put(parcels)


@lru_cache(maxsize=20_000)
def _acks_topic(device: str) -> str:
    return Topic(device, Channel.ACKS).text
