"""What the API answers, field by field; the pages show the same objects."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from cloud.counts.cells import Cell
from cloud.counts.claims import Share, share
from cloud.counts.trust import Missing, Observed
from contract.events import Accelerator, Direction
from contract.health import Board
from contract.labels import LABELS, Label


class Answer(BaseModel):
    """Base of every answer; the docstring under a field is its description in the API's documentation."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Fault(Answer):
    """One field that is not what was asked for."""

    loc: list[str | int]
    msg: str
    type: str


class FaultAnswer(Answer):
    """Why a request is refused: field by field where one has the wrong form, else as a sentence."""

    detail: str | list[Fault]


class ShareAnswer(Answer):
    """A share of passes, 0..1, with its 95 % Wilson interval.

    As the model called them, with sampling error only: `/compliance` corrects what the detector itself gets wrong.
    """

    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, share: Share | None) -> Self | None:
        """From the pure value; None stays None."""
        return cls(rate=share.rate, low=share.low, high=share.high) if share else None


class LabelCount(Answer):
    """Passes of one label."""

    label: Label
    passes: int
    entering: Annotated[int, Field(serialization_alias="in")]
    leaving: Annotated[int, Field(serialization_alias="out")]
    share: ShareAnswer | None
    """Its share among all passes of the cell; null where they are too few to say."""


class Tally(Answer):
    """Passes of one group: a door, an hour, a day."""

    passes: int
    entering: Annotated[int, Field(serialization_alias="in")]
    leaving: Annotated[int, Field(serialization_alias="out")]
    labels: list[LabelCount]
    """Always all three labels, in the same order."""
    compliance: ShareAnswer | None
    """Share of properly worn masks among all passes; null where they are too few to say."""
    too_few: bool
    """There are passes, but fewer than a share needs (20)."""

    @classmethod
    def of(cls, cell: Cell) -> Self:
        """From the pure value."""
        entering, leaving = ([cell.count(way, label) for label in LABELS] for way in (Direction.IN, Direction.OUT))
        passes = sum(entering) + sum(leaving)
        labels = [
            LabelCount(
                label=label, passes=going_in + going_out, entering=going_in, leaving=going_out,
                share=ShareAnswer.of(share(going_in + going_out, passes)),
            )
            for label, going_in, going_out in zip(LABELS, entering, leaving, strict=True)
        ]  # fmt: skip
        compliance = labels[0].share
        return cls(
            passes=passes, entering=sum(entering), leaving=sum(leaving), labels=labels, compliance=compliance,
            too_few=passes > 0 and compliance is None,
        )  # fmt: skip


class ObservedAnswer(Answer):
    """Which part of the opening hours was looked at, as far as the doors told."""

    share: float | None
    """0..1 of the minutes open; null: not known."""
    open_minutes: int
    seen_minutes: int
    hours: int
    """Door-hours that are told of; what is missing here is not known."""
    unsure_hours: int
    """Of those, told by a clock that was never right."""

    @classmethod
    def of(cls, observed: Observed) -> Self:
        """From the pure value."""
        return cls(
            share=observed.share, open_minutes=observed.open_minutes, seen_minutes=observed.seen_minutes,
            hours=observed.hours, unsure_hours=observed.unsure_hours,
        )  # fmt: skip


class MissingAnswer(Answer):
    """Passes that the doors counted and that are not here."""

    known: int
    """Of boots that lie within the cell."""
    unplaced: int
    """Of boots that reach beyond it: some, all or none of them may be the cell's."""

    @classmethod
    def of(cls, missing: Missing) -> Self:
        """From the pure value."""
        return cls(known=missing.known, unplaced=missing.unplaced)


class DoorState(StrEnum):
    """What the cloud believes of a door."""

    ONLINE = "online"
    OFFLINE = "offline"
    SILENT = "silent"


class Door(Answer):
    """One door and the device over it."""

    name: str
    state: DoorState
    """`offline`: it said goodbye or lost the broker; `silent`: it should be there, but says nothing."""
    first_seen: datetime
    last_seen: datetime
    release: int | None
    """Release number of the running model; null before the first heartbeat."""
    accelerator: Accelerator | None
    """`cpu` is the fallback: slower, its counts are flagged."""
    fps: float
    """Frames analysed a second, lately."""
    frames: int
    """Frames analysed since the device started."""
    frames_dropped: int
    """Frames that came while another was being analysed."""
    uptime_s: float
    waiting: int
    """Letters in the device's outbox."""
    missing: int
    """Passes it counted that are not stored here, those still waiting on the device included."""
    events_lost: int
    """Events that a full outbox gave up, ever."""
    crops_lost: int
    """Crops that a full outbox gave up, ever."""
    trouble: list[str]
    """What the device complains of."""
    board: Board | None
    """What its machine says of itself; null: nothing yet."""
    drift: float | None
    """How likely the door's own first weeks would look as different as its last one; null: too young."""
    title: str = ""
    """What people call it; empty: they gave it no name."""
    site: str | None = None
    """The site it belongs to, if any."""
    today: Tally
    observed: ObservedAnswer
    """Of today's opening hours."""


class Grouping(StrEnum):
    """How counts are grouped in time and place."""

    HOUR = "hour"
    DOOR_HOUR = "door_hour"


class CountCell(Answer):
    """Passes of one hour, of one door or of all."""

    at: datetime
    """Begin of the hour, UTC."""
    door: str | None
    """Null where all doors are counted together."""
    tally: Tally
    """Nought passes only where somebody looked."""
    observed: ObservedAnswer


class Counts(Answer):
    """Counts of a span of time; an hour without passes that nobody is known to have watched has no cell."""

    start: Annotated[datetime, Field(serialization_alias="from")]
    end: Annotated[datetime, Field(serialization_alias="to")]
    by: Grouping
    door: str | None
    time_zone: str
    """In which the pages show these times."""
    total: Tally
    cells: list[CountCell]


class QuarantineKind(Answer):
    """What lies in quarantine for one kind of fault."""

    kind: str
    messages: int
    things: int
    """Events and crops refused in them."""
    deliveries: int
    """The same messages, resent ones counted each time."""
    latest: datetime


class QuarantinedMessage(Answer):
    """One message that broke the contract. Its payload stays in the database: it may hold a person's picture."""

    received_at: datetime
    topic: str
    device: str | None
    kind: str
    reason: str
    things: int
    size: int
    deliveries: int


class QuarantineAnswer(Answer):
    """Everything that was refused."""

    messages: int
    by_kind: list[QuarantineKind]
    latest: list[QuarantinedMessage]


class BrokerState(StrEnum):
    """Whether doors can reach us now."""

    UP = "up"
    DOWN = "down"
    UNWATCHED = "unwatched"


class Service(Answer):
    """How the service itself is doing."""

    database: str
    broker: BrokerState
    """`down`: the consumer cannot reach the broker; `unwatched`: no consumer is running."""
    broker_since: datetime | None
