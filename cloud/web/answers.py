"""What the API answers, field by field; the pages show the same objects."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from cloud.counts.cells import Cell
from cloud.counts.claims import Share
from contract.events import Accelerator, Direction
from contract.labels import LABELS, Label


class Answer(BaseModel):
    """Base of every answer; the docstring under a field is its description in the API's documentation."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ShareAnswer(Answer):
    """A share of passes, 0..1, with its 95 % Wilson interval.

    Sampling error only: what the detector itself gets wrong is not corrected yet.
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
        return cls(
            passes=cell.passes,
            entering=cell.directed(Direction.IN),
            leaving=cell.directed(Direction.OUT),
            labels=[
                LabelCount(
                    label=label,
                    passes=cell.labelled(label),
                    entering=cell.count(Direction.IN, label),
                    leaving=cell.count(Direction.OUT, label),
                    share=ShareAnswer.of(cell.share_of(label)),
                )
                for label in LABELS
            ],
            compliance=ShareAnswer.of(cell.compliance),
            too_few=cell.too_few,
        )


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
    today: Tally


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


class Counts(Answer):
    """Counts of a span of time; hours without passes have no cell."""

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
