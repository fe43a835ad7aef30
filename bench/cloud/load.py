"""Passes of many doors as MQTT packets, handed to a broker about as fast as it takes them."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Self
from uuid import UUID

from contract.events import EventBatch, PassEvent
from contract.labels import LABELS
from contract.topics import Channel, Topic

WINDOW = 500  # publications under way at once
EVERY_S = 3  # between two passes of a busy door


def messages(events: int, *, each: int, doors: int, rng: Random, now: datetime) -> list[tuple[str, bytes]]:
    """`events` passes, `each` a message, of `doors` busy doors in turn, until `now`: topic and payload."""
    names = [f"door-{number:04d}" for number in range(doors)]
    boots = {name: UUID(int=rng.getrandbits(128)) for name in names}
    sequence = dict.fromkeys(names, 0)
    begun = now - timedelta(seconds=EVERY_S * events // doors)
    made = []
    for number in range(events // each):
        name = names[number % doors]
        passes = []
        for _ in range(each):
            at = (begun + timedelta(seconds=EVERY_S * sequence[name])).replace(second=0, microsecond=0)
            passes.append(_pass(at, boots[name], sequence[name], rng))
            sequence[name] += 1
        made.append((Topic(name, Channel.EVENTS).text, EventBatch(device=name, events=tuple(passes)).encode()))
    return made


def publish(port: int, load: Sequence[tuple[str, bytes]], *, client_id: str = "load") -> None:
    """Publish with quality 1; returns when the broker has confirmed everything. Raises OSError."""
    with Line(port, client_id) as line:
        line.send(load)


class Line:
    """A connection that publishes and does nothing else (MQTT 3.1.1)."""

    def __init__(self, port: int, client_id: str) -> None:
        """Raises OSError."""
        self._link = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = client_id.encode()
        self._link.sendall(packet(0x10, b"\0\4MQTT\4\2\0\0" + len(name).to_bytes(2, "big") + name))
        _read(self._link, 4)

    def send(self, load: Sequence[tuple[str, bytes]]) -> None:
        """Publish with quality 1; returns when the broker has confirmed everything. Raises OSError."""
        for some in _windows(load):
            self._link.sendall(b"".join(some))
            _read(self._link, 4 * len(some))

    def close(self) -> None:
        """Say goodbye."""
        with self._link as link, suppress(OSError):
            link.sendall(b"\xe0\0")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _windows(load: Sequence[tuple[str, bytes]]) -> Iterator[list[bytes]]:
    for start in range(0, len(load), WINDOW):
        yield [_publication(*one, mid) for mid, one in enumerate(load[start : start + WINDOW], 1)]


def _publication(topic: str, payload: bytes, mid: int) -> bytes:
    name = topic.encode()
    return packet(0x32, len(name).to_bytes(2, "big") + name + mid.to_bytes(2, "big") + payload)


def packet(command: int, body: bytes) -> bytes:
    """As it goes over the wire."""
    head, length = bytearray((command,)), len(body)
    while True:
        length, digit = length >> 7, length & 127
        head.append(digit | 128 if length else digit)
        if not length:
            return bytes(head) + body


def _read(link: socket.socket, size: int) -> None:
    while size:
        got = len(link.recv(min(size, 65_536)))
        if not got:
            raise ConnectionError("the broker hung up")
        size -= got


def _pass(at: datetime, boot: UUID, sequence: int, rng: Random) -> PassEvent:
    clock = int(at.timestamp() * 1000)
    return PassEvent(
        id=UUID(int=clock << 80 | 7 << 76 | rng.getrandbits(76) & ~(3 << 62) | 2 << 62),
        at=at.astimezone(UTC), direction=rng.choice(("in", "out")), label=rng.choices(LABELS, (80, 15, 5))[0],
        confidence=round(rng.random(), 3), release=4, accelerator="edgetpu", boot=boot, sequence=sequence,
    )  # fmt: skip
