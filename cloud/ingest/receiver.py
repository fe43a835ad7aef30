"""The consumer's MQTT client: paho, with its reading of publications and its acknowledgements replaced where they are slow."""

import logging
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any

import paho.mqtt
from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.ingest.parcels import Message
from contract.settings import MqttProtocol

log = logging.getLogger("cloud.consumer")

KNOWN_PAHO = "2.2.0"  # the version whose private methods are replaced here
READ_BYTES = 256 * 1024
PUBLISH, PUBACK = 0x30, 0x40
REFUSED = 0x80  # reason codes from here on
NO_LIMIT = 65_535
FULL_S = 0.01  # how long nothing is read where there is no room

_new = tuple.__new__  # a named tuple's own way is twice as slow

Answer = tuple[str, bytes]  # topic and payload
Take = Callable[[Sequence[Message]], None]


class Receiver(Client):
    """Stock paho behind the verbs that the consumer uses; MQTT 5 or 3.1.1, acknowledgements by hand."""

    def __init__(self, client_id: str, take: Take, *, answer_expiry_s: int, protocol: MqttProtocol = "5") -> None:
        self._v5 = protocol == "5"
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTv5 if self._v5 else MQTTv311,
            clean_session=None if self._v5 else False,
            manual_ack=True,
        )
        self.session = 0  # what the consumer calls this connection; every message carries it
        self.full: Callable[[], bool] = lambda: False  # whether what has come must be stored before more is read
        self._take, self._answer_expiry_s = take, answer_expiry_s
        self.on_message = self._on_one

    def reach(self, host: str, port: int, *, session_expiry_s: int, receive_maximum: int) -> None:
        """Connect in the background, now and again; what 3.1.1 cannot say is the broker's own setting there."""
        v5: dict[str, Any] = {}
        if self._v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = session_expiry_s
            properties.ReceiveMaximum = receive_maximum
            v5 = {"clean_start": False, "properties": properties}
        self.connect_async(host, port, keepalive=30, **v5)

    def begin(self, receive_maximum: int) -> None:
        """The connection stands, and this many unconfirmed publications are allowed in it; paho does not ask."""

    def settle(self, answers: Iterable[Answer], mids: Iterable[int]) -> None:
        """Publish the answers with quality 1, then acknowledge messages to the broker, in this order. Safe in any thread."""
        properties = None
        if self._v5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = self._answer_expiry_s
        for topic, payload in answers:
            self.publish(topic, payload, qos=1, properties=properties)
        for mid in mids:
            self.ack(mid, 1)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Take what the socket has, where there is room; else leave it there, which holds the broker up."""
        if not self.full():
            return self._read(max_packets)
        time.sleep(FULL_S)
        self._note_life()  # the broker's signs of life wait behind what is not read
        self._ping_t = 0.0
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _read(self, max_packets: int) -> MQTTErrorCode:
        return super().loop_read(max_packets)

    def _note_life(self) -> None:
        with self._msgtime_mutex:
            self._last_bytes_received = paho.mqtt.client.time_func()

    def _on_one(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._take([Message(message.topic, bytes(message.payload), message.mid, message.qos, self.session)])


class FastReceiver(Receiver):
    """Reads many publications a wake-up and writes answers and acknowledgements in one piece; MQTT 5 alone.

    Answers are not kept until the broker confirms them. They need not be: they stand in the stream before the
    acknowledgements of the messages they answer. Where the connection breaks before them, the broker sends those messages
    again and they are answered again.
    """

    def __init__(self, client_id: str, take: Take, *, answer_expiry_s: int) -> None:
        super().__init__(client_id, take, answer_expiry_s=answer_expiry_s)
        self._expiry = b"\x05\x02" + struct.pack("!I", answer_expiry_s)
        self._rest, self._needed = bytearray(), 0
        self._settling = Lock()
        self._unsent: deque[Answer | bytes] = deque()  # bytes: acknowledgements, ready to be sent
        self._underway: set[int] = set()
        self._most_underway = 0  # until the connection stands
        self._refusal_told = False

    def begin(self, receive_maximum: int) -> None:
        with self._settling:
            self._most_underway = receive_maximum
            self._flush()

    def settle(self, answers: Iterable[Answer], mids: Iterable[int]) -> None:
        acks = b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids])
        with self._settling:
            self._unsent.extend(answers)
            self._unsent.append(acks)
            self._flush()

    def _read(self, max_packets: int) -> MQTTErrorCode:  # noqa: ARG002 - as many as have come
        """Publications go to `take` together, everything else to paho."""
        sock = self._sock
        if sock is None:
            return MQTTErrorCode.MQTT_ERR_NO_CONN
        try:
            chunk = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        except OSError:
            chunk = b""
        if not chunk:
            return self._loop_rc_handle(MQTTErrorCode.MQTT_ERR_CONN_LOST)
        self._note_life()
        self._rest += chunk
        if len(self._rest) < self._needed:
            return MQTTErrorCode.MQTT_ERR_SUCCESS
        data = bytes(self._rest)
        fault, used = self.walk(data, sock)
        if self._sock is not sock:
            return fault or MQTTErrorCode.MQTT_ERR_NO_CONN
        if fault:
            return self._loop_rc_handle(fault)
        self._rest = bytearray(data[used:])
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def walk(self, data: bytes, sock: object) -> tuple[MQTTErrorCode, int]:
        """Handle every whole packet; returns what went wrong, if anything, and how many bytes are done with."""
        at, size, session = 0, len(data), self.session
        messages: list[Message] = []
        fault = MQTTErrorCode.MQTT_ERR_SUCCESS
        self._needed = 0
        while at + 2 <= size:
            body, length = at + 2, data[at + 1]
            if length > 127 and body < size and data[body] < 128:
                length += (data[body] - 1) << 7  # two bytes, as most have
                body += 1
            elif length > 127:
                body, length = _remaining_length(data, at + 1)
                if length < 0:
                    fault = MQTTErrorCode.MQTT_ERR_PROTOCOL if body - at > 4 else fault
                    break
            end = body + length
            if end > size:
                self._needed = end - at
                break
            command = data[at]
            if command & 0xF4 == PUBLISH:  # quality 0 or 1
                message = _message(data, body, end, command, session)
                if message is None:
                    fault = MQTTErrorCode.MQTT_ERR_PROTOCOL
                    break
                messages.append(message)
            elif command != PUBACK or not self._confirmed(data[body:end]):
                self._hand_over(messages)
                fault = self._by_paho(command, data[body:end])
                session = self.session
                if fault or self._sock is not sock:
                    return fault, end
            at = end
        self._hand_over(messages)
        return fault, at

    def _hand_over(self, messages: list[Message]) -> None:
        if messages:
            self._take(messages.copy())
            messages.clear()

    def _by_paho(self, command: int, body: bytes) -> MQTTErrorCode:
        self._in_packet = {
            "command": command, "have_remaining": 1, "remaining_count": [], "remaining_mult": 1,
            "remaining_length": len(body), "packet": bytearray(body), "to_process": 0, "pos": 0,
        }  # fmt: skip
        try:
            return self._packet_handle()
        except MalformedPacket:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    def _confirmed(self, body: bytes) -> bool:
        """Whether this confirms one of our answers; then there is room for the next."""
        if len(body) < 2:
            return False
        mid = body[0] << 8 | body[1]
        with self._settling:
            if mid not in self._underway:
                return False
            self._underway.discard(mid)
            if self._unsent:
                self._flush()
        if len(body) > 2 and body[2] >= REFUSED and not self._refusal_told:
            log.error(
                "the broker refuses our acknowledgements to doors (reason 0x%02x): check its access list", body[2]
            )
            self._refusal_told = True
        return True

    def _flush(self) -> None:
        parts: list[bytes] = []
        while self._unsent and self._most_underway:
            first = self._unsent[0]
            if isinstance(first, bytes):
                parts.append(first)
            elif len(self._underway) < self._most_underway:
                parts.append(self._publication(*first))
            else:
                break
            self._unsent.popleft()
        if parts:
            self._packet_queue(PUBACK, b"".join(parts), 0, 0)

    def _publication(self, topic: str, payload: bytes) -> bytes:
        mid = self._mid_generate()
        while mid in self._underway or mid in self._out_messages:
            mid = self._mid_generate()
        self._underway.add(mid)
        name = topic.encode()
        body = b"".join((len(name).to_bytes(2, "big"), name, mid.to_bytes(2, "big"), self._expiry, payload))
        head = bytearray((PUBLISH | 0x02,))
        self._pack_remaining_length(head, len(body))
        return bytes(head) + body

    def _create_socket(self) -> Any:
        """A new connection: what was half read or not yet sent belonged to the one before."""
        with self._settling:
            self._rest, self._needed = bytearray(), 0
            self._unsent.clear()
            self._underway.clear()
            self._most_underway = 0
        return super()._create_socket()


def new_receiver(
    client_id: str,
    take: Take,
    *,
    answer_expiry_s: int,
    protocol: MqttProtocol = "5",
    paho_version: str = paho.mqtt.__version__,
) -> Receiver:
    """The fast one for MQTT 5 on the paho it was made for; else the stock one."""
    if protocol != "5":
        return Receiver(client_id, take, answer_expiry_s=answer_expiry_s, protocol=protocol)
    if paho_version == KNOWN_PAHO:
        return FastReceiver(client_id, take, answer_expiry_s=answer_expiry_s)
    log.warning("paho-mqtt is %s, not %s: reading with its own, slower methods", paho_version, KNOWN_PAHO)
    return Receiver(client_id, take, answer_expiry_s=answer_expiry_s)


def _remaining_length(data: bytes, at: int) -> tuple[int, int]:
    """Where the body begins, and its length: -1 where more bytes are needed, or where it has more than four."""
    length = shift = 0
    for byte in data[at : at + 4]:
        at += 1
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return at, length
    return at, -1


def _message(data: bytes, at: int, end: int, command: int, session: int) -> Message | None:
    """A publication of quality 0 or 1 in MQTT 5; None where it is malformed. Its properties are skipped."""
    name = at + 2
    rest = name + (data[at] << 8 | data[at + 1]) if name <= end else end + 1
    quality = command >> 1 & 1
    mid = 0
    if quality:
        if rest + 2 > end:
            return None
        mid = data[rest] << 8 | data[rest + 1]
    payload = rest + 2 * quality
    if payload >= end:
        return None
    length = data[payload]
    payload += 1
    if length > 127:
        payload, length = _remaining_length(data, payload - 1)
        if length < 0:
            return None
    payload += length
    if payload > end:
        return None
    return _new(Message, (data[name:rest].decode(errors="replace"), data[payload:end], mid, quality, session))
