"""How a door is doing: the heartbeat it sends, and the last will that the broker sends in its place."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from contract.events import Accelerator
from contract.identity import DeviceId
from contract.wire import SCHEMA_VERSION, Count, Instant, Ratio, SchemaVersion, Wire, Words

HEALTH_LIMIT = 8 * 1024  # bytes of one health message
DRIFTED = 0.005  # a chance of `drift` from which on a door looks unlike its first weeks
LITTLE_DISK = 500 * 10**6  # bytes free on a door's card, under which somebody should make room
COVERAGE_HOURS = 192  # the most hours in one message: eight days

Minutes = Annotated[int, Field(ge=0, le=60)]
TroubleWord = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class Board(Wire):
    """What the machine under the agent says of itself; what it cannot say is absent."""

    temperature_c: Annotated[float, Field(ge=-100, le=200)] | None = None
    under_voltage: bool | None = Field(default=None, description="The supply is too weak now.")
    throttled: bool | None = Field(default=None, description="The processor is slowed down now, for voltage or heat.")
    under_voltage_since_boot: bool | None = Field(default=None, description="The supply was too weak at some time.")
    throttled_since_boot: bool | None = Field(default=None, description="The processor was slowed down at some time.")
    disk_free_bytes: Count | None = Field(default=None, description="Free where the outbox lies.")


class Coverage(Wire):
    """Which minutes of the door's opening hours were looked at; an hour that is absent is not known, not zero."""

    since: Instant = Field(description="Start of the first hour; each number after it is the next hour's.")
    open: Annotated[tuple[Minutes, ...], Field(max_length=COVERAGE_HOURS)] = Field(
        description="Minutes of each hour that the door was open and that are over."
    )
    seen: Annotated[tuple[Minutes, ...], Field(max_length=COVERAGE_HOURS)] = Field(
        description="How many of those were looked at."
    )
    today: Ratio | None = Field(
        default=None, description="Share of today's opening hours so far; absent while the door was not yet open."
    )
    clock_synchronised: bool = Field(
        default=False, description="False: the clock was never right since the start, so the hours may be other ones."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(self.open) != len(self.seen):
            raise ValueError("open and seen must have a number for the same hours")
        if any(seen > is_open for seen, is_open in zip(self.seen, self.open, strict=True)):
            raise ValueError("an hour cannot have been looked at for longer than it was open")
        return self


class Heartbeat(Wire):
    """The payload of a `health` message; `state` is `offline` only in the last will and in an orderly goodbye."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    device: DeviceId
    state: Literal["online", "offline"]
    boot: UUID
    at: Instant | None = Field(default=None, description="When it was written; absent in the last will.")
    uptime_s: Annotated[float, Field(ge=0)] = 0.0
    release: Count = Field(default=0, description="Release number of the running model.")
    accelerator: Accelerator = Accelerator.CPU
    fps: Annotated[float, Field(ge=0, le=1000)] = Field(default=0.0, description="Frames analysed a second, lately.")
    frames: Count = Field(default=0, description="Frames analysed since the start.")
    frames_dropped: Count = Field(default=0, description="Frames that came while another was being analysed.")
    passes: Count = Field(default=0, description="Passes counted in this boot: the next event's sequence number.")
    waiting: Count = Field(default=0, description="Letters in the outbox.")
    waiting_bytes: Count = 0
    events_lost: Count = Field(default=0, description="Events refused or evicted by a full outbox, ever.")
    crops_lost: Count = Field(default=0, description="Crops evicted by a full outbox, ever.")
    board: Board | None = None
    coverage: Coverage | None = None
    drift: Ratio | None = Field(
        default=None,
        description="How likely this door's own first weeks would look as different as its last one; absent: too young.",
    )
    trouble: Annotated[tuple[Annotated[Words, Field(max_length=200)], ...], Field(max_length=10)] = ()
    trouble_words: Annotated[tuple[TroubleWord, ...], Field(max_length=20)] | None = Field(
        default=None,
        description="The same for programs, each word once: `Trouble` in contract/trouble.py. Absent: an older agent.",
    )
    certificate_ends: Instant | None = Field(
        default=None, description="When the certificate that the broker accepted ends; absent: none, or an older agent."
    )
