"""Crossings to pass events: identity, order and a time no finer than agreed."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from agent.vision.counter import Crossing
from contract.events import Accelerator, PassEvent


def uuid7(at: datetime, random_bytes: Callable[[int], bytes] = os.urandom) -> UUID:
    """A version 7 UUID (RFC 9562) with the clock of `at`: as coarse as `at` is, so that the id tells no more than the event."""
    stamp = int(at.timestamp() * 1000).to_bytes(6)
    tail = bytearray(random_bytes(10))
    tail[0] = 0x70 | tail[0] & 0x0F
    tail[2] = 0x80 | tail[2] & 0x3F
    return UUID(bytes=stamp + bytes(tail))


def coarse(at: datetime, resolution_s: int) -> datetime:
    """`at` rounded down to a multiple of `resolution_s` seconds since 1970, UTC."""
    seconds = int(at.timestamp())
    return datetime.fromtimestamp(seconds - seconds % resolution_s, UTC)


class Reporter:
    """Numbers this start's passes from 0 and signs them with its boot id."""

    def __init__(
        self, *, boot: UUID, release: Callable[[float], int], accelerator: Callable[[float], Accelerator], resolution_s: int,
        now: Callable[[], datetime], synchronised: Callable[[], bool],
    ) -> None:  # fmt: skip
        """`release` and `accelerator` answer which one looked at a time of the stream, in s."""
        self.boot = boot
        self.passes = 0
        self._release = release
        self._accelerator = accelerator
        self._resolution_s = resolution_s
        self._now = now
        self._synchronised = synchronised

    def event(self, crossing: Crossing) -> PassEvent:
        """The event of a crossing that is reported now."""
        at = coarse(self._now() - timedelta(seconds=crossing.age_s), self._resolution_s)
        sequence, self.passes = self.passes, self.passes + 1
        return PassEvent(
            id=uuid7(at), at=at, direction=crossing.direction, label=crossing.label,
            confidence=min(1.0, max(0.0, round(crossing.confidence, 3))), release=self._release(crossing.at_s),
            accelerator=self._accelerator(crossing.at_s), boot=self.boot, sequence=sequence, clock_synchronised=self._synchronised(),
            line=crossing.line or None,
        )  # fmt: skip
