"""Crossings to pass events: identity, order and a time no finer than agreed, put right later where it was not known."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from agent.clock import Reading, Stamp
from agent.vision.counter import Crossing
from contract.events import EVENTS_LIMIT, Accelerator, PassEvent


def uuid7(at: datetime, random_bytes: Callable[[int], bytes] = os.urandom) -> UUID:
    """A version 7 UUID (RFC 9562) with the clock of `at`: as coarse as `at` is, so that the id tells no more than the event."""
    stamp = max(0, int(at.timestamp() * 1000)).to_bytes(
        6
    )  # a clock that woke up in 1970 dates its first pass before it
    tail = bytearray(random_bytes(10))
    tail[0] = 0x70 | tail[0] & 0x0F
    tail[2] = 0x80 | tail[2] & 0x3F
    return UUID(bytes=stamp + bytes(tail))


def coarse(at: datetime, resolution_s: int) -> datetime:
    """`at` rounded down to a multiple of `resolution_s` seconds since 1970, UTC."""
    seconds = int(at.timestamp())
    return datetime.fromtimestamp(seconds - seconds % resolution_s, UTC)


def redated(payload: bytes, at: datetime, resolution_s: int, *, sure: bool) -> bytes:
    """An encoded event under another time, `sure` or as a guess. Its id stays: somebody may know it already."""
    event = PassEvent.decode(payload, limit=EVENTS_LIMIT)
    return event.model_copy(update={"at": coarse(at, resolution_s), "clock_synchronised": sure}).encode()


class Reporter:
    """Numbers this start's passes from 0 and signs them with its boot id."""

    def __init__(
        self, *, boot: UUID, release: Callable[[float], int], accelerator: Callable[[float], Accelerator], resolution_s: int,
        read: Callable[[], Reading],
    ) -> None:  # fmt: skip
        """`release` and `accelerator` answer which one looked at a time of the stream, in s."""
        self.boot = boot
        self.passes = 0
        self._release = release
        self._accelerator = accelerator
        self._resolution_s = resolution_s
        self._read = read

    def event(self, crossing: Crossing) -> tuple[PassEvent, Stamp | None]:
        """The event of a crossing that is reported now; with the moment to date it by once the time is known, if it is not."""
        reading = self._read()
        at = coarse(reading.at - timedelta(seconds=crossing.age_s), self._resolution_s)
        sequence, self.passes = self.passes, self.passes + 1
        event = PassEvent(
            id=uuid7(at), at=at, direction=crossing.direction, label=crossing.label,
            confidence=min(1.0, max(0.0, round(crossing.confidence, 3))), release=self._release(crossing.at_s),
            accelerator=self._accelerator(crossing.at_s), boot=self.boot, sequence=sequence, clock_synchronised=reading.trusted,
            line=crossing.line or None,
        )  # fmt: skip
        stamp = reading.stamp
        return event, None if reading.trusted else Stamp(stamp.boot, max(0.0, stamp.at_s - crossing.age_s))
