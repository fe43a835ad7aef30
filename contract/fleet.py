"""What a door should run and what it runs: a retained wish from the cloud, and the door's own report; never a command."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from contract.crops import Digest
from contract.events import LineName
from contract.identity import DeviceId
from contract.wire import SCHEMA_VERSION, Count, Instant, Ratio, SchemaVersion, Wire, Words

DESIRED_LIMIT = 8 * 1024  # bytes of one desired message
REPORTED_LIMIT = 8 * 1024  # bytes of one reported message
MOST_LINES = 8  # of one camera
MOST_CLOSED = 100  # days
REFUSED = " refused: "  # between the name of a part and why, in `Reported.reason`


class SamplingPlan(Wire):
    """How many crops a door may send: the labellers' time, shared out."""

    window_s: Annotated[int, Field(ge=10, le=86_400)] = Field(description="Length of a sampling window, s.")
    budget: Annotated[int, Field(ge=0, le=200)] = Field(description="Most crops of one window; 0 sends none.")


class DoorLine(Wire):
    """One of a camera's lines."""

    name: LineName | Literal[""] = Field(default="", description="Needed where there are several.")
    line: tuple[Ratio, Ratio, Ratio, Ratio] = Field(
        description="x0, y0, x1, y1 in the unit square, y down; crossing to its right-hand side is `in`."
    )


class DoorPlan(Wire):
    """What counts as passing at a door."""

    lines: Annotated[tuple[DoorLine, ...], Field(min_length=1, max_length=MOST_LINES)]
    zone: Annotated[tuple[tuple[Ratio, Ratio], ...], Field(max_length=32)] = Field(
        default=(),
        description="Corners x, y of a polygon in the unit square; faces outside are not followed. Empty: everywhere.",
    )


class OpeningPlan(Wire):
    """When a door is open: what counts as its coverage. Counting never pauses."""

    time_zone: Annotated[str, Field(min_length=1, max_length=60)] = Field(description="IANA name, like Europe/Paris.")
    open: Annotated[tuple[Annotated[str, Field(max_length=80)], ...], Field(max_length=28)] = Field(
        default=(), description="Rules like `mon-fri 08:00-20:00` or `sat 22:00-02:00`. Empty: always."
    )
    closed: Annotated[tuple[date, ...], Field(max_length=MOST_CLOSED)] = Field(
        default=(), description="Days of that zone on which it stays shut."
    )


class Desired(Wire):
    """The payload of a `desired` message, retained: a door that was away for a month reads only the newest."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    device: DeviceId
    number: Count = Field(description="Grows with every change for this device; a lower one is an old message.")
    release: Count = Field(description="The release it should run; 0 asks for none, and the door keeps what it has.")
    sampling: SamplingPlan | None = Field(default=None, description="Absent: the door's own setting stands.")
    door: DoorPlan | None = Field(
        default=None,
        description="Absent: the door's own setting stands. One that makes no sense is refused alone: what counted before "
        "still counts, `reported` says why, and the rest of this message holds.",
    )
    opening: OpeningPlan | None = Field(
        default=None, description="Absent: the door's own opening hours stand. Refused alone, like `door`."
    )


class Step(StrEnum):
    """Where a door stands on the way to the release it should run."""

    IDLE = "idle"  # runs what it should, or was asked for nothing
    STAGED = "staged"  # downloaded, verified, written; not yet looked through
    TRIAL = "trial"  # running it, not yet sure
    CONFIRMED = "confirmed"  # runs it, and will after a restart
    ROLLED_BACK = "rolled_back"  # refused it, and runs what it ran before


class Reported(Wire):
    """The payload of a `reported` message: at every change of it, and after every connect."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    device: DeviceId
    at: Instant
    release: Count = Field(description="The release that looks at the frames now.")
    digest: Digest = Field(description="SHA-256 of that model file.")
    step: Step
    wanted: Count = Field(default=0, description="The release that `step` speaks of; 0: none was asked for.")
    number: Count = Field(default=0, description="The number of the desired state it acts on.")
    reason: Annotated[Words, Field(max_length=300)] = Field(
        default="",
        description="Why it rolled back, or could not fetch the wanted release yet; or why it refused the `door` or the `opening` "
        "it was sent: `door refused: ...`, the reasons separated by `; `.",
    )
