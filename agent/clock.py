"""What time it is and whether that can be believed: a Pi has no clock of its own and wakes up in the past."""

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from uuid import UUID, uuid4

_TIME_ERROR = 5  # what adjtimex answers while the kernel's clock is not disciplined (adjtimex(2))
_TIMEX_BYTES = 256  # struct timex is 208 bytes on 64-bit Linux; all zero asks without changing
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Stamp:
    """A moment that no setting of the wall clock moves: seconds since the kernel's start, and which start."""

    boot: UUID
    at_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the clocks. `at` is aware UTC; it is worth something only where `trusted`."""

    at: datetime
    stamp: Stamp
    trusted: bool


class Clock:
    """Wall time of one boot: what NTP last said, carried on by the boot clock; before that, the wall clock as it stands.

    So a wall clock that is set by hand moves no event, and neither does a network that goes away again.
    """

    def __init__(
        self,
        boot: UUID,
        *,
        wall: Callable[[], float],
        since_boot: Callable[[], float],
        synchronised: Callable[[], bool],
    ) -> None:
        """`wall` and `since_boot` answer seconds, since 1970 and since the kernel's start (suspension included)."""
        self._boot = boot
        self._wall = wall
        self._since_boot = since_boot
        self._synchronised = synchronised
        self._offset: float | None = None

    @classmethod
    def of_this_boot(cls) -> Self:
        """The machine's own; where the kernel names no boot, what it stamps is of no use to the next process."""
        try:
            boot = UUID(_BOOT_ID.read_text().strip())
        except (OSError, ValueError):
            boot = uuid4()
        return cls(boot, wall=time.time, since_boot=since_kernel_start, synchronised=synchronised)

    def read(self) -> Reading:
        """Look at all clocks at once."""
        before = self._synchronised()
        since_boot, wall = self._since_boot(), self._wall()
        if before and self._synchronised():  # both: it may have been set between two readings
            self._offset = wall - since_boot
        trusted = self._offset is not None
        at_s = wall if self._offset is None else self._offset + since_boot
        return Reading(datetime.fromtimestamp(at_s, UTC), Stamp(self._boot, since_boot), trusted)

    def now(self) -> datetime:
        """Aware UTC, as good as it is known."""
        return self.read().at


def boot_starts(boots: Sequence[Stamp], now: Reading) -> dict[UUID, datetime]:
    """When each boot began, for boots whose clock was never right; `boots` oldest first, each with its last known moment.

    This boot's start follows from `now`. An earlier boot cannot have lasted beyond the start of the next one: its start is
    put as late as that allows, so that a reboot of seconds costs seconds and a dark hour costs that hour.
    """
    begun = now.at - timedelta(seconds=now.stamp.at_s)
    starts = {now.stamp.boot: begun}
    for last in reversed(boots):
        if last.boot != now.stamp.boot:
            begun -= timedelta(seconds=last.at_s)
            starts[last.boot] = begun
    return starts


def now() -> datetime:
    """Aware UTC of the wall clock."""
    return datetime.now(UTC)


def since_kernel_start() -> float:
    """Seconds, suspension included; nobody can set it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def synchronised() -> bool:
    """Whether the kernel says that NTP has set the clock; False where it cannot be asked."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return False
    return bool(0 <= state < _TIME_ERROR)
